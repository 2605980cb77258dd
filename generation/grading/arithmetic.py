"""Exact arithmetic on hostile text: the one reader of + - * / and brackets over decimal numbers, in plain typing.

Nothing is evaluated as Python. Knows no rules of any game.
"""

import re
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from generation.grading.errors import OutOfBoundsError, UnreadableError

MAX_CHARS = 1000
MAX_DEPTH = 32
MAX_OPERATORS = 64
"""Signs too: with MAX_DEPTH it bounds how deep this module recurses."""
MAX_DIGITS = 20
MAX_MAGNITUDE = 10**30
"""Of every result on the way, and of its denominator."""

_TOKEN = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+|[^ ]")
_STRENGTH = {"+": 1, "-": 1, "*": 2, "/": 2}

Value = int | Fraction
"""An int wherever it is whole, which is ten times as fast."""


class Expression(NamedTuple):
    """A number as typed, two expressions joined by a sign, or one behind a minus sign."""

    value: Value | None
    """None where it divides by zero."""
    sign: str = ""
    """One of + - * /; "" of a number."""
    parts: "tuple[Expression, ...]" = ()

    @property
    def is_bare(self) -> bool:
        """Return True for a number alone, perhaps with signs: nothing is computed."""
        return not self.parts or (len(self.parts) == 1 and self.parts[0].is_bare)


def read(text: str) -> Expression:
    """Return the expression that all of a text is. Raises UnreadableError or OutOfBoundsError."""
    if len(text) > MAX_CHARS:
        raise OutOfBoundsError(f"more than {MAX_CHARS} characters")
    tokens = _TOKEN.findall(text)[::-1]
    if len(tokens) > MAX_OPERATORS and sum(map(tokens.count, "+-*/")) > MAX_OPERATORS:
        raise OutOfBoundsError(f"more than {MAX_OPERATORS} operators")
    expression = _climb(tokens, 1, 0)
    if tokens:
        raise UnreadableError("goes on behind the expression")
    return expression


def _climb(tokens: list[str], least: int, depth: int) -> Expression:
    """Take from the end of the tokens an expression whose operators bind at least so strongly."""
    left = _operand(tokens, depth)
    while tokens and (strength := _STRENGTH.get(tokens[-1], 0)) >= least:
        sign = tokens.pop()
        right = _climb(tokens, strength + 1, depth)
        left = Expression(_result(sign, left.value, right.value), sign, (left, right))
    return left


def _operand(tokens: list[str], depth: int) -> Expression:
    token = tokens.pop() if tokens else ""
    if token.isdecimal() or len(token) > 1:
        return _number(token)
    if token == "(":
        if depth == MAX_DEPTH:
            raise OutOfBoundsError(f"brackets nested more than {MAX_DEPTH} deep")
        inner = _climb(tokens, 1, depth + 1)
        if not tokens or tokens.pop() != ")":
            raise UnreadableError("has a bracket that is not closed")
        return inner
    if token in ("+", "-"):
        inner = _operand(tokens, depth)
        return inner if token == "+" else Expression(_result("-", 0, inner.value), "-", (inner,))
    raise UnreadableError("has more in it than + - * / and brackets")


@lru_cache(maxsize=4096)
def _number(token: str) -> Expression:
    if len(token) > MAX_DIGITS:
        raise OutOfBoundsError(f"a number of more than {MAX_DIGITS} digits")
    return Expression(int(token) if token.isdecimal() else _whole(Fraction(token)))


def _result(sign: str, left: Value | None, right: Value | None) -> Value | None:
    if left is None or right is None or (sign == "/" and not right):
        return None
    value: Value
    if sign == "+":
        value = left + right
    elif sign == "-":
        value = left - right
    elif sign == "*":
        value = left * right
    else:
        value = Fraction(left, right)
    if isinstance(value, Fraction):
        value = _whole(value)
    if not -MAX_MAGNITUDE <= value <= MAX_MAGNITUDE or value.denominator > MAX_MAGNITUDE:
        raise OutOfBoundsError(f"a number beyond {MAX_MAGNITUDE:.0e} on the way")
    return value


def _whole(value: Fraction) -> Value:
    return value.numerator if value.denominator == 1 else value


def operands(expression: Expression, there: Sequence[Value]) -> list[Value]:
    """Return the numbers that an expression with a value works on, left to right.

    A negative number or a fraction can only be typed with an operator ("-4", "8/3"). As a part of the expression it is
    one operand where such a number is still there: `there` holds those that are before anything is used.
    """
    found, left, waiting = list[Value](), list(there), [expression]
    while waiting:
        part = waiting.pop()
        assert part.value is not None
        if part.parts and (part is expression or part.value not in left or not _is_typed_number(part)):
            waiting.extend(reversed(part.parts))
            continue
        found.append(part.value)
        if part.value in left:
            left.remove(part.value)
    return found


def _is_typed_number(part: Expression) -> bool:
    # "6/2" is two operands even where a 3 is left: whoever means that 3 types it so.
    return part.is_bare or (
        part.sign == "/" and isinstance(part.value, Fraction) and all(one.is_bare for one in part.parts)
    )
