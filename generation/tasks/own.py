"""Questions that a user brings: a .jsonl or .parquet file, or a dataset of the hub.

Each row needs a question and an answer. Without a grader, a question worded as a countdown one is graded as
such, any other by the text of its answer.
"""

from __future__ import annotations

import json
import os
import re
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
from generation.tasks.own_facts import GraderName
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
    revision: str | None = None
    """Of a hub dataset."""


def task(given: str, reading: Reading) -> Task:
    """The task of this file or dataset. Raises ValueError, also later, for whatever is wrong with it."""

    def supply(wanted: Wanted) -> Supplied:
        found = _find(given, reading)
        questions = _checked(found.rows, given, reading)
        sft, rl = split(questions, wanted, given)
        usual = Reading()._asdict()
        config = {name: value for name, value in reading._asdict().items() if value != usual[name]}
        if found.revision is not None:
            config["revision"] = found.revision
        return Supplied(sft, rl, {"questions": given, **config})

    grader = reading.grader or "answer"
    return Task(_name(given), f"questions of {given}", grader, "answer", supply, lambda: load(given, reading)[0])


def load(given: str, reading: Reading = Reading()) -> tuple[Question, ...]:  # noqa: B008  a tuple, never changed
    """The questions of a file or hub dataset, in their order.

    Raises ValueError, naming the row, for whatever is wrong with them.
    """
    return _checked(_find(given, reading).rows, given, reading)


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


def _checked(rows: Iterable[tuple[str, dict[str, Any]]], given: str, reading: Reading) -> tuple[Question, ...]:
    found: dict[str, Question] = {}
    places: dict[str, str] = {}
    needed = f"each row needs {reading.question_column!r} and {reading.answer_column!r}"
    for place, row in rows:
        for column in (reading.question_column, reading.answer_column):
            _check_cell(place, row, column, needed)
        question = _question(place, row, given, reading)
        check_gold(place, question)
        if question.key in found:
            raise ValueError(f"{place} asks the same question as {places[question.key]}: each must be asked once")
        found[question.key], places[question.key] = question, place
    if not found:
        raise ValueError(f"--questions {given} holds no questions: give at least one row; {needed}")
    return tuple(found.values())


def _check_cell(place: str, row: Mapping[str, Any], column: str, needed: str) -> None:
    if row.get(column) is None:
        there = "it is null" if column in row else f"only {', '.join(row)[:200] or 'nothing'}"
        raise ValueError(f"{place} has no {column!r} ({there}): {needed}")
    if not isinstance(row[column], str | int | float) or isinstance(row[column], bool):
        raise ValueError(f"{place}: {column!r} must be text, not {type(row[column]).__name__}")
    if not str(row[column]).strip():
        raise ValueError(f"{place}: {column!r} is empty; fill it in, or leave the row out")
    if any("\ud800" <= character <= "\udfff" for character in str(row[column])):
        raise ValueError(f"{place}: {column!r} holds half a character (a lone surrogate); write it anew")


def _question(place: str, row: Mapping[str, Any], given: str, reading: Reading) -> Question:
    text, answer = str(row[reading.question_column]), row[reading.answer_column]
    judged = own_facts.judged(place, row, text, answer, reading.grader)
    return Question(judged.text, judged.answer, _name(given), given, judged.grader, judged.answer_type, judged.facts)


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
    return _Found(numbered, loaded.revision)


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
