"""The grader of docs/own.md: an equation is right only if it uses each given number exactly once.

What a model wrote is never evaluated: Python's parser reads it, and only whole numbers and + - * / are worked out.
"""

from __future__ import annotations

import ast
from fractions import Fraction
from typing import Any

COLUMNS = ["tiles", "goal"]
ANSWER_TYPE = "equation"


def grade(answer: str, facts: dict[str, Any]) -> bool | str | tuple[bool | str, str]:
    """An equation that equals the goal and uses every tile exactly once."""
    used: list[int] = []
    try:
        value = _value(ast.parse(answer.split("=")[0].strip()[:200], mode="eval").body, used)
    except (SyntaxError, ValueError):
        return "unknown", "no equation"
    except ZeroDivisionError:
        return False, "divides by zero"
    if value != facts["goal"]:
        return False, "misses the goal"
    return sorted(used) == sorted(facts["tiles"]), "other numbers, or not all of them"


def _value(node: ast.expr, used: list[int]) -> Fraction:
    match node:
        case ast.Constant(value=int(number)) if not isinstance(number, bool):
            used.append(number)
            return Fraction(number)
        case ast.BinOp(left, ast.Add(), right):
            return _value(left, used) + _value(right, used)
        case ast.BinOp(left, ast.Sub(), right):
            return _value(left, used) - _value(right, used)
        case ast.BinOp(left, ast.Mult(), right):
            return _value(left, used) * _value(right, used)
        case ast.BinOp(left, ast.Div(), right):
            return _value(left, used) / _value(right, used)
    raise ValueError("no number, and none of + - * /")
