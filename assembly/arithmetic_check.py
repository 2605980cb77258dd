"""Whether a text states a false equation between numbers, such as "3 + 4 = 8".

Only what reads as a whole statement counts: an expression, an equals sign, one number. What cannot
be read, or goes on behind the number ("3 + 4 = 7 + 2 = 9"), is passed over: no false alarm.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator
from fractions import Fraction

from generation.grading.arithmetic import OutOfBoundsError, UnreadableError, evaluate
from generation.grading.typings import ascii_typing

_LONGEST = 200
"""Characters of an expression that are looked at."""
_LEFT = " 0123456789.()+-*/×÷−·"
"""What an expression is written in."""
_NUMBER = r" *(?P<right>[-−]?\d{1,18}(?:\.\d{1,18})?)(?! *[-+*/×÷−·^(=%]| *\d)(?!\.\d)(?![^\W\d])"
_RIGHT = re.compile(_NUMBER)
_PLAIN_EQUATION = re.compile(rf"(?P<left>(?P<one>[0-9]{{1,9}}) *(?P<op>[-+*]) *(?P<other>[0-9]{{1,9}})) *={_NUMBER}")
"""What most equations are; done in integers, which is ten times as fast."""
_PLAIN_VALUES: dict[str, Callable[[int, int], int]] = {"+": operator.add, "-": operator.sub, "*": operator.mul}
_OPERATION = re.compile(r"[\d)] *[-+*/×÷−·] *[-−(\d]")


def states_false_arithmetic(text: str) -> bool:
    """True when at least one equation that the text states is false."""
    return next(false_equations(text), None) is not None


def false_equations(text: str) -> Iterator[str]:
    """The false equations, as they stand in the text."""
    plain = list(_PLAIN_EQUATION.finditer(text))
    if len(plain) < text.count("=") or not all(_begins(text, found.start()) for found in plain):
        yield from _read_each(text)
        return
    for found in plain:
        if not _is(
            found["right"].replace("−", "-"), _PLAIN_VALUES[found["op"]](int(found["one"]), int(found["other"]))
        ):
            yield f"{found['left']} = {found['right']}"


def _begins(text: str, start: int) -> bool:
    """Nothing before it can belong to the expression that starts there."""
    before = text[max(0, start - 2) : start]
    if before.endswith(" "):
        return len(before) == 2 and before[0] not in _LEFT
    return not before or not (before[-1] in _LEFT or before[-1].isalnum())


def _read_each(text: str) -> Iterator[str]:
    for sign in re.finditer("=", text):
        left, right = _before(text, sign.start()), _RIGHT.match(text, sign.end())
        if right is None or not _OPERATION.search(left):
            continue
        found = _value(left)
        if found is not None and not _is(right["right"].replace("−", "-"), found):
            yield f"{left} = {right['right']}"


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
