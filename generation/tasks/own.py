"""Questions that a user brings: a .jsonl or .parquet file, or a dataset of the hub.

Each row needs `question` and `answer`. A question worded as a countdown one is graded as such, any
other by its answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from generation.records import Question
from generation.tasks import countdown

_COLUMNS = ("question", "answer")


def load(given: str) -> tuple[Question, ...]:
    """The questions of a file or hub dataset, in their order.

    Raises ValueError, naming the row, for whatever is wrong with them.
    """
    path = Path(given)
    if path.suffix in {".jsonl", ".parquet"}:
        if not path.is_file():
            raise ValueError(f"--questions file {given} is not there")
        rows = _jsonl(path) if path.suffix == ".jsonl" else _parquet(path)
    elif path.exists():
        raise ValueError(f"--questions {given} is no .jsonl or .parquet file")
    elif given.count("/") == 1:
        rows = _hub(given)
    else:
        raise ValueError(
            f"--questions {given!r} is no count, no .jsonl or .parquet file, and no hub dataset (owner/name)"
        )
    return _checked(rows, given)


def _checked(rows: Iterable[tuple[str, dict[str, Any]]], given: str) -> tuple[Question, ...]:
    found: dict[str, Question] = {}
    places: dict[str, str] = {}
    for place, row in rows:
        for column in _COLUMNS:
            if row.get(column) is None:
                raise ValueError(f"{place} has no {column!r}: each row needs 'question' and 'answer'")
            if not isinstance(row[column], str | int | float) or isinstance(row[column], bool):
                raise ValueError(f"{place}: {column!r} must be text, not {type(row[column]).__name__}")
            if not str(row[column]).strip():
                raise ValueError(f"{place}: {column!r} is empty")
        question = _question(str(row["question"]), str(row["answer"]), given)
        if question.key in found:
            raise ValueError(f"{place} asks the same question as {places[question.key]}: each must be asked once")
        found[question.key], places[question.key] = question, place
    if not found:
        raise ValueError(f"--questions {given} holds no questions")
    return tuple(found.values())


def _question(text: str, answer: str, given: str) -> Question:
    name = Path(given).stem if Path(given).suffix else given
    facts = countdown.facts_of(text)
    if facts is not None:
        return Question(text, answer, name, given, "countdown", "equation", facts)
    return Question(text, answer, name, given, "answer", "answer")


def _jsonl(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                place = f"{path} line {number}"
                try:
                    row = json.loads(line)
                except ValueError as error:
                    raise ValueError(f"{place} is no JSON: {error}") from error
                if not isinstance(row, dict):
                    raise ValueError(f"{place} is no JSON object with 'question' and 'answer'")
                yield place, row
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as UTF-8 text: {error}") from error


def _parquet(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        file = pq.ParquetFile(path)
        missing = [column for column in _COLUMNS if column not in file.schema_arrow.names]
        if missing:
            there = ", ".join(file.schema_arrow.names)
            raise ValueError(f"{path} has no column {missing[0]!r}: it has {there}")
        number = 0
        for batch in file.iter_batches(columns=list(_COLUMNS)):
            for row in batch.to_pylist():
                number += 1
                yield f"{path} row {number}", row
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} cannot be read as parquet: {str(error).splitlines()[0]}") from error


def _hub(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    # datasets takes seconds to import, and only this needs it: its home.
    import datasets

    try:
        loaded = datasets.load_dataset(name, split="train")
    except Exception as error:
        # The hub client raises a dozen kinds; each means that these questions cannot be had.
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise ValueError(f"--questions {name}: no such file, and the hub says: {reason}") from error
    missing = [column for column in _COLUMNS if column not in loaded.column_names]
    if missing:
        raise ValueError(f"dataset {name} has no column {missing[0]!r}: it has {', '.join(loaded.column_names)}")
    for number, row in enumerate(loaded, 1):
        yield f"{name} row {number}", dict(row)
