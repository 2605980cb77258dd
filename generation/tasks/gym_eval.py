"""What stands in for `eval` where reasoning-gym or sympy's parser would evaluate an answer: it can only compute.

Some scoring functions call `eval` on what a model wrote, some sympy's `parse_expr`, which does. An expression passes
here whose every part is a literal, an operator, a name, or a call of one of the few functions below by its name: none
that reaches an attribute, an item, a lambda or a builtin.
"""

from __future__ import annotations

import ast
import sys
from typing import Any

_CALLED = frozenset(
    (
        *("Symbol", "Integer", "Float", "Rational", "sqrt", "exp", "log", "ln", "Abs"),
        *("sin", "cos", "tan", "cot", "sec", "csc", "asin", "acos", "atan", "sinh", "cosh", "tanh"),
    )
)
"""The first four are what sympy's parser writes for names and numbers."""
_PARTS = (
    *(ast.Expression, ast.Constant, ast.Name, ast.Load, ast.Tuple, ast.List, ast.Set, ast.Dict),
    *(ast.UnaryOp, ast.unaryop, ast.BinOp, ast.operator, ast.Call),
)


class NotComputedError(ValueError):
    """More than a computation."""


def compute(source: str, names: dict[str, Any] | None = None, local: dict[str, Any] | None = None, /) -> Any:
    """The value of an expression, as `eval` gives it; raises NotComputedError, or what `eval` raises."""
    tree = ast.parse(source.strip(), mode="eval")
    for part in ast.walk(tree):
        if not isinstance(part, _PARTS) or (isinstance(part, ast.Call) and not _is_known(part)):
            raise NotComputedError(f"{type(part).__name__} is not computed")
    return eval(compile(tree, "<answer>", "eval"), {"__builtins__": {}} if names is None else names, local)


def _is_known(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id in _CALLED and not call.keywords


def guard() -> None:
    """Let every module of reasoning-gym, all of which it imports itself, and sympy's parser compute only."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "reasoning_gym" or name == "sympy.parsing.sympy_parser":
            module.eval = compute  # type: ignore[attr-defined]
