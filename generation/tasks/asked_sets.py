"""The questions that stand in any set: a file, a folder of ours, or a hub dataset with all its splits.

Knows where questions stand in the sets that people have, and nothing of answers.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.texts import first_line
from generation.records import collapse_spaces
from generation.tasks.custom import json_lines
from generation.tasks.hub_rows import Place, Rows, load, parquet_rows

TEXTS = ("question", "problem", "conversations", "messages", "prompt")
"""The columns that a question may stand in, as a text or in the first turn of a user; the first of these counts."""
_KEY, _INFO = "question_key", "extra_info"  # where our sets name a question
_FACTS = ("numbers", "nums", "target")
_WANTED = (*TEXTS, _KEY, _INFO, *_FACTS)
_HUB = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)(?::(?P<configuration>[^@]+))?(?:@(?P<revision>[\w./-]+))?")
_FILES = (".jsonl", ".parquet")


class Asked(NamedTuple):
    """A question of a set."""

    row: str  # its place, as shown to the user
    text: str  # "" if only its key is known, as in a set of tokens
    key: str  # its question_key in our sets; "" in others
    facts: tuple[list[int], int] | None  # numbers and target, where columns give them


def shown_place(what: str) -> str:
    """Return what a card may call a set: its name, without the folders of this machine."""
    return Path(what).name if Path(what).exists() else what


def read_asked(what: str, flag: str) -> Iterator[Asked]:
    """Yield the questions of a set, in order. Raises ValueError, starting with the flag, if it cannot be read.

    Of a folder it reads all parquet files, of a run that has made its sets not the shards.
    """
    told = f"{flag} {what}"
    count = 0
    for place, row in _rows(what, told):
        if (asked := _asked(place, row)) is not None:
            count += 1
            yield asked
    if not count:
        raise ValueError(f"{told}: no row holds a question in a column {', '.join(TEXTS)}")


def _rows(what: str, told: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    path = Path(what)
    try:
        is_folder, is_there = path.is_dir(), path.exists()
    except OSError as error:
        raise ValueError(f"{told}: cannot be looked at: {error.strerror}") from error
    if is_folder:
        files = sorted(path.rglob("*.parquet"))
        files = [file for file in files if "shards" not in file.relative_to(path).parts] or files
        if not files:
            raise ValueError(f"{told}: holds no parquet file: give a folder of a set, or a file")
        for file in files:
            yield from _parquet(file, told, str(file.relative_to(path)))
    elif is_there and path.suffix not in _FILES:
        raise ValueError(f"{told} is no {' or '.join(_FILES)} file")
    elif is_there and path.suffix == ".parquet":
        yield from _parquet(path, told, path.name)
    elif is_there:
        try:
            for number, (_, row) in enumerate(json_lines(path, '{"question": "..."}'), 1):
                _check_columns(row.keys(), told)
                yield f"{path.name} row {number}", row
        except ValueError as error:
            raise error if str(error).startswith(told) else ValueError(f"{told}: {error}") from error
    elif (hub := _HUB.fullmatch(what)) is None or path.suffix in _FILES:
        raise ValueError(f"{told}: no such file or folder, and no hub dataset (owner/name)")
    else:
        place = Place(hub["repository"], hub["configuration"], "all", hub["revision"])
        rows: Rows = load(place, f"{told}: the dataset", {*_WANTED})
        _check_columns(rows.columns, told)
        yield from rows.rows


def _parquet(path: Path, told: str, name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        with pq.ParquetFile(path) as file:
            _check_columns(file.schema_arrow.names, told)
            yield from parquet_rows(name, file, {*_WANTED})
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{told}: {path.name} cannot be read as parquet: {first_line(error)}") from error


def _check_columns(names: Collection[str], told: str) -> None:
    if not {*names} & {*TEXTS, _KEY}:
        there = ", ".join(names)[:200] or "none"
        raise ValueError(f"{told} has no column of questions, {', '.join(TEXTS)}; it has {there}")


def _asked(place: str, row: Mapping[str, Any]) -> Asked | None:
    """Return the question of a row, None if it has none."""
    text = next((found for name in TEXTS if (found := _text_in(row.get(name)))), "")
    info = row.get(_INFO)
    key = row.get(_KEY) or (info.get(_KEY) if isinstance(info, Mapping) else None) or ""
    if not text and not key:
        return None
    numbers = row.get("nums") if row.get("numbers") is None else row.get("numbers")
    target = row.get("target")
    whole = isinstance(numbers, list) and all(type(number) is int for number in numbers)
    facts = (list(numbers), target) if whole and numbers and type(target) is int else None
    return Asked(place, text, str(key), facts)


def _text_in(value: Any) -> str:
    """Return a question that stands by itself, or in the first turn of a user; "" if there is none."""
    if isinstance(value, str):
        return value if collapse_spaces(value) else ""
    turns = [turn for turn in value if isinstance(turn, Mapping)] if isinstance(value, list) else []
    said = (turn.get("content") or turn.get("value") for turn in turns if turn.get("role", turn.get("from")) in _USERS)
    return next((str(one) for one in said if one), "")


_USERS = ("user", "human")
