"""What a grader needs of a user's own row beside question and answer, and which grader it is.

Some graders read further columns: `choices` for choice; `numbers` (or `nums`) and `target` for countdown;
`letters`, `min_length` and `in_order` for word.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, get_args

from generation.tasks import choices, countdown
from generation.tasks.final import WHOLE, Final, final_answer, grader_of

GraderName = Literal["countdown", "number", "choice", "math", "exact", "word"]
COLUMNS = ("choices", "numbers", "nums", "target", "letters", "min_length", "in_order")
"""Read where they are there."""
ANSWER_TYPES = {
    "answer": "answer",
    "countdown": "equation",
    "number": "value",
    "choice": choices.ANSWER_TYPE,
    "math": "value or expression",
    "exact": "answer",
    "word": "word",
}
"""Fills {answer_type_str}, by grader."""
assert ANSWER_TYPES.keys() >= set(get_args(GraderName))
_PLACE = re.compile(r"[0-9]{1,3}")
_NUMBER = re.compile(r"[0-9]")


class Judged(NamedTuple):
    """A row as a question asks it and a grader judges it."""

    text: str
    answer: str
    grader: str
    answer_type: str
    facts: Mapping[str, Any]
    where: str = WHOLE
    """In the row's gold answer; see `final`."""


class UnfitError(ValueError):
    """A row that gives no question: what to tell of it, and the `reason`, the same for all rows like it."""

    def __init__(self, told: str, reason: str) -> None:
        super().__init__(told)
        self.reason = reason


class _Row(NamedTuple):
    place: str
    cells: Mapping[str, Any]
    text: str
    answer: str


def judged(place: str, row: Mapping[str, Any], text: str, answer: str | int, grader: str | None) -> Judged:
    """Read the row for this grader; without one, countdown or choice by the wording, else as the gold answer looks.

    Raises UnfitError, naming the row, if it lacks what the grader needs; ValueError if all rows are misread.
    """
    if grader is None and countdown.facts_of(text) is not None:
        grader = "countdown"
    # Those of countdown are not asked for: published ones have any text there.
    final = Final(str(answer), WHOLE) if grader == "countdown" else _final(place, str(answer))
    if grader is None:
        _check_unused(place, row)
        grader = "choice" if _bare(final.answer) in choices.in_text(text) else grader_of(final)
    read = _READERS.get(grader, _plain)
    text, gold, facts = read(_Row(place, row, text, final.answer))
    return Judged(text, gold, grader, ANSWER_TYPES[grader], facts, final.where)


def _check_unused(place: str, row: Mapping[str, Any]) -> None:
    """Raise ValueError where no grader is named, and the row has columns that one of them alone reads."""
    for grader, columns, enough in (
        ("choice", ("choices",), 1),
        ("countdown", ("target", "numbers", "nums"), 2),
        ("word", ("letters",), 1),
    ):
        there = [column for column in columns if row.get(column) not in (None, [], {}, "")]
        if len(there) >= enough:
            told = f"{place} has {there[-1]!r}, which is read with --grader {grader} alone"
            raise ValueError(f"{told}: give that, or --grader exact, number or math to leave the column unread")


def _final(place: str, answer: str) -> Final:
    try:
        return final_answer(answer)
    except ValueError as error:
        raise UnfitError(f"{place}: the gold answer has {error}: give the final answer alone", str(error)) from error


_Read = tuple[str, str, dict[str, Any]]


def _plain(row: _Row) -> _Read:
    return row.text, row.answer, {}


def _countdown(row: _Row) -> _Read:
    facts = countdown.facts_of(row.text)
    if facts is None:
        column = "numbers" if row.cells.get("numbers") is not None else "nums"
        numbers, target = row.cells.get(column), row.cells.get("target")
        if numbers is None or target is None:
            raise UnfitError(
                f"{row.place} is no countdown question: word it as ours, or give the columns 'numbers' and 'target'",
                "no countdown question",
            )
        whole = isinstance(numbers, list) and all(type(number) is int for number in numbers)
        if not numbers or not whole or type(target) is not int:
            raise UnfitError(
                f"{row.place} is no countdown question: {column!r} must be a list of whole numbers and 'target' one,"
                f" not {numbers!r:.40} and {target!r:.20}",
                "no countdown question",
            )
        facts = {"numbers": numbers, "target": target}
    return row.text, row.answer, facts


