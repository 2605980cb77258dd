"""Judges answers to people's own questions against the gold answer: the same text, or the same number.

Knows no mathematics beyond numbers: "2 + 2" is not "4", "50%" is not "0.5".
"""

from __future__ import annotations

import re
from fractions import Fraction

from generation.grading.plain_answer import DIFFERS, bare, too_long
from generation.grading.typings import ascii_typing
from generation.records import Grade, Question

_DECIMAL = r"(?:[0-9]{1,3}(?:,[0-9]{3}){1,9}|[0-9]{1,99})(?:\.[0-9]{0,99})?|\.[0-9]{1,99}"
# Two digits of exponent: Fraction("1e999999999") would fill the memory.
_NUMBER = re.compile(rf"\\?\$?([+-]?)\\?\$?({_DECIMAL})(e[+-]?[0-9]{{1,2}})?(?:/([0-9]{{1,99}}))?")
_LATEX_FRACTION = re.compile(r"([+-]?)\\[dtc]?frac ?\{([0-9]{1,99})\} ?\{([0-9]{1,99})\}")


def grade_own_answer(answer: str, question: Question) -> Grade:
    """Right when answer and `question.answer` are the same text after normalisation, or equal numbers."""
    if long := too_long(answer):
        return long
    said, gold = _normalised(answer), _normalised(question.answer)
    if said == gold:
        return Grade("right", "", answer)
    number = _number(said)
    if number is not None and number == _number(gold):
        return Grade("right", "", answer)
    return Grade("wrong", DIFFERS, answer)


def _normalised(text: str) -> str:
    """One case beside what `bare` does."""
    return bare(ascii_typing(text).casefold())


def _number(text: str) -> Fraction | None:
    """The number that the whole text is, or None: decimal, a fraction, with thousands commas or a "$"."""
    if latex := _LATEX_FRACTION.fullmatch(text):
        text = f"{latex[1]}{latex[2]}/{latex[3]}"
    number = _NUMBER.fullmatch(text)
    if number is None:
        return None
    sign, digits, exponent, under = number.groups(default="")
    if under and not int(under):
        return None
    return Fraction(sign + digits.replace(",", "") + exponent) / int(under or 1)
