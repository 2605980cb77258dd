"""Whether a gold answer can be given at all, by its own grader: else no sample could be right.

Most graders are asked about the gold answer itself. A mathematical one is read by the workers that compare
mathematics, since reading can loop; where a countdown question shows no equation, one is looked for. Both cost
time, and are done for so many questions at most.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from generation.grading import GRADERS
from generation.grading.errors import CannotStartError, DiedError, RefusedError, TimedOutError
from generation.grading.formula import formula, is_wordy
from generation.grading.mathematics import WORKER
from generation.grading.number import read_quantity
from generation.grading.workers import pool_of, pool_size
from generation.records import Question
from generation.tasks import countdown
from generation.tasks.final import says_none

_LOOKED_AT = frozenset({"choice", "exact", "number", "word"})
"""Fast ones; a countdown question may have any text for a gold answer, as published ones do."""
MOST_FORMULAS = 20_000
"""Different ones that the workers are asked about, a minute of work; of others only the typing is looked at."""
MOST_SEARCHED = 1_000
"""Countdown questions whose equations are all tried, half a minute of work at most."""
_NUMBERS = 4
"""Of such a question; five have sixty times as many equations."""


def check_gold(place: str, question: Question) -> None:
    """Raise ValueError, beginning with the place, when the gold answer is not right or cannot be judged."""
    if question.grader not in _LOOKED_AT:
        return
    try:
        graded = GRADERS[question.grader](question.answer, question)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{place}: the grader {question.grader} lacks a fact, or cannot read it: {error!r}") from error
    if graded.outcome != "right":
        raise ValueError(f"{place}: {_told(question, graded.reason or graded.outcome)}")


def _told(question: Question, fault: str) -> str:
    hint = "; --grader exact takes a text as it is" if question.grader == "math" else ""
    return f"the gold answer {question.answer[:60]!r} is none for {question.grader}: {fault}{hint}"


class Fault(NamedTuple):
    """Why no sample could be right about a question."""

    told: str
    reason: str
    """The same for all questions like it."""


class Faults(NamedTuple):
    """What was found by work that takes a while, of all questions together."""

    by_key: Mapping[str, Fault]
    """Of questions that no sample could be right about."""
    notes: tuple[str, ...]
    """What was not tried, in sentences."""


def find_faults(questions: Sequence[Question]) -> Faults:
    """Read each mathematical gold answer once, and look for an equation where a countdown question shows none.

    Raises ValueError where mathematics cannot be compared on this machine.
    """
    answers, formulas_left = _math_faults(question.answer for question in questions if question.grader == "math")
    by_key = {
        question.key: Fault(_told(question, answers[question.answer]), "a gold answer that is none for math")
        for question in questions
        if question.grader == "math" and question.answer in answers
    }
    unproven = [question for question in questions if question.grader == "countdown" and _is_unproven(question)]
    for question in unproven[:MOST_SEARCHED]:
        numbers, target = question.facts["numbers"], question.facts["target"]
        if not countdown.is_solvable(numbers, target):
            by_key[question.key] = Fault(
                f"no equation of {str(numbers)[:60]} makes {str(target)[:20]}", "no equation makes the target"
            )
    left = {"formulas of the gold answers": formulas_left, "countdown questions": len(unproven) - MOST_SEARCHED}
    notes = (f"{count:,} {what} more than are tried before the run" for what, count in left.items() if count > 0)
    return Faults(by_key, tuple(notes))


def _is_unproven(question: Question) -> bool:
    """Few numbers, and a gold answer that is not the equation."""
    few = len(question.facts["numbers"]) <= _NUMBERS
    return few and GRADERS[question.grader](question.answer, question).outcome != "right"


def _math_faults(given: Iterable[str]) -> tuple[Mapping[str, str], int]:
    """What is wrong with gold answers that nobody can match; and how many formulas were not tried."""
    faults: dict[str, str] = {}
    formulas: dict[str, str] = {}
    for answer in dict.fromkeys(given):
        try:
            text = _formula(answer)
        except RefusedError as error:
            faults[answer] = str(error)
            continue
        if text is not None:
            formulas[answer] = text
    different = list(dict.fromkeys(formulas.values()))
    asked = different[:MOST_FORMULAS]
    try:
        with ThreadPoolExecutor(pool_size()) as threads:
            said = dict(zip(asked, threads.map(_unread, asked), strict=True))
    except CannotStartError as error:
        raise ValueError(f"the grader 'math' needs math-verify[antlr4_13_2]: {error}") from error
    faults |= {answer: said[text] for answer, text in formulas.items() if said.get(text)}
    return faults, len(different) - len(asked)


def _formula(answer: str) -> str | None:
    """The formula that the workers must read; None of numbers, names and words. Raises RefusedError."""
    if says_none(answer):
        raise RefusedError("says only that there is none")
    try:
        read_quantity(answer)
    except RefusedError:
        text = formula(answer).text
        return None if is_wordy(text) else text
    return None


def _unread(text: str) -> str:
    """Why the workers cannot take a formula; "" where it is read, and equal to itself."""
    try:
        reply = pool_of(WORKER).ask({"gold": text, "answer": text})
    except (TimedOutError, DiedError) as error:
        return error.reason
    if not reply["gold"]:
        return "cannot be read as mathematics"
    return "" if reply["equal"] else "does not equal itself"
