"""Whether a text states a false equation between numbers, such as "3 + 4 = 8".

Only what reads as a whole statement counts: an expression, an equals sign, one number. What cannot
be read, or goes on behind the number ("3 + 4 = 7 + 2 = 9"), is passed over: no false alarm.
"""

import re
from collections.abc import Iterator
from fractions import Fraction

from generation.grading.arithmetic import Value, read
from generation.grading.errors import OutOfBoundsError, UnreadableError
from generation.grading.text import ascii_typing

_LONGEST = 200
"""Characters of an expression that are looked at."""
_LEFT = " 0123456789.()+-*/×÷−·"
"""What an expression is written in."""
_RIGHT = re.compile(r" *([-−]?\d{1,18}(?:\.\d{1,18})?)(?! *[-+*/×÷−·^(=%]| *\d)(?!\.\d)(?![^\W\d])")
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
        left = _before(text, place)
        value = _value(left) if _OPERATION.search(left) else None
        if value is not None and not _is(right[1].replace("−", "-"), value):
            yield f"{left} = {right[1]}"


def _value(expression: str) -> Value | None:
    """None for what cannot be read, and for a division by zero."""
    try:
        return read(ascii_typing(expression)).value
    except (UnreadableError, OutOfBoundsError):
        return None


def _before(text: str, end: int) -> str:
    """The expression that ends there; empty where it grows out of a word, such as "x2 + 3"."""
    seen = text[max(0, end - _LONGEST) : end]
    outside = seen.rstrip(_LEFT)
    left = seen[len(outside) :]
    return "" if outside and outside[-1].isalnum() and not left.startswith(" ") else left.strip()


def _is(stated: str, value: Value) -> bool:
    """Whether the stated number is the value, or the value rounded to as many places as are stated."""
    if "." not in stated:
        return int(stated) == value
    _, _, places = stated.partition(".")
    slack = Fraction(1, 2 * 10 ** len(places))
    return abs(Fraction(stated) - value) <= slack
