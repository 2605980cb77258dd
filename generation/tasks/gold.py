"""Gold answers: finding the final answer of a worked solution, guessing its grader, checking that it can be given.

Mathematics is parsed by the workers that compare it, since parsing may not terminate; a countdown question whose gold
answer is no equation is solved by brute force. Both are slow, so both are limited to a number of questions.
"""

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from generation.grading import GRADERS, find_answer
from generation.grading.errors import CannotStartError, DiedError, RefusedError, TimedOutError
from generation.grading.formula import formula, is_wordy
from generation.grading.mathematics import compare
from generation.grading.number import in_digits, number_of
from generation.grading.own import judge_own
from generation.grading.text import boxed
from generation.grading.workers import pool_size
from generation.records import Question
from generation.tasks import countdown
from generation.tasks.task import Dropped

MOST_FORMULAS = 20_000
"""Most distinct formulas parsed by the workers, about a minute; of the others only the notation is checked."""
MOST_OWN = 16  # gold answers tried on a grader of the user's own, which may take two seconds for each
MOST_SEARCHED = 1_000  # most countdown questions solved by brute force, half a minute at worst
_MOST_NUMBERS = 4  # in a question solved by brute force; five take sixty times as long
_LOOKED_AT = frozenset({"choice", "exact", "number", "word"})
"""Graders that check gold answers fast; not countdown, where published gold answers are arbitrary text."""

WHOLE = "the whole text"
_IN_BOX = r"in \boxed{}"
# Only at the end, where MetaMath repeats the answer in words; elsewhere #### is a heading.
_MARK = re.compile(r"(?<!#)####(?!#)[ \t]*([^\n]*)(?:\s*the answer is:?[^\n]*)?\s*\Z", re.IGNORECASE)
_BARE_BOX = re.compile(r"\\boxed\s+(?=[^\s{])([^\s{}$\\]+)")
_OPEN_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])")
_TAG = re.compile(r"</answer>", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]")
_MONEY = re.compile("[$€£¥₹]")
# Letters that are part of a number.
_IN_NUMBERS = re.compile(
    r"\\[dtc]?frac(?![A-Za-z])|\\times(?![A-Za-z])|(?<=[0-9])[eE](?=[+-]?[0-9])| (?:thousand|[mb]illion)\Z"
)
_FORMULA = re.compile(
    r"\\(?:[dtc]?frac|sqrt|pi|pm|mp|cdot|times|infty|circ|left|binom|begin|mathbb|cup|cap|log|ln|sin|cos|tan|theta"
    r"|alpha|leq?|geq?|neq?|sum|prod|int|overline|angle|text|mathrm|mathbf|emptyset)(?![a-z])|\A\s*\$[^$]+\$\.?\s*\Z"
)
_NO_ANSWER = re.compile(
    r"(?:answer )?not found|no answer(?: found)?|not available|n/?a|nan|none|null|nil|unknown|tbd|todo|error"
    r"|\[(?:no answer|not found|none|invalid)\]"
)


class FinalAnswer(NamedTuple):
    """The final answer, which a sample must match, and where in the gold answer it was found."""

    answer: str
    where: str  # WHOLE, or a phrase that names the marker, such as "in <answer>"


def final_answer(text: str) -> FinalAnswer:
    """Extract the final answer of a worked solution, else the whole text. Raises ValueError for none or several."""
    if mark := _MARK.search(text):
        answer, where = mark[1], "behind ####"
    elif _TAG.search(text):
        answer, where = find_answer(text) or "", "in <answer>"
    elif _OPEN_BOX.search(text):
        found = boxed(_BARE_BOX.sub(r"\\boxed{\1}", text.replace(r"\fbox", r"\boxed")))
        if len({"".join(one.split()) for one in found}) > 1:
            raise ValueError(r"several different \boxed{}")
        answer, where = found[-1] if found else "", _IN_BOX
    else:
        return FinalAnswer(text, WHOLE)
    if not answer.strip():
        raise ValueError(f"nothing {where}" if where != _IN_BOX else r"a \boxed{} that is empty or not closed")
    return FinalAnswer(answer.strip(), where)


def grader_of(final: FinalAnswer) -> str:
    """Guess the grader for a gold answer: number, math, or answer, which compares text."""
    worded = final.where == WHOLE and _WORD.search(_IN_NUMBERS.sub("", in_digits(final.answer)))
    number = number_of(final.answer)
    # "5 km" is a number, too, but "12 Monkeys" and "$5 bill" are names.
    if number and (not worded or (number.unit and not _MONEY.search(final.answer))):
        return "number"
    return "math" if final.where == _IN_BOX or _FORMULA.search(final.answer) else "answer"


