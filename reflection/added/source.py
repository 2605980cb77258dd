"""The RAW_DATA that reflections are added to: its files, and its rows in blocks, in the order they lie in.

A block is a run of neighbouring rows of one file. Nothing about a reflection depends on other rows, so the
rows of a question need not lie together; where they do, an engine meets them together too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from generation.raw.arrow_lists import as_lists, lengths
from generation.raw.checks import check_copies, notes_on_responses
from generation.raw.files import card_of, reading
from generation.raw.reader import Columns, as_rows, open_parts
from generation.raw.schema import PROVENANCE, REFLECTIONS
from generation.raw.source import RawSource, source_of

BLOCK_ROWS = 16
_BATCH_ROWS = 4096
_INDEX = "sample_index"


class File(NamedTuple):
    """One parquet file."""

    number: int
    path: Path
    columns: Columns
    rows: int
    before: int
    """Rows of the files before it."""


class Sample(NamedTuple):
    """A graded sample, and what its reflections must differ from."""

    row: int
    """Its place in the file."""
    question_key: str
    question: str
    response: str
    is_correct: bool
    variant: str
    place: str
    """Which of the samples of its question and variant: its index, where there is none its place among all rows."""
    there: int
    """Reflections it has already."""
    used: tuple[str, ...]
    """Prompts of those, where they are known."""


class Block(NamedTuple):
    """The unit of work: neighbouring rows of a file."""

    key: str
    text: str
    """Where it lies, for a person."""
    first: int
    """Place of its first row in the file."""
    size: int
    """Rows."""
    samples: tuple[Sample, ...]
    """Those of its rows whose correctness is known."""

    @property
    def task(self) -> str:
        """Always "": a block may hold rows of several tasks."""
        return ""


class Source(NamedTuple):
    """A RAW_DATA that is there."""

    name: str
    """As datasets are called after it."""
    files: tuple[File, ...]
    card: str
    """Its README.md, "" without one."""
    origin: RawSource
    notes: tuple[str, ...]
    """What a person should know of its rows."""

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self.files)


def open_source(raw: str) -> Source:
    """Open the files of a RAW_DATA folder, file or hub repository. Raises ValueError if they are none."""
    rows: dict[Path, int] = {}
    columns: dict[Path, Columns] = {}
    parts = open_parts(raw)
    check_copies(raw, parts)
    for part in parts:
        rows[part.path] = rows.get(part.path, 0) + part.rows
        columns[part.path] = part.columns
    files: list[File] = []
    for number, path in enumerate(rows):
        files.append(File(number, path, columns[path], rows[path], sum(file.rows for file in files)))
    origin = source_of(raw, [*rows])
    notes = tuple(notes_on_responses(parts))
    return Source(_name(raw), tuple(files), card_of(files[0].path), origin, notes)


def _name(raw: str) -> str:
    """The folder above a run's RAW_DATA, a file without its ending, the repository without its owner."""
    path = Path(raw)
    path = path.resolve() if path.exists() else path
    name = path.parent.name if path.name == "RAW_DATA" else path.name.removesuffix(".parquet")
    return name.removeprefix("RAW_DATA-") or "raw"


def block_keys(file: File) -> Iterator[str]:
    """The names of a file's blocks, in order."""
    return (_key(file, first) for first in range(0, file.rows, BLOCK_ROWS))


def keys_of_rows(file: File, first: int, count: int) -> list[str]:
    """The blocks that hold these rows."""
    return [_key(file, start) for start in range(first - first % BLOCK_ROWS, first + count, BLOCK_ROWS)]


def _key(file: File, first: int) -> str:
    return f"{file.number:05d}-{first:09d}"


def read_blocks(source: Source, wanted: Callable[[str], bool]) -> Iterator[Block]:
    """The blocks whose key is wanted, in order, read as they are asked for."""
    for file in source.files:
        for start, rows in _aligned(read_samples(file)):
            for first in range(start, start + rows.num_rows, BLOCK_ROWS):
                if wanted(_key(file, first)):
                    yield _block(file, first, rows.slice(first - start, BLOCK_ROWS))


def _block(file: File, first: int, rows: pa.Table) -> Block:
    samples = tuple(
        Sample(
            row=first + offset,
            question_key=row["question_key"],
            question=row["question"],
            response=row["response"],
            is_correct=row["outcome"] == "right",
            variant=row["variant"] or "",
            place=f"row {file.before + first + offset}" if row["index"] is None else str(row["index"]),
            there=row["there"],
            used=tuple(name for name in row["used"] if name is not None),
        )
        for offset, row in enumerate(rows.to_pylist())
        if row["outcome"] != "unknown"
    )
    text = f"rows {first:,} to {first + rows.num_rows - 1:,} of {file.path.name}"
    return Block(_key(file, first), text, first, rows.num_rows, samples)


def _aligned(tables: Iterator[pa.Table]) -> Iterator[tuple[int, pa.Table]]:
    """The rows again, in tables of whole blocks save the last, each with the place of its first row."""
    first, held = 0, None
    for more in tables:
        table = more if held is None else pa.concat_tables([held, more])
        whole = table.num_rows - table.num_rows % BLOCK_ROWS
        if whole:
            yield first, table.slice(0, whole)
        first, held = first + whole, table.slice(whole)
    if held is not None and held.num_rows:
        yield first, held


def read_samples(file: File) -> Iterator[pa.Table]:
    """The columns that a reflection depends on; texts of earlier reflections are not among them."""
    names = {*file.columns.values(), _INDEX, PROVENANCE}
    row = 0
    with reading(file.path, lambda: row), pq.ParquetFile(file.path) as opened:
        present = [name for name in opened.schema_arrow.names if name in names]
        for batch in opened.iter_batches(_BATCH_ROWS, columns=present):
            rows = as_rows(batch, file.columns, file.path, row)
            yield pa.table(
                {
                    **{name: rows[name] for name in ("question_key", "question", "response", "variant", "outcome")},
                    "index": _index(batch, stated="question_key" in batch.schema.names),
                    "there": _there(batch),
                    "used": _used(batch),
                }
            )
            row += batch.num_rows


def _index(batch: pa.RecordBatch, *, stated: bool) -> pa.Array:
    """Which sample of its question and variant each row is, where rows name questions and say so."""
    if stated and _INDEX in batch.schema.names and pa.types.is_integer(batch.schema.field(_INDEX).type):
        return batch.column(_INDEX).cast(pa.int64())
    return pa.nulls(batch.num_rows, pa.int64())


def _there(batch: pa.RecordBatch) -> pa.Array:
    if REFLECTIONS not in batch.schema.names:
        return pa.array([0] * batch.num_rows, pa.int64())
    return pa.array(lengths(as_lists(batch.column(REFLECTIONS))))


def _used(batch: pa.RecordBatch) -> pa.Array:
    kind = pa.list_(pa.string())
    if PROVENANCE not in batch.schema.names:
        return pa.array([[]] * batch.num_rows, kind)
    lists = batch.column(PROVENANCE)
    counts = lengths(lists)
    offsets = pa.array([0, *counts.cumsum()], pa.int32())
    return pa.ListArray.from_arrays(offsets, pc.struct_field(lists.flatten(), "prompt_name"))
