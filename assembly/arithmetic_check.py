"""Whether a text states a false equation between numbers, such as "3 + 4 = 8".

Only what reads as a whole statement counts: an expression, an equals sign, one number. What cannot
be read, or goes on behind the number ("3 + 4 = 7 + 2 = 9"), is passed over: no false alarm.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator
from fractions import Fraction

from generation.grading.arithmetic import evaluate
from generation.grading.errors import OutOfBoundsError, UnreadableError
from generation.grading.text import ascii_typing

_LONGEST = 200
"""Characters of an expression that are looked at."""
_LEFT = " 0123456789.()+-*/×÷−·"
"""What an expression is written in."""
_RIGHT = re.compile(r" *([-−]?\d{1,18}(?:\.\d{1,18})?)(?! *[-+*/×÷−·^(=%]| *\d)(?!\.\d)(?![^\W\d])")
_PLAIN_WIDTH = 48
"""Characters before an equals sign that are looked at first."""
_PLAIN_DIGITS = 9
_PLAIN_VALUES: dict[str, Callable[[int, int], int]] = {"+": operator.add, "-": operator.sub, "*": operator.mul}
_OPERATION = re.compile(r"[\d)] *[-+*/×÷−·] *[-−(\d]")


def states_false_arithmetic(text: str) -> bool:
    """True when at least one equation that the text states is false."""
    return next(false_equations(text), None) is not None


def false_equations(text: str) -> Iterator[str]:
    """The false equations, as they stand in the text."""
    place = -1
    while (place := text.find("=", place + 1)) >= 0:
        right = _RIGHT.match(text, place + 1)
        if right is None:
            continue
        left, found = _plain(text, place) or _any(text, place)
        if found is not None and not _is(right[1].replace("−", "-"), found):
            yield f"{left} = {right[1]}"


def _plain(text: str, end: int) -> tuple[str, int] | None:
    """What most expressions are, such as "3 + 4", and its value; ten times as fast as what reads all of them."""
    words = text[max(0, end - _PLAIN_WIDTH) : end].split()
    if len(words) < 4 or not text[end - 1 : end].isspace():
        return None
    before, one, operator_, other = words[-4:]
    apply = _PLAIN_VALUES.get(operator_)
    if apply is None or not (one + other).isdecimal() or not (one + other).isascii() or before[-1] in _LEFT:
        return None
    if len(one) > _PLAIN_DIGITS or len(other) > _PLAIN_DIGITS:
        return None
    left = f"{one} {operator_} {other}"
    # Other white space than single blanks has a meaning of its own.
    return (left, apply(int(one), int(other))) if text.endswith(f"{before} {left} ", 0, end) else None


def _any(text: str, end: int) -> tuple[str, int | Fraction | None]:
    """The expression that ends there and its value, None for what is none or cannot be read."""
    left = _before(text, end)
    return left, _value(left) if _OPERATION.search(left) else None


def _value(expression: str) -> int | Fraction | None:
    """None for what cannot be read."""
    try:
        return evaluate(ascii_typing(expression))
    except (UnreadableError, OutOfBoundsError, ZeroDivisionError):
        return None


def _before(text: str, end: int) -> str:
    """The expression that ends there; empty where it grows out of a word, such as "x2 + 3"."""
    seen = text[max(0, end - _LONGEST) : end]
    outside = seen.rstrip(_LEFT)
    left = seen[len(outside) :]
    return "" if outside and outside[-1].isalnum() and not left.startswith(" ") else left.strip()


def _is(stated: str, value: int | Fraction) -> bool:
    """Whether the stated number is the value, or the value rounded to as many places as are stated."""
    if "." not in stated:
        return int(stated) == value
    _, _, places = stated.partition(".")
    slack = Fraction(1, 2 * 10 ** len(places))
    return abs(Fraction(stated) - value) <= slack