def is_placeholder(answer: str) -> bool:
    """Return True for a placeholder that means that there is no answer, such as "N/A"."""
    return _NO_ANSWER.fullmatch(" ".join(answer.split()).strip(".!").casefold()) is not None


def check_gold(place: str, question: Question) -> None:
    """Raise Dropped, its message starting with the place, if the gold answer is graded as anything but right."""
    if question.grader not in _LOOKED_AT:
        return
    try:
        graded = GRADERS[question.grader](question.answer, question)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        told = f"{place}: the grader {question.grader} lacks a fact, or cannot read it: {error!r}"
        raise Dropped(f"a gold answer that is none for {question.grader}", told) from error
    if graded.outcome != "right":
        raise _dropped(question, graded.reason or graded.outcome, f"{place}: ")


def _dropped(question: Question, fault: str, place: str = "") -> Dropped:
    bad = f"is none for {question.grader}"
    hint = "; --grader exact takes a text as it is" if question.grader == "math" else ""
    return Dropped(f"a gold answer that {bad}", f"{place}the gold answer {question.answer[:60]!r} {bad}: {fault}{hint}")


class Faults(NamedTuple):
    """The results of the slow checks of gold answers."""

    by_key: dict[str, Dropped]  # by key, for questions that no sample could answer right
    notes: tuple[str, ...]  # say which checks were skipped


def find_faults(questions: Sequence[Question]) -> Faults:
    """Parse all formulas, and solve all unproven countdown questions.

    Raises ValueError if no worker starts, or if the user's own grader fails one of the first gold answers.
    """
    check_own(questions)
    faults: dict[str, str] = {}
    formulas: dict[str, str] = {}
    for answer in dict.fromkeys(question.answer for question in questions if question.grader == "math"):
        if is_placeholder(answer):
            faults[answer] = "says only that there is none"
        elif not number_of(answer):
            try:
                if not is_wordy(text := formula(answer).text):
                    formulas[answer] = text
            except RefusedError as error:
                faults[answer] = str(error)
    different = list(dict.fromkeys(formulas.values()))
    tried = different[:MOST_FORMULAS]
    try:
        with ThreadPoolExecutor(pool_size()) as threads:
            said = dict(zip(tried, threads.map(unread, tried), strict=True))
    except CannotStartError as error:
        raise ValueError(str(error)) from error
    faults |= {answer: said[text] for answer, text in formulas.items() if said.get(text)}
    by_key = {q.key: _dropped(q, faults[q.answer]) for q in questions if q.grader == "math" and q.answer in faults}

    small = [q for q in questions if q.grader == "countdown" and len(q.facts["numbers"]) <= _MOST_NUMBERS]
    unproven = [q for q in small if GRADERS["countdown"](q.answer, q).outcome != "right"]
    for question in unproven[:MOST_SEARCHED]:
        numbers, target = question.facts["numbers"], question.facts["target"]
        if not countdown.is_solvable(numbers, target):
            told = f"no equation of {str(numbers)[:60]} makes {str(target)[:20]}"
            by_key[question.key] = Dropped("no equation makes the target", told)
    counts = (len(different) - MOST_FORMULAS, len(unproven) - MOST_SEARCHED)
    left = zip(counts, ("formulas of the gold answers", "countdown questions"), strict=True)
    notes = (f"{count:,} {what} more than are tried before the run" for count, what in left if count > 0)
    return Faults(by_key, tuple(notes))


def check_own(questions: Sequence[Question]) -> None:
    """Raise ValueError if a grader of the user's own takes one of the first gold answers for anything but right."""
    for question in [question for question in questions if question.program][:MOST_OWN]:
        told = f"the grader {question.grader}: the gold answer {question.answer[:60]!r} of {question.text[-60:]!r}"
        try:
            graded = judge_own(question.answer, question)
        except CannotStartError as error:
            raise ValueError(f"{told} cannot be graded: {error}") from error
        if graded.outcome != "right":
            raise ValueError(f"{told} must be right, and is {graded.outcome}: {graded.reason}")


def unread(text: str) -> str:
    """Return why the workers cannot grade a formula; "" if it can be parsed and equals itself."""
    try:
        reply = compare(text, text)
    except (TimedOutError, DiedError) as error:
        return error.reason
    if not reply["gold"]:
        return "cannot be read as mathematics"
    return "" if reply["equal"] else "does not equal itself"
