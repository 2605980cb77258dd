"""The countdown grader's short way for plain typing: digits, + - * / ( ) and =, over one line or several.

It says what `generation.grading.countdown` says of the same answer, reason and all, ten times as fast, or
nothing: whatever is not plain, not whole or not small goes the long way. Numbers are pairs of integers here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise

MAX_CHARS = 200
_MAX_SIGNS = 40
_MAX_BRACKETS = 20
_MAX_LINES = 16
_LARGEST = 10**20

_SIGNS = str.maketrans("×·÷−", "**/-")
# Each line begins and ends as a statement of its own does, so that none goes on in the next.
_PLAIN = re.compile(r" *[0-9(][0-9+\-*/()= ]*[0-9)] *(?:\n *[0-9(][0-9+\-*/()= ]*[0-9)] *)*")
_LONG_NUMBER = re.compile(r"[0-9]{7}")
_TOKEN = re.compile(r"[0-9]+|[^ ]")
_TIGHT = frozenset("*/")

Value = tuple[int, int]
"""Numerator and positive denominator, not reduced."""


class _NotPlainError(Exception):
    """For the long way."""


class _Side:
    """One side of an equation: its worth, its numbers in order, and whether it computes anything."""

    __slots__ = ("_tokens", "computes", "numbers", "value")

    def __init__(self, text: str) -> None:
        self._tokens = _TOKEN.findall(text)[::-1]
        self.numbers: list[int] = []
        self.computes = False
        self.value = self._sum()
        if self._tokens:
            raise _NotPlainError

    def _sum(self) -> Value:
        over, under = self._product()
        while self._tokens and self._tokens[-1] in "+-":
            sign = self._tokens.pop()
            n, d = self._product()
            over, under = (over * d + n * under if sign == "+" else over * d - n * under), under * d
            self.computes = True
        if under > _LARGEST or not -_LARGEST < over < _LARGEST:
            raise _NotPlainError
        return over, under

    def _product(self) -> Value:
        over, under = self._atom()
        while self._tokens and self._tokens[-1] in _TIGHT:
            sign = self._tokens.pop()
            n, d = self._atom()
            if sign == "/":
                if not n:
                    raise _NotPlainError
                n, d = (d, n) if n > 0 else (-d, -n)
            over, under = over * n, under * d
            self.computes = True
        if under > _LARGEST or not -_LARGEST < over < _LARGEST:
            raise _NotPlainError
        return over, under

    def _atom(self) -> Value:
        token = self._tokens.pop() if self._tokens else ""
        if token.isdigit():
            number = int(token)
            self.numbers.append(number)
            return number, 1
        if token == "(":
            value = self._sum()
            if not self._tokens or self._tokens.pop() != ")":
                raise _NotPlainError
            return value
        if token and token in "+-":
            over, under = self._atom()
            return (-over if token == "-" else over), under
        raise _NotPlainError


def quick_fault(answer: str, numbers: Sequence[int], target: int) -> str | None:
    """What is wrong with an answer, "" when nothing is; None where the long way must tell."""
    if len(answer) > MAX_CHARS:
        return None
    text = answer if answer.isascii() else answer.translate(_SIGNS)
    if not _PLAIN.fullmatch(text) or _LONG_NUMBER.search(text) or text.count("(") > _MAX_BRACKETS:
        return None
    if (
        text.count("\n") >= _MAX_LINES
        or sum(map(text.count, "+-*/")) > _MAX_SIGNS
        or any(type(number) is not int or number < 0 for number in numbers)
        or type(target) is not int
    ):
        return None
    try:
        steps = [[_Side(side) for side in line.split("=")] for line in text.split("\n")]
        return _fault(steps, numbers, target)
    except _NotPlainError:
        return None


def _fault(steps: Sequence[Sequence[_Side]], numbers: Sequence[int], target: int) -> str:
    for sides in steps:
        for left, right in pairwise(sides):
            if left.value[0] * right.value[1] != right.value[0] * left.value[1]:
                return f"false equality: {_shown(left.value)} = {_shown(right.value)}"
    worked = list(_worked(steps))
    over, under = steps[-1][0].value
    missed = "" if over == target * under else f"misses the target: {_shown((over, under))}"
    fault = _misuse(worked, numbers) or missed
    # The last statement alone will do, where it is the whole expression.
    return "" if fault and len(worked) > 1 and not (_misuse(worked[-1:], numbers) or missed) else fault


def _worked(steps: Sequence[Sequence[_Side]]) -> Iterator[_Side]:
    for sides in steps:
        side = next((side for side in sides if side.computes), sides[0])
        if len(steps) > 1 and not side.computes:
            raise _NotPlainError
        yield side


def _misuse(worked: Sequence[_Side], numbers: Sequence[int]) -> str:
    there, left = list(numbers), list(numbers)
    for place, side in enumerate(worked):
        for number in side.numbers:
            if number not in there:
                return f"uses {number}, not given"
            if number not in left:
                times = there.count(number)
                return f"uses {number} " + ("twice" if times == 1 else f"{times + 1} times")
            left.remove(number)
        if place < len(worked) - 1:
            over, under = side.value
            if over % under or over < 0:
                raise _NotPlainError
            there.append(over // under)
            left.append(over // under)
    return ""


def _shown(value: Value) -> str:
    text = str(Fraction(*value))
    return text if len(text) <= 16 else f"a number of {len(text)} characters"
