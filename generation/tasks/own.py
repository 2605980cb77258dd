"""Questions that a user brings: a .jsonl or .parquet file, or a dataset of the hub.

Each row needs a question and an answer. Without a grader, a question worded as a countdown one is graded as
such, any other as its gold answer looks: as a number, as mathematics, or by its text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from generation.records import Question, same_text
from generation.tasks import own_facts
from generation.tasks.gold import check_gold, find_faults
from generation.tasks.own_facts import UnfitError
from generation.tasks.own_notes import Checked
from generation.tasks.own_rows import Found, Given, Reading, find, near, parse
from generation.tasks.split import split
from generation.tasks.task import Supplied, Task, Wanted

__all__ = ["FLAGS", "Reading", "load", "parse", "task"]

FLAGS = ("grader", "question_column", "answer_column", "split")
"""Of the command line; each is a field of Reading."""


def task(text: str, reading: Reading) -> Task:
    """Make the task of this file or dataset. It, and its `supply`, raise ValueError for whatever is wrong with it."""
    given = parse(text)

    def supply(wanted: Wanted) -> Supplied:
        found = find(given, reading)
        checked = _checked(found, given, reading)
        sft, rl = split(checked.questions, wanted._replace(sft=given.sft), given.where)
        usual = Reading()._asdict()
        config: dict[str, Any] = {name: value for name, value in reading._asdict().items() if value != usual[name]}
        if found.revision is not None:
            config["revision"] = found.revision
        if checked.dropped:
            config["dropped"] = dict(sorted(checked.dropped.items()))
        if reading.grader is None:
            config["graders"] = dict(sorted(Counter(question.grader for question in checked.questions).items()))
        return Supplied(sft, rl, {"questions": given.where, **config}, checked.notes)

    grader = reading.grader or "answer"
    return Task(_name(given), f"questions of {given.where}", grader, "answer", supply, lambda: load(text, reading)[0])


def load(text: str, reading: Reading = Reading()) -> tuple[Question, ...]:  # noqa: B008  a tuple, never changed
    """Load the questions of a file or hub dataset, in their order.

    Raises ValueError for whatever is wrong with them, naming the row; of a hub dataset such rows are left out.
    """
    given = parse(text)
    return _checked(find(given, reading), given, reading).questions


def _checked(found: Found, given: Given, reading: Reading) -> Checked:
    checked = Checked(reading.grader, {}, Counter(), {}, [])
    places: dict[str, str] = {}
    first = ""

    def leave_out(error: UnfitError) -> None:
        nonlocal first
        if not found.on_hub:
            raise error
        checked.dropped[error.reason] += 1
        first = first or str(error)

    for place, row in found.rows:
        try:
            question, where = _question(place, row, given, reading)
            text = same_text(question.text)
            if text in places:
                again = (
                    f"{place} asks the same question as {places[text]}: each must be asked once, whatever its spaces"
                )
                raise UnfitError(again, "asked in an earlier row")
        except UnfitError as error:
            leave_out(error)
            continue
        places[text] = place
        checked.add(question, where)
    faults = find_faults(checked.questions)
    checked.unasked.extend(faults.notes)
    for key, fault in faults.by_key.items():
        leave_out(UnfitError(f"{places[same_text(checked.kept[key].text)]}: {fault.told}", fault.reason))
        checked.remove(key)
    if not checked.questions:
        why = f"{checked.notes[0]}; the first: {first}" if first else f"give at least one row; {reading.needs}"
        raise ValueError(f"--questions {given.where} holds no questions: {why}")
    return checked


def _check_cell(place: str, row: Mapping[str, Any], column: str, reading: Reading) -> None:
    value, is_gold = row.get(column), column == reading.answer_column
    if value is None:
        there = "it is null" if column in row else f"only {', '.join(row)[:200] or 'nothing'}"
        meant = None if column in row else near(column, row)
        perhaps = f"; perhaps --{'answer' if is_gold else 'question'}_column {meant}" if meant else ""
        raise UnfitError(f"{place} has no {column!r} ({there}): {reading.needs}{perhaps}", f"no {column!r}")
    if isinstance(value, float):
        said = f"{place}: {column!r} is {value}, and no more is known of it: give what is meant as a text"
        raise UnfitError(said, f"{column!r} is no exact number")
    if not isinstance(value, str | int if is_gold else str) or isinstance(value, bool):
        kind = type(value).__name__
        raise UnfitError(f"{place}: {column!r} must be text, not {kind}", f"{column!r} is no text")
    if not same_text(str(value)):
        raise UnfitError(f"{place}: {column!r} is empty; fill it in, or leave the row out", f"{column!r} is empty")
    if any("\ud800" <= character <= "\udfff" for character in str(value)):
        half = f"{place}: {column!r} holds half a character (a lone surrogate); write it anew"
        raise UnfitError(half, f"{column!r} is no text")


def _question(place: str, row: Mapping[str, Any], given: Given, reading: Reading) -> tuple[Question, str]:
    """The row as a question, and where its gold answer stood.

    Raises UnfitError when it gives none, ValueError when no row can.
    """
    for column in (reading.question_column, reading.answer_column):
        _check_cell(place, row, column, reading)
    text, answer = str(row[reading.question_column]), row[reading.answer_column]
    judged = own_facts.judged(place, row, text, answer, reading.grader)
    question = Question(
        judged.text, judged.answer, _name(given), given.where, judged.grader, judged.answer_type, judged.facts
    )
    try:
        check_gold(place, question)
    except ValueError as error:
        raise UnfitError(str(error), f"a gold answer that is none for {question.grader}") from error
    return question, judged.where


def _name(given: Given) -> str:
    """Of the task: the file's own name, so that a moved file asks the same questions; or the repository."""
    return Path(given.where).stem if given.is_file else given.where.partition(":")[0].partition("@")[0]
