"""Whether a text states a false equation between numbers, such as "3 + 4 = 8".

Only what reads as a whole statement counts: an expression, an equals sign, one number. What cannot
be read, or goes on behind the number ("3 + 4 = 7 + 2 = 9"), is passed over: no false alarm.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

from generation.grading.arithmetic import evaluate
from generation.grading.refusals import OutOfBoundsError, UnreadableError
from generation.grading.typings import ascii_typing

_LONGEST = 200
"""Characters of an expression that are looked at."""
_LEFT = " 0123456789.()+-*/×÷−·"
"""What an expression is written in."""
_RIGHT = re.compile(r" *([-−]?\d{1,18}(?:\.\d{1,18})?)(?! *[-+*/×÷−·^(=%]| *\d)(?!\.\d)(?![^\W\d])")
_PLAIN = re.compile(r"(\d{1,9}) *([-+*]) *(\d{1,9})")
"""What most equations are; done in integers, which is ten times as fast."""
_OPERATION = re.compile(r"[\d)] *[-+*/×÷−·] *[-−(\d]")


def states_false_arithmetic(text: str) -> bool:
    """True when at least one equation that the text states is false."""
    return next(false_equations(text), None) is not None


def false_equations(text: str) -> Iterator[str]:
    """The false equations, as they stand in the text."""
    for sign in re.finditer("=", text):
        left, right = _before(text, sign.start()), _RIGHT.match(text, sign.end())
        if right is None or not _OPERATION.search(left):
            continue
        found = _value(left)
        if found is not None and not _is(right.group(1).replace("−", "-"), found):
            yield f"{left} = {right.group(1)}"


def _value(expression: str) -> int | Fraction | None:
    """None for what cannot be read."""
    plain = _PLAIN.fullmatch(expression)
    if plain is not None:
        one, other = int(plain[1]), int(plain[3])
        return one + other if plain[2] == "+" else one - other if plain[2] == "-" else one * other
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
