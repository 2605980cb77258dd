"""Questions that a user brings: a .jsonl or .parquet file, or a dataset of the hub.

Each row needs a question and an answer. Without a grader, a question worded as a countdown one is graded as
such, any other by the text of its answer.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from generation.records import Question
from generation.tasks import own_facts
from generation.tasks.gold import check_gold
from generation.tasks.hub_rows import Place
from generation.tasks.hub_rows import load as load_rows
from generation.tasks.own_facts import GraderName, UnfitError
from generation.tasks.split import split
from generation.tasks.task import Supplied, Task, Wanted

FLAGS = ("grader", "question_column", "answer_column", "split")
"""Of the command line; each is a field of Reading."""
_KINDS = ".jsonl or .parquet"
_ROW = 'each line must be one object such as {"question": "...", "answer": "..."}'
_HUB = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)(?::(?P<configuration>[^@]+))?(?:@(?P<revision>[\w./-]+))?")


class Reading(NamedTuple):
    """How the rows are read."""

    grader: GraderName | None = None
    """None to tell by the wording."""
    question_column: str = "question"
    answer_column: str = "answer"
    split: str | None = None
    """Of a hub dataset; None for "train"."""


class _Found(NamedTuple):
    rows: Iterable[tuple[str, dict[str, Any]]]
    """Each with its place, in words."""
    on_hub: bool = False
    """The user cannot mend its rows."""
    revision: str | None = None
    """Of a hub dataset."""


class _Checked(NamedTuple):
    questions: tuple[Question, ...]
    dropped: Counter[str]
    """Rows of a hub dataset that give no question, by reason."""

    @property
    def notes(self) -> tuple[str, ...]:
        if not self.dropped:
            return ()
        reasons = ", ".join(f"{reason} ({count:,})" for reason, count in self.dropped.most_common())
        rows = len(self.questions) + self.dropped.total()
        return (f"{self.dropped.total():,} of {rows:,} rows give no question: {reasons}",)


def task(given: str, reading: Reading) -> Task:
    """The task of this file or dataset. Raises ValueError, also later, for whatever is wrong with it."""

    def supply(wanted: Wanted) -> Supplied:
        found = _find(given, reading)
        checked = _checked(found, given, reading)
        sft, rl = split(checked.questions, wanted, given)
        usual = Reading()._asdict()
        config: dict[str, Any] = {name: value for name, value in reading._asdict().items() if value != usual[name]}
        if found.revision is not None:
            config["revision"] = found.revision
        if checked.dropped:
            config["dropped"] = dict(sorted(checked.dropped.items()))
        return Supplied(sft, rl, {"questions": given, **config}, checked.notes)

    grader = reading.grader or "answer"
    return Task(_name(given), f"questions of {given}", grader, "answer", supply, lambda: load(given, reading)[0])


def load(given: str, reading: Reading = Reading()) -> tuple[Question, ...]:  # noqa: B008  a tuple, never changed
    """The questions of a file or hub dataset, in their order.

    Raises ValueError for whatever is wrong with them, naming the row; of a hub dataset such rows are left out.
    """
    return _checked(_find(given, reading), given, reading).questions


def _find(given: str, reading: Reading) -> _Found:
    path = Path(given)
    if os.path.isdir(given):
        raise ValueError(f"--questions {given} is a folder: give a {_KINDS} file")
    hub = _HUB.fullmatch(given)
    if reading.split is not None and (hub is None or path.suffix in _READERS):
        raise ValueError(f"--split {reading.split} is for a hub dataset: leave it out with --questions {given}")
    if path.suffix in _READERS:
        if not os.path.exists(given):
            raise ValueError(f"--questions file {given} is not there: give one that is, or how many to make")
        return _Found(_READERS[path.suffix](path, reading))
    if os.path.exists(given):
        raise ValueError(f"--questions {given} is no {_KINDS} file: give one of these")
    if hub is not None:
        return _hub(Place(hub["repository"], hub["configuration"], reading.split or "train", hub["revision"]), reading)
    raise ValueError(f"--questions {given!r} is no count, no {_KINDS} file, and no hub dataset (owner/name)")


def _checked(found: _Found, given: str, reading: Reading) -> _Checked:
    questions: dict[str, Question] = {}
    places: dict[str, str] = {}
    dropped: Counter[str] = Counter()
    first = ""
    for place, row in found.rows:
        try:
            question = _question(place, row, given, reading)
            if question.key in questions:
                told = f"{place} asks the same question as {places[question.key]}: each must be asked once"
                raise UnfitError(told, "asked in an earlier row")
        except UnfitError as error:
            if not found.on_hub:
                raise
            dropped[error.reason] += 1
            first = first or str(error)
            continue
        questions[question.key], places[question.key] = question, place
    checked = _Checked(tuple(questions.values()), dropped)
    if not questions:
        why = f"{checked.notes[0]}; the first: {first}" if first else f"give at least one row; {_needs(reading)}"
        raise ValueError(f"--questions {given} holds no questions: {why}")
    return checked


def _needs(reading: Reading) -> str:
    return f"each row needs {reading.question_column!r} and {reading.answer_column!r}"


def _check_cell(place: str, row: Mapping[str, Any], column: str, reading: Reading) -> None:
    if row.get(column) is None:
        there = "it is null" if column in row else f"only {', '.join(row)[:200] or 'nothing'}"
        raise UnfitError(f"{place} has no {column!r} ({there}): {_needs(reading)}", f"no {column!r}")
    if not isinstance(row[column], str | int | float) or isinstance(row[column], bool):
        kind = type(row[column]).__name__
        raise UnfitError(f"{place}: {column!r} must be text, not {kind}", f"{column!r} is no text")
    if not str(row[column]).strip():
        raise UnfitError(f"{place}: {column!r} is empty; fill it in, or leave the row out", f"{column!r} is empty")
    if any("\ud800" <= character <= "\udfff" for character in str(row[column])):
        told = f"{place}: {column!r} holds half a character (a lone surrogate); write it anew"
        raise UnfitError(told, f"{column!r} is no text")


def _question(place: str, row: Mapping[str, Any], given: str, reading: Reading) -> Question:
    """The row as a question. Raises UnfitError when it gives none, ValueError when no row can."""
    for column in (reading.question_column, reading.answer_column):
        _check_cell(place, row, column, reading)
    text, answer = str(row[reading.question_column]), row[reading.answer_column]
    judged = own_facts.judged(place, row, text, answer, reading.grader)
    question = Question(
        judged.text, judged.answer, _name(given), given, judged.grader, judged.answer_type, judged.facts
    )
    try:
        check_gold(place, question)
    except ValueError as error:
        raise UnfitError(str(error), f"a gold answer that is none for {question.grader}") from error
    return question


def _name(given: str) -> str:
    """Of the task: the file's own name, so that a moved file asks the same questions; or the repository."""
    return Path(given).stem if Path(given).suffix in _READERS else given.partition(":")[0].partition("@")[0]


