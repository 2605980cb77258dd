"""Judges answers to people's own questions against the gold answer: the same text, or the same number.

Knows no mathematics beyond numbers: "2 + 2" is not "4", "50%" is not "0.5".
"""

from __future__ import annotations

import re
from fractions import Fraction

from generation.grading.typings import ascii_typing
from generation.records import OUT_OF_BOUNDS, Grade, Question

MAX_CHARS = 10_000

_DECIMAL = r"(?:[0-9]{1,3}(?:,[0-9]{3}){1,9}|[0-9]{1,99})(?:\.[0-9]{0,99})?|\.[0-9]{1,99}"
# Two digits of exponent: Fraction("1e999999999") would fill the memory.
_NUMBER = re.compile(rf"\\?\$?([+-]?)\\?\$?({_DECIMAL})(e[+-]?[0-9]{{1,2}})?(?:/([0-9]{{1,99}}))?")
_LATEX_FRACTION = re.compile(r"([+-]?)\\[dtc]?frac ?\{([0-9]{1,99})\} ?\{([0-9]{1,99})\}")

_LABEL = re.compile(r"(?:the )?(?:final )?answer(?: is ?:?|:) ?")
_WRAPPERS = (
    *((mark, mark) for mark in ("**", "$", "`", '"', "'")),
    *((rf"\{command}{{", "}") for command in ("boxed", "text", "textbf", "mathrm")),
    (r"\(", r"\)"),
    (r"\[", r"\]"),
)
_ROUNDS = 8
"""Of unwrapping: more than anyone types, and a bound on hostile text."""


def grade_own_answer(answer: str, question: Question) -> Grade:
    """Right when answer and `question.answer` are the same text after normalisation, or equal numbers."""
    if len(answer) > MAX_CHARS:
        return Grade("unknown", OUT_OF_BOUNDS, answer)
    said, gold = _normalised(answer), _normalised(question.answer)
    if said == gold:
        return Grade("right", "", answer)
    number = _number(said)
    if number is not None and number == _number(gold):
        return Grade("right", "", answer)
    return Grade("wrong", "differs from the gold answer", answer)


def _normalised(text: str) -> str:
    """One case, single spaces, plain characters, without what is only put round an answer."""
    text = " ".join(ascii_typing(text).casefold().split())
    for _ in range(_ROUNDS):
        before = text
        text = _LABEL.sub("", text, count=1) if _LABEL.match(text) else text
        if text.endswith(".") and not text.endswith(".."):
            text = text[:-1]
        for left, right in _WRAPPERS:
            if len(text) > len(left) + len(right) and text.startswith(left) and text.endswith(right):
                text = text[len(left) : -len(right)]
        text = text.strip()
        if text == before:
            break
    return text


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
