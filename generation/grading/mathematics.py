"""Judges a mathematical answer: by math-verify, in a process that can be killed.

Exact values are compared exactly. A number with a decimal point is right when it agrees with the gold answer to a
millionth and to six decimals, or is its rounding to six digits or more (`nearness`); a whole number is exact.
What cannot be read, or told apart in time, is unknown, not wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

from generation.grading.exact import normalised
from generation.grading.math_ambiguity import (
    are_named_apart,
    is_ambiguous,
    judged_in_bases,
    names_option,
    without_ordinal,
)
from generation.grading.math_readings import Pair, readings
from generation.grading.math_typing import Formula, formula, is_wordy, time_of, unread, words_of
from generation.grading.nearness import near
from generation.grading.number import comparable, comparisons, may_have_decimal_comma, same_number
from generation.grading.number_typing import DECIMAL_COMMA, Quantity, UnsolvedError, read_quantity
from generation.grading.number_words import SPELLED
from generation.grading.plain_answer import DIFFERS, reordered, too_long
from generation.grading.refusals import OutOfBoundsError, RefusedError, refused
from generation.grading.workers import CannotStartError, DiedError, TimedOutError, pool_of
from generation.records import (
    ANOTHER_UNIT,
    GOLD_UNREADABLE,
    GRADER_DIED,
    GRADER_TIMED_OUT,
    UNDECIDED,
    UNREADABLE,
    Grade,
    Question,
)

WORKER = "generation.grading.math_worker"
_DECIMAL = re.compile(r"\.[0-9]*[1-9]")
# A letter alone behind a digit, and what an equation is solved for.
_LETTER = re.compile(r"[0-9] ?[A-Za-z](?![A-Za-z0-9])(?<![eE])(?! 10 ?[\^*])")
_ASSIGNED = re.compile(r"[^\w-]*[A-Za-z](?:_\w)? ?(?:\([^()]*\))? ?=")
_ABBREVIATED = re.compile(r"[0-9] ?(?:[kKMBT]|mn|bn)$")
_EITHER_SIDE = re.compile(r"(?=.*(?:[<>]|\\[lg]eq?(?![a-z]))).*\b(?:and|or)\b")
_VARIABLE = re.compile(r"(?<![A-Za-z\\])[A-Za-z](?![A-Za-z])")


class _Gold(NamedTuple):
    """A gold answer, read once."""

    formula: Formula | None
    number: Quantity | None


def grade_math(answer: str, question: Question) -> Grade:
    """Right when the answer is equal to `question.answer`, as a mathematician writes it."""
    gold = _gold(question.answer)
    if long := too_long(answer):
        return long
    if reordered(answer) and answer.strip() != question.answer.strip():
        return Grade("unknown", UNREADABLE, answer)
    same = normalised(answer) == normalised(question.answer) and not _has_both_cases(question.answer)
    if same or answer.strip() == question.answer.strip():
        return _judged(answer, equal=True)
    if is_ambiguous(question.answer, answer):
        return Grade("unknown", UNREADABLE, answer)
    by_number = _by_number(answer, gold.number, question.answer)
    if by_number is not None:
        return by_number
    try:
        said = formula(answer)
    except RefusedError as error:
        return refused(error, answer)
    if gold.formula is None:
        return Grade("unknown", GOLD_UNREADABLE, answer)
    if said.unit and gold.formula.unit and said.unit != gold.formula.unit:
        return Grade("unknown", ANOTHER_UNIT, answer)
    return _by_text(answer, gold.formula.text, said.text) or _by_worker(answer, gold.formula.text, said.text)


def _has_both_cases(text: str) -> bool:
    """Of one letter, which are two variables then: R - r is not r - R."""
    letters = set(_VARIABLE.findall(text))
    return any(letter.swapcase() in letters for letter in letters)


def _by_text(answer: str, gold: str, said: str) -> Grade | None:
    """The grade of words, times and other bases, None of formulas."""
    if gold == "0" and (said == r"\emptyset" or words_of(said) in ("none", "nothing")):
        return Grade("unknown", UNREADABLE, answer)
    if is_wordy(said) or is_wordy(gold):
        wanted, words = words_of(gold), words_of(said)
        if wanted != words and (is_wordy(gold) or len(wanted) == 1) and re.search(rf"\b{re.escape(wanted)}\b", words):
            return Grade("unknown", UNREADABLE, answer)
        if not is_wordy(gold) and SPELLED.search(words):
            return Grade("unknown", UNREADABLE, answer)
        return _judged(answer, equal=words == wanted)
    if time_of(said) and time_of(gold):
        return _judged(answer, equal=time_of(said) == time_of(gold))
    outcome = "unknown" if names_option(gold, said) else judged_in_bases(gold, said)
    if outcome == "unknown":
        return Grade("unknown", UNREADABLE, answer)
    return _judged(answer, equal=outcome == "right") if outcome else None


def _by_number(answer: str, gold: Quantity | None, gold_text: str) -> Grade | None:
    """The grade where both are one number, None where one is not."""
    try:
        said = None if gold is None else _number(answer)
    except (OutOfBoundsError, UnsolvedError) as error:
        return refused(error, answer)
    if gold is None or said is None:
        return None
    if _LETTER.search(answer):
        return Grade("unknown", UNREADABLE, answer)
    equal = _equal_numbers(said, gold, answer, gold_text)
    if equal and are_named_apart(gold_text, answer):
        return Grade("unknown", UNREADABLE, answer)
    if equal is None:
        return Grade("unknown", UNDECIDED, answer)
    if not comparable(said, gold, equal=equal):
        return Grade("unknown", ANOTHER_UNIT, answer)
    if not equal and may_have_decimal_comma(answer, gold):
        return Grade("unknown", UNREADABLE, answer)
    return _judged(answer, equal=equal)


def _equal_numbers(said: Quantity, gold: Quantity, said_text: str, gold_text: str) -> bool | None:
    """Exactly, or near where one has decimals and neither is a whole number typed as such; None where unknown."""
    if same_number(said, gold):
        return True
    decimals = [bool(_DECIMAL.search(DECIMAL_COMMA.sub(r"\1.", text))) for text in (said_text, gold_text)]
    exact = [one.value.denominator == 1 and not has for one, has in zip((said, gold), decimals, strict=True)]
    if any(exact) or not any(decimals):
        return False
    found = [near(*pair) for pair in comparisons(said, gold)]
    return None if None in found and True not in found else any(found)


def _number(text: str) -> Quantity | None:
    if _ASSIGNED.match(text):
        return None
    try:
        return read_quantity(without_ordinal(text))
    except (OutOfBoundsError, UnsolvedError):
        raise
    except RefusedError:
        return None


def _by_worker(answer: str, gold: str, said: str) -> Grade:
    try:
        how = readings(*_told_apart(gold, said))
        reply = _compared(*how.first)
        unclear = how.doubtful if reply.get("equal") else _has_other_reading(gold, said, how.others)
    except RefusedError as error:
        return refused(error, answer)
    except TimedOutError:
        return Grade("unknown", GRADER_TIMED_OUT, answer)
    except DiedError:
        return Grade("unknown", GRADER_DIED, answer)
    except CannotStartError as error:
        raise CannotStartError(f"the grader 'math' needs math-verify[antlr4_13_2]: {error}") from error
    if reply.get("memory"):
        return Grade("unknown", GRADER_DIED, answer)
    if reply["equal"] and not unclear:
        return _judged(answer, equal=True)
    if not reply["answer"]:
        return Grade("unknown", UNREADABLE, answer)
    if not reply["gold"]:
        return Grade("unknown", GOLD_UNREADABLE, answer)
    if reply["undecided"]:
        return Grade("unknown", UNDECIDED, answer)
    return Grade("unknown", UNREADABLE, answer) if unclear else _judged(answer, equal=False)


def _has_other_reading(gold: str, said: str, others: Iterable[Pair]) -> bool:
    """In which they may be equal, though they are not as they stand."""
    if unread(said) - unread(gold) or (said.startswith("[[") and "matrix}" in gold):
        return True
    if _EITHER_SIDE.match(said) or (_ABBREVIATED.search(said) and not _VARIABLE.search(gold)):
        return True
    return any(_compared(*pair).get("equal") for pair in others)


def _told_apart(gold: str, said: str) -> tuple[str, str]:
    """Both with another letter for R where the gold formula has r, too: to math-verify these are one."""
    if not _has_both_cases(gold):
        return gold, said
    letters = set(_VARIABLE.findall(gold))
    free = (letter for letter in "tuvwpqknjz" if letter not in (gold + said).lower())
    names = {letter: next(free, letter) for letter in sorted(letters) if letter.lower() in letters and letter.isupper()}
    gold, said = (_VARIABLE.sub(lambda name: names.get(name[0], name[0]), text) for text in (gold, said))
    return gold, said


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
        said: Formula | None = formula(answer)
    except RefusedError:
        said = None
    try:
        # "5m" may be a multiple of m; of an answer one cannot tell, either.
        number = None if _LETTER.search(answer) or ("=" in answer and _VARIABLE.search(answer)) else _number(answer)
    except (OutOfBoundsError, UnsolvedError):
        number = None
    return _Gold(said, number)
