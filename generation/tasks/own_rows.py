"""Where a user's own questions lie, and their rows as they stand there: a file, or a dataset of the hub.

Knows columns, not what makes a question of them.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.messages import first_line
from generation.tasks.hub_rows import Place
from generation.tasks.hub_rows import load as load_rows
from generation.tasks.mixture import MOST
from generation.tasks.own_facts import COLUMNS, GraderName
from generation.tasks.written import RepeatedNameError, as_written, json_object

_KINDS = ".jsonl or .parquet"
_OBJECT = '{"question": "...", "answer": "..."}'
_ROW = f"each line must be one object such as {_OBJECT}"
_HUB = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)(?::(?P<configuration>[^@]+))?(?:@(?P<revision>[\w./-]+))?")
_PACKED = frozenset({".gz", ".bz2", ".xz", ".zst", ".zip", ".tar", ".tgz"})
_SHOWN = 5
"""Files of a folder that are named."""


class Reading(NamedTuple):
    """How the rows are read."""

    grader: GraderName | None = None
    """None to tell by the question and its gold answer."""
    question_column: str = "question"
    answer_column: str = "answer"
    split: str | None = None
    """Of a hub dataset; None for "train"."""

    @property
    def needs(self) -> str:
        return f"each row needs {self.question_column!r} and {self.answer_column!r}"


class Given(NamedTuple):
    """What --questions says."""

    where: str
    """The file or dataset."""
    sft: int | None
    """Questions for SFT, behind a last colon; None for all."""

    @property
    def is_file(self) -> bool:
        return Path(self.where).suffix in _READERS


class Found(NamedTuple):
    """The rows, and what is known of where they are from."""

    rows: Iterable[tuple[str, dict[str, Any]]]
    """Each with its place, in words."""
    on_hub: bool = False
    """The user cannot mend its rows."""
    revision: str | None = None
    """Of a hub dataset."""


def parse(text: str) -> Given:
    """Split PLACE or PLACE:COUNT; nothing is looked for yet. Raises ValueError for a count that cannot be."""
    where, colon, count = text.rpartition(":")
    if colon and where and re.fullmatch(r"[0-9]{1,12}", count):
        if not 1 <= int(count) <= MOST:
            raise ValueError(f"--questions {text}: the count behind the colon must be between 1 and {MOST:,}")
        return Given(where, int(count))
    if colon and Path(where).suffix in _READERS and Path(text).suffix not in _READERS:
        raise ValueError(
            f"--questions {text}: behind the colon stands {count!r}, and must stand how many, as {where}:500"
        )
    return Given(text, None)


def find(given: Given, reading: Reading) -> Found:
    """Find the rows. Raises ValueError for whatever is wrong with them, also later, while they are read."""
    where, path = given.where, Path(given.where)
    hub = _HUB.fullmatch(where)
    if os.path.isdir(path):
        raise ValueError(f"--questions {where} is a folder: give a {_KINDS} file{_of_folder(path)}")
    if reading.split is not None and (hub is None or given.is_file):
        raise ValueError(f"--split {reading.split} is for a hub dataset: leave it out with --questions {where}")
    if given.is_file:
        if not os.path.exists(path) and "," in where:
            raise ValueError(f"--questions {where} is not there: give one file, and join several into it")
        if not os.path.exists(path):
            raise ValueError(f"--questions file {where} is not there: give one that is, or how many to make")
        if not os.path.isfile(path):
            raise ValueError(f"--questions {where} is no ordinary file: give one that is")
        return Found(_READERS[path.suffix](path, reading))
    if os.path.exists(path):
        raise ValueError(f"--questions {where} is no {_KINDS} file: {_remedy(path)}")
    if hub is not None:
        return _hub(Place(hub["repository"], hub["configuration"], reading.split or "train", hub["revision"]), reading)
    raise ValueError(f"--questions {where!r} is no count, no {_KINDS} file, and no hub dataset (owner/name)")


def near(column: str, names: Collection[str]) -> str | None:
    """Return the name nearest to `column`, or None if none is near."""
    plain = {name.strip().casefold(): name for name in names}
    close = difflib.get_close_matches(column.casefold(), plain, 1, 0.75)
    return plain[close[0]] if close else None


def _of_folder(path: Path) -> str:
    # No deeper: it may be the root of a disk.
    found = sorted(one for suffix in _READERS for depth in ("*", "*/*") for one in path.glob(depth + suffix))[:_SHOWN]
    return f", such as {', '.join(map(str, found))}" if found else ""


def _remedy(path: Path) -> str:
    if path.suffix in _PACKED:
        return "unpack it first"
    if path.suffix.lower() in _READERS:
        return f"rename it to end in {path.suffix.lower()}"
    return f"give one of these, such as a .jsonl file with a line {_OBJECT} for each question"


def _jsonl(path: Path, _: Reading) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        # -sig: some editors begin a file with a byte order mark.
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    place = f"{path} line {number}"
                    yield place, _object(place, line)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} cannot be read as UTF-8 text: {error}; save it as UTF-8") from error
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}; give a file that can be") from error


def _object(place: str, line: str) -> dict[str, Any]:
    try:
        return json_object(line)
    except RepeatedNameError as error:
        raise ValueError(f"{place} {error}: give it once") from error
    except TypeError as error:
        raise ValueError(f"{place} is no JSON object; {_ROW}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{place} is no JSON, torn perhaps: {error}; {_ROW}") from error


def _parquet(path: Path, reading: Reading) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            needed = _needed(str(path), schema.names, reading)
            number = 0
            for batch in file.iter_batches(columns=needed):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path} row {number}", {n: as_written(v, schema.field(n).type) for n, v in row.items()}
    except (pa.ArrowException, OSError) as error:
        reason = first_line(error)
        raise ValueError(f"{path} cannot be read as parquet: {reason}; write the file again") from error


def _hub(place: Place, reading: Reading) -> Found:
    wanted = {reading.question_column, reading.answer_column, *COLUMNS}
    loaded = load_rows(place, f"--questions dataset {place.shown}", wanted)
    _needed(f"dataset {place.shown}", loaded.columns, reading)
    numbered = ((f"{place.shown} row {number}", row) for number, row in enumerate(loaded.rows, 1))
    return Found(numbered, True, loaded.revision)


def _needed(place: str, names: Sequence[str], reading: Reading) -> list[str]:
    """The columns to read. Raises ValueError, naming those there are, where one is missing or comes twice."""
    for flag in ("question_column", "answer_column"):
        column = getattr(reading, flag)
        if column not in names:
            there = ", ".join(names)[:200] or "none"
            meant = near(column, names)
            perhaps = f"; perhaps --{flag} {meant}" if meant else ""
            raise ValueError(f"{place} has no column {column!r}: name the right one with --{flag}, of {there}{perhaps}")
        if list(names).count(column) > 1:
            raise ValueError(f"{place} has two columns {column!r}: rename one of them")
    wanted = {reading.question_column, reading.answer_column, *COLUMNS}
    return [name for name in names if name in wanted]


_READERS: Mapping[str, Callable[[Path, Reading], Iterator[tuple[str, dict[str, Any]]]]] = {
    ".jsonl": _jsonl,
    ".parquet": _parquet,
}
