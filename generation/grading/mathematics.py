"""Judges a mathematical answer: by math-verify, in a process that can be killed.

Texts and plain numbers are compared here, exactly; math-verify takes numbers with a decimal point as equal
when they agree in six decimals, and so do we. What it cannot read is unknown, not wrong.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, NamedTuple

from generation.grading.exact import normalised
from generation.grading.math_typing import base_of, formula, is_time, is_wordy, words_of
from generation.grading.number import same_number
from generation.grading.number_typing import Quantity, read_quantity
from generation.grading.plain_answer import DIFFERS, reordered, too_long
from generation.grading.refusals import OutOfBoundsError, RefusedError, refused
from generation.grading.workers import CannotStartError, DiedError, TimedOutError, pool_of
from generation.records import (
    ANOTHER_UNIT,
    GOLD_UNREADABLE,
    GRADER_DIED,
    GRADER_TIMED_OUT,
    UNREADABLE,
    Grade,
    Question,
)

WORKER = "generation.grading.math_worker"
_DECIMALS = 6


# A letter alone behind a digit, and what an equation is solved for.
_LETTER = re.compile(r"[0-9] ?[A-Za-z](?![A-Za-z0-9])(?<![eE])")
_ASSIGNED = re.compile(r"\W*[A-Za-z](?:_\w)? ?(?:\([^()]*\))? ?=")


class _Gold(NamedTuple):
    """A gold answer, read once."""

    formula: str | None
    number: Quantity | None


def grade_math(answer: str, question: Question) -> Grade:
    """Right when the answer is equal to `question.answer`, as a mathematician writes it."""
    gold = _gold(question.answer)
    if long := too_long(answer):
        return long
    if reordered(answer) and answer.strip() != question.answer.strip():
        return Grade("unknown", UNREADABLE, answer)
    if normalised(answer) == normalised(question.answer):
        return _judged(answer, equal=True)
    by_number = _by_number(answer, gold.number, question.answer)
    if by_number is not None:
        return by_number
    try:
        said = formula(answer)
    except RefusedError as error:
        return refused(error, answer)
    if gold.formula is None:
        return Grade("unknown", GOLD_UNREADABLE, answer)
    if is_wordy(said) or is_wordy(gold.formula):
        return _judged(answer, equal=words_of(said) == words_of(gold.formula))
    if is_time(said) and is_time(gold.formula):
        return _judged(answer, equal=said == gold.formula)
    if base_of(said) and base_of(gold.formula) and base_of(said) != base_of(gold.formula):
        return _judged(answer, equal=False)
    return _by_worker(answer, gold.formula, said)


def _by_number(answer: str, gold: Quantity | None, gold_text: str) -> Grade | None:
    """The grade where both are one number, None where one is not."""
    try:
        said = None if gold is None else _number(answer)
    except OutOfBoundsError as error:
        return refused(error, answer)
    if gold is None or said is None:
        return None
    if _LETTER.search(answer):
        return Grade("unknown", UNREADABLE, answer)
    if said.unit and gold.unit and said.unit != gold.unit:
        return Grade("unknown", ANOTHER_UNIT, answer)
    equal = same_number(said, gold)
    if min(said.value.denominator, gold.value.denominator) > 1 and ("." in answer or "." in gold_text):
        equal = equal or round(said.value, _DECIMALS) == round(gold.value, _DECIMALS)
    return _judged(answer, equal=equal)


def _number(text: str) -> Quantity | None:
    if _ASSIGNED.match(text):
        return None
    try:
        return read_quantity(text)
    except OutOfBoundsError:
        raise
    except RefusedError:
        return None


def _by_worker(answer: str, gold: str, said: str) -> Grade:
    try:
        reply = _compared(gold, said)
    except TimedOutError:
        return Grade("unknown", GRADER_TIMED_OUT, answer)
    except DiedError:
        return Grade("unknown", GRADER_DIED, answer)
    except CannotStartError as error:
        raise CannotStartError(f"the grader 'math' needs math-verify[antlr4_13_2]: {error}") from error
    if reply.get("memory"):
        return Grade("unknown", GRADER_DIED, answer)
    if reply["equal"]:
        return _judged(answer, equal=True)
    if not reply["answer"]:
        return Grade("unknown", UNREADABLE, answer)
    if not reply["gold"]:
        return Grade("unknown", GOLD_UNREADABLE, answer)
    return _judged(answer, equal=False)


def _judged(answer: str, *, equal: bool) -> Grade:
    return Grade("right", "", answer) if equal else Grade("wrong", DIFFERS, answer)


# The answers of a question's samples are mostly the same few texts.
@lru_cache(maxsize=1024)
def _compared(gold: str, said: str) -> dict[str, Any]:
    """What a worker says of two formulas. One that used up its time may have been unlucky: it is asked again."""
    return pool_of(WORKER).ask({"gold": gold, "answer": said})


# RL asks for the same question again and again.
@lru_cache(maxsize=1024)
def _gold(answer: str) -> _Gold:
    try:
        said: str | None = formula(answer)
    except RefusedError:
        said = None
    try:
        # "5m" may be a multiple of m; of an answer one cannot tell, either.
        number = None if _LETTER.search(answer) else _number(answer)
    except OutOfBoundsError:
        number = None
    return _Gold(said, number)
