"""Gold answers: the final one of a worked solution, its grader by its looks, and whether it can be given at all.

Mathematics is read by the workers that compare it, since reading can loop; where a countdown question shows no
equation, one is looked for. Both take time, so they are done for so many questions at most.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from generation.grading import GRADERS, find_answer
from generation.grading.errors import CannotStartError, DiedError, RefusedError, TimedOutError
from generation.grading.formula import formula, is_wordy
from generation.grading.mathematics import WORKER
from generation.grading.number import in_digits, read_quantity
from generation.grading.text import boxed
from generation.grading.workers import pool_of, pool_size
from generation.records import Question
from generation.tasks import countdown
from generation.tasks.task import Dropped

MOST_FORMULAS = 20_000
"""Different ones that the workers are asked about, a minute of work; of others only the typing is looked at."""
MOST_SEARCHED = 1_000
"""Countdown questions whose equations are all tried, half a minute of work at most."""
_NUMBERS = 4
"""Of such a question; five have sixty times as many equations."""
_LOOKED_AT = frozenset({"choice", "exact", "number", "word"})
"""Fast graders; a countdown question may have any text for a gold answer, as published ones do."""

WHOLE = "the whole text"
_IN_BOX = r"in \boxed{}"
# At the end; MetaMath says it once more behind that. Elsewhere it is a heading.
_MARK = re.compile(r"(?<!#)####(?!#)[ \t]*([^\n]*)(?:\s*the answer is:?[^\n]*)?\s*\Z", re.IGNORECASE)
_BARE_BOX = re.compile(r"\\boxed\s+(?=[^\s{])([^\s{}$\\]+)")
_OPEN_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])")
_TAG = re.compile(r"</answer>", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]")
_MONEY = re.compile("[$€£¥₹]")
# What is spelled with letters in a number.
_IN_NUMBERS = re.compile(
    r"\\[dtc]?frac(?![A-Za-z])|\\times(?![A-Za-z])|(?<=[0-9])[eE](?=[+-]?[0-9])| (?:thousand|[mb]illion)\Z"
)
_FORMULA = re.compile(
    r"\\(?:[dtc]?frac|sqrt|pi|pm|mp|cdot|times|infty|circ|left|binom|begin|mathbb|cup|cap|log|ln|sin|cos|tan|theta"
    r"|alpha|leq?|geq?|neq?|sum|prod|int|overline|angle|text|mathrm|mathbf|emptyset)(?![a-z])|\A\s*\$[^$]+\$\.?\s*\Z"
)
_NO_ANSWERS = frozenset(
    {
        *("not found", "no answer", "no answer found", "not available", "n/a", "na", "nan", "none", "null", "nil"),
        *("unknown", "tbd", "todo", "error", "answer not found", "[no answer]", "[not found]", "[none]", "[invalid]"),
    }
)


class Final(NamedTuple):
    """What a sample has to say, and where it stood in the gold answer."""

    answer: str
    where: str
    """WHOLE, or a mark."""


def final_answer(text: str) -> Final:
    """Return the final answer of a worked solution, or the whole text. Raises ValueError if it has none or several."""
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
        return Final(text, WHOLE)
    if not answer.strip():
        raise ValueError(f"nothing {where}" if where != _IN_BOX else r"a \boxed{} that is empty or not closed")
    return Final(answer.strip(), where)


def grader_of(final: Final) -> str:
    """Choose the grader for a gold answer by its looks: number, math, or answer, which compares texts."""
    worded = final.where == WHOLE and _WORD.search(_IN_NUMBERS.sub("", in_digits(final.answer)))
    try:
        number = read_quantity(final.answer)
    except RefusedError:
        number = None
    # "5 km" is one, too; "12 Monkeys" is a name, "$5 bill" a thing.
    if number is not None and (not worded or (number.unit and not _MONEY.search(final.answer))):
        return "number"
    return "math" if final.where == _IN_BOX or _FORMULA.search(final.answer) else "answer"


def says_none(answer: str) -> bool:
    """Return True if a gold answer only says that there is none, as programs write it."""
    return " ".join(answer.split()).strip(".!").casefold() in _NO_ANSWERS


def check_gold(place: str, question: Question) -> None:
    """Raise Dropped, its words beginning with the place, if the gold answer is not right or cannot be judged."""
    if question.grader not in _LOOKED_AT:
        return
    reason = f"a gold answer that is none for {question.grader}"
    try:
        graded = GRADERS[question.grader](question.answer, question)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        told = f"{place}: the grader {question.grader} lacks a fact, or cannot read it: {error!r}"
        raise Dropped(reason, told) from error
    if graded.outcome != "right":
        raise Dropped(reason, f"{place}: {_told(question, graded.reason or graded.outcome)}")


def _told(question: Question, fault: str) -> str:
    hint = "; --grader exact takes a text as it is" if question.grader == "math" else ""
    return f"the gold answer {question.answer[:60]!r} is none for {question.grader}: {fault}{hint}"


class Faults(NamedTuple):
    """What was found by work that takes a while, of all questions together."""

    by_key: Mapping[str, Dropped]
    """Of questions that no sample could be right about."""
    notes: tuple[str, ...]
    """What was not tried, in sentences."""


def find_faults(questions: Sequence[Question]) -> Faults:
    """Read each mathematical gold answer once, and look for an equation where a countdown question shows none.

    Raises ValueError if mathematics cannot be compared on this machine.
    """
    of_math = [question for question in questions if question.grader == "math"]
    answers, formulas_left = _math_faults(question.answer for question in of_math)
    by_key = {
        question.key: Dropped("a gold answer that is none for math", _told(question, answers[question.answer]))
        for question in of_math
        if question.answer in answers
    }
    unproven = [
        question
        for question in questions
        if question.grader == "countdown"
        and len(question.facts["numbers"]) <= _NUMBERS
        and GRADERS["countdown"](question.answer, question).outcome != "right"
    ]
    for question in unproven[:MOST_SEARCHED]:
        numbers, target = question.facts["numbers"], question.facts["target"]
        if not countdown.is_solvable(numbers, target):
            told = f"no equation of {str(numbers)[:60]} makes {str(target)[:20]}"
            by_key[question.key] = Dropped("no equation makes the target", told)
    left = {"formulas of the gold answers": formulas_left, "countdown questions": len(unproven) - MOST_SEARCHED}
    notes = (f"{count:,} {what} more than are tried before the run" for what, count in left.items() if count > 0)
    return Faults(by_key, tuple(notes))


def _math_faults(given: Iterable[str]) -> tuple[Mapping[str, str], int]:
    """Return what is wrong with gold answers that nobody can match, and how many formulas were not tried."""
    faults: dict[str, str] = {}
    formulas: dict[str, str] = {}
    for answer in dict.fromkeys(given):
        if says_none(answer):
            faults[answer] = "says only that there is none"
            continue
        try:
            read_quantity(answer)
        except RefusedError:
            try:
                text = formula(answer).text
            except RefusedError as error:
                faults[answer] = str(error)
            else:
                if not is_wordy(text):
                    formulas[answer] = text
    different = list(dict.fromkeys(formulas.values()))
    asked = different[:MOST_FORMULAS]
    try:
        with ThreadPoolExecutor(pool_size()) as threads:
            said = dict(zip(asked, threads.map(unread, asked), strict=True))
    except CannotStartError as error:
        raise ValueError(f"the grader 'math' needs math-verify[antlr4_13_2]: {error}") from error
    faults |= {answer: said[text] for answer, text in formulas.items() if said.get(text)}
    return faults, len(different) - len(asked)


def unread(text: str) -> str:
    """Return why the workers cannot take a formula; "" if it is read, and equal to itself."""
    try:
        reply = pool_of(WORKER).ask({"gold": text, "answer": text})
    except (TimedOutError, DiedError) as error:
        return error.reason
    if not reply["gold"]:
        return "cannot be read as mathematics"
    return "" if reply["equal"] else "does not equal itself"