def _choice(row: _Row) -> _Read:
    given, text = row.cells.get("choices"), row.text
    try:
        found, labels = _options(given)
    except ValueError as error:
        raise UnfitError(f"{row.place} has {error}: mend its 'choices'", str(error)) from error
    if not found:
        found = choices.in_text(text)
    else:
        text = choices.with_choices(text, found)
    if not found:
        raise UnfitError(
            f"{row.place} shows no choices: give them in a column 'choices', or as lines such as 'A) first'",
            "shows no choices",
        )
    return text, _letter(row, found, labels), {"choices": found}


def _options(given: Any) -> tuple[dict[str, str], dict[str, str]]:
    """The options by letter, and the letter by their own label; of a list, {label, text}, or {letter: text}."""
    labels: list[str] = []
    if isinstance(given, dict) and {"label", "text"} <= given.keys():
        labels, given = list(map(str, given["label"])), given["text"]
    elif isinstance(given, dict):
        given = {label: text for label, text in given.items() if text is not None}
        labels, given = list(given), list(given.values())
    if not given:
        return {}, {}
    if not isinstance(given, list) or not all(isinstance(text, str | int) for text in given):
        raise ValueError("choices that are no list of texts")
    found = choices.lettered(list(map(str, given)))
    return found, dict(zip(labels, found, strict=False))


def _letter(row: _Row, found: Mapping[str, str], labels: Mapping[str, str]) -> str:
    """The gold letter: given as a label, or as a letter, an option's text, or a place counted from 0.

    A label is the row's own name of an option. Any of the other three may be meant: those that apply must agree.
    """
    said = row.answer.strip()
    whole = said.removesuffix(".0")  # a column of numbers is one of floats when some are missing
    if said in labels or whole in labels:
        return labels.get(said) or labels[whole]
    letters = list(found)
    place = int(whole) if _PLACE.fullmatch(whole) else -1
    meant = {
        "as a letter": _bare(said) if _bare(said) in found else None,
        "by its text": next((letter for letter, text in found.items() if text in (said, whole)), None),
        "by its place counted from 0": letters[place] if 0 <= place < len(letters) else None,
    }
    by = [(letter, how) for how, letter in meant.items() if letter is not None]
    told = f"{row.place}: the answer {said[:60]!r}"
    if len({letter for letter, _ in by}) > 1:
        ways = " and ".join(f"{letter} {how}" for letter, how in by)
        raise UnfitError(f"{told} is option {ways}: give the letter", "an answer that names two options")
    if by:
        return by[0][0]
    told += f" is none of the choices {', '.join(letters)}"
    if place == len(letters) and not any(_NUMBER.search(text) for text in found.values()):
        raise ValueError(f"{told}; a place is counted from 0, and these seem to be counted from 1: give letters")
    raise UnfitError(told, "an answer that is no choice")


def _bare(said: str) -> str:
    """The letter of "(b)" or "B.", if it is one."""
    return said.strip(" ().").upper()


def _word(row: _Row) -> _Read:
    letters = row.cells.get("letters")
    if isinstance(letters, list):
        letters = "".join(map(str, letters))
    if not isinstance(letters, str) or not letters.isalpha():
        raise UnfitError(
            f"{row.place} has no 'letters': the grader word needs those that may be used, such as 'tsrae'", "no letters"
        )
    least = str(row.cells.get("min_length", "") or 1)
    if not _PLACE.fullmatch(least):
        raise UnfitError(f"{row.place}: 'min_length' must be a whole number, not {least[:40]!r}", "no min_length")
    # A column of a CSV holds texts.
    in_order = str(row.cells.get("in_order") or False).lower()
    if in_order not in ("true", "false"):
        raise UnfitError(f"{row.place}: 'in_order' must be true or false, not {in_order[:40]!r}", "no in_order")
    facts = {"letters": letters.lower(), "min_length": int(least), "in_order": in_order == "true"}
    return row.text, row.answer, facts


_READERS: Mapping[str, Callable[[_Row], _Read]] = {"countdown": _countdown, "choice": _choice, "word": _word}