def _jsonl(path: Path, _: Reading) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        # -sig: some editors begin a file with a byte order mark.
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                place = f"{path} line {number}"
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise ValueError(f"{place} is no JSON, torn perhaps: {error}; {_ROW}") from error
                if not isinstance(row, dict):
                    raise ValueError(f"{place} is no JSON object; {_ROW}")
                yield place, row
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} cannot be read as UTF-8 text: {error}; save it as UTF-8") from error
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}; give a file that can be") from error


def _parquet(path: Path, reading: Reading) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        with pq.ParquetFile(path) as file:
            needed = _needed(str(path), file.schema_arrow.names, reading)
            number = 0
            for batch in file.iter_batches(columns=needed):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path} row {number}", row
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path} cannot be read as parquet: {reason}; write the file again") from error


def _hub(place: Place, reading: Reading) -> _Found:
    loaded = load_rows(place, f"--questions dataset {place.shown}")
    _needed(f"dataset {place.shown}", loaded.columns, reading)
    numbered = ((f"{place.shown} row {number}", row) for number, row in enumerate(loaded.rows, 1))
    return _Found(numbered, True, loaded.revision)


def _needed(place: str, names: Sequence[str], reading: Reading) -> list[str]:
    """The columns to read. Raises ValueError, naming those there are, where one is missing."""
    for flag in ("question_column", "answer_column"):
        column = getattr(reading, flag)
        if column not in names:
            there = ", ".join(names) or "none"
            raise ValueError(f"{place} has no column {column!r}: name the right one with --{flag}, of {there}")
    wanted = {reading.question_column, reading.answer_column, *own_facts.COLUMNS}
    return [name for name in names if name in wanted]


_READERS: Mapping[str, Callable[[Path, Reading], Iterator[tuple[str, dict[str, Any]]]]] = {
    ".jsonl": _jsonl,
    ".parquet": _parquet,
}
