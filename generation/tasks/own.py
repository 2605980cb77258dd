"""Questions that a user brings: a .jsonl or .parquet file, or a dataset of the hub.

Each row needs `question` and `answer`. A question worded as a countdown one is graded as such, any
other by its answer.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from huggingface_hub import HfApi

from cluster.hub import HUB_TIMEOUT_S, asking_hub, offline
from generation.records import Question
from generation.tasks import countdown

_COLUMNS = ("question", "answer")
_KINDS = ".jsonl or .parquet"
_ROW = 'each line must be one object such as {"question": "...", "answer": "..."}'


def load(given: str) -> tuple[Question, ...]:
    """The questions of a file or hub dataset, in their order.

    Raises ValueError, naming the row, for whatever is wrong with them.
    """
    path = Path(given)
    if os.path.isdir(given):
        raise ValueError(f"--questions {given} is a folder: give a {_KINDS} file")
    if path.suffix in _READERS:
        if not os.path.exists(given):
            raise ValueError(f"--questions file {given} is not there: give one that is, or how many to make")
        rows = _READERS[path.suffix](path)
    elif os.path.exists(given):
        raise ValueError(f"--questions {given} is no {_KINDS} file: give one of these")
    elif given.count("/") == 1:
        rows = _hub(given)
    else:
        raise ValueError(f"--questions {given!r} is no count, no {_KINDS} file, and no hub dataset (owner/name)")
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
                raise ValueError(f"{place}: {column!r} is empty; fill it in, or leave the row out")
            if any("\ud800" <= character <= "\udfff" for character in str(row[column])):
                raise ValueError(f"{place}: {column!r} holds half a character (a lone surrogate); write it anew")
        question = _question(str(row["question"]), str(row["answer"]), given)
        if question.key in found:
            raise ValueError(f"{place} asks the same question as {places[question.key]}: each must be asked once")
        found[question.key], places[question.key] = question, place
    if not found:
        raise ValueError(f"--questions {given} holds no questions: give at least one row with 'question' and 'answer'")
    return tuple(found.values())


def _question(text: str, answer: str, given: str) -> Question:
    name = Path(given).stem if Path(given).suffix in _READERS else given
    facts = countdown.facts_of(text)
    if facts is not None:
        return Question(text, answer, name, given, "countdown", "equation", facts)
    return Question(text, answer, name, given, "answer", "answer")


def _jsonl(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
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


def _parquet(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        with pq.ParquetFile(path) as file:
            _check_columns(str(path), file.schema_arrow.names)
            number = 0
            for batch in file.iter_batches(columns=list(_COLUMNS)):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path} row {number}", row
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path} cannot be read as parquet: {reason}; write the file again") from error


def _hub(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    # One look first: datasets asks six times, for half a minute, where nobody answers.
    if not offline():
        with asking_hub(f"--questions dataset {name}"):
            HfApi().dataset_info(name, timeout=HUB_TIMEOUT_S)
    # datasets takes seconds to import, and only this needs it: its home.
    import datasets

    try:
        loaded = datasets.load_dataset(name, split="train")
    except Exception as error:
        # datasets raises a dozen kinds; each means that these questions cannot be had.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ValueError(f"--questions dataset {name} has no split 'train' that can be loaded: {reason}") from error
    _check_columns(f"dataset {name}", loaded.column_names)
    for number, row in enumerate(loaded, 1):
        yield f"{name} row {number}", dict(row)


def _check_columns(place: str, names: Sequence[str]) -> None:
    for column in _COLUMNS:
        if column not in names:
            there = ", ".join(names) or "none"
            raise ValueError(f"{place} has no column {column!r}: name them 'question' and 'answer', not {there}")


_READERS: Mapping[str, Callable[[Path], Iterator[tuple[str, dict[str, Any]]]]] = {
    ".jsonl": _jsonl,
    ".parquet": _parquet,
}
