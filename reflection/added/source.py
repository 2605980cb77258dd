"""The RAW_DATA that reflections are added to: its files, and its rows in blocks, in the order they lie in.

A block is a run of neighbouring rows of one file. Nothing about a reflection depends on other rows, so the
rows of a question need not lie together; where they do, an engine meets them together too.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from generation.raw.files import Columns, RawSource, reading, source_of
from generation.raw.reader import as_rows, open_parts
from generation.raw.schema import PROVENANCE, REFLECTIONS, as_lists, lengths

BLOCK_ROWS = 16
_BATCH_ROWS = 4096
_INDEX = "sample_index"
_ASKED = ["question_key", "question", "response", "variant", "outcome"]


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
    identity: tuple[str, str, str]
    """Question key, variant, and which of their samples: its index, where there is none its place among all rows."""
    question: str
    response: str
    is_correct: bool
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
    task: str = ""
    """Not one: a block may hold rows of several."""


class Source(NamedTuple):
    """A RAW_DATA that is there."""

    name: str
    """As datasets are called after it."""
    files: tuple[File, ...]
    origin: RawSource

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self.files)


def open_source(raw: str) -> Source:
    """Open the files of a RAW_DATA folder, file or hub repository. Raises ValueError if they are none."""
    parts = open_parts(raw, part_bytes=sys.maxsize)  # one for each file
    files: list[File] = []
    for number, part in enumerate(parts):
        files.append(File(number, part.path, part.columns, part.rows, sum(file.rows for file in files)))
    path = Path(raw).resolve() if Path(raw).exists() else Path(raw)
    # the folder above a run's RAW_DATA, a file without its ending, the repository without its owner
    name = path.parent.name if path.name == "RAW_DATA" else path.name.removesuffix(".parquet")
    return Source(name.removeprefix("RAW_DATA-") or "raw", tuple(files), source_of(raw, parts))


def block_keys(file: File, first: int = 0, count: int | None = None) -> list[str]:
    """Return the keys of the blocks that hold these rows of the file, or all of them, in order."""
    end = file.rows if count is None else first + count
    return [f"{file.number:05d}-{start:09d}" for start in range(first - first % BLOCK_ROWS, end, BLOCK_ROWS)]


def read_blocks(source: Source, wanted: Callable[[str], bool]) -> Iterator[Block]:
    """Yield the blocks whose key is wanted, in order, read as they are asked for."""
    for file in source.files:
        rows = (row for table in read_samples(file) for row in table.to_pylist())
        for number, key in enumerate(block_keys(file)):
            held = [*islice(rows, BLOCK_ROWS)]
            if wanted(key):
                first = number * BLOCK_ROWS
                text = f"rows {first:,} to {first + len(held) - 1:,} of {file.path.name}"
                graded = (one for one in enumerate(held, first) if one[1]["outcome"] != "unknown")
                yield Block(key, text, first, len(held), tuple(_sample(file, *one) for one in graded))


def _sample(file: File, place: int, row: Mapping[str, Any]) -> Sample:
    which = f"row {file.before + place}" if row["index"] is None else str(row["index"])
    return Sample(
        row=place,
        identity=(row["question_key"], row["variant"] or "", which),
        question=row["question"],
        response=row["response"],
        is_correct=row["outcome"] == "right",
        there=row["there"],
        used=tuple(entry["prompt_name"] for entry in row["known"] or () if entry and entry["prompt_name"] is not None),
    )


def read_samples(file: File) -> Iterator[pa.Table]:
    """Yield the columns that a reflection depends on; texts of earlier reflections are not among them."""
    row = 0
    with reading(file.path, lambda: row), pq.ParquetFile(file.path) as opened:
        wanted = {*file.columns.values(), _INDEX, PROVENANCE}
        schema = pa.schema([field for field in opened.schema_arrow if field.name in wanted])
        indexed = {"question_key", _INDEX} <= set(schema.names) and pa.types.is_integer(schema.field(_INDEX).type)
        for batch in opened.iter_batches(_BATCH_ROWS, columns=schema.names):
            nothing, no_lists = pa.nulls(batch.num_rows, pa.int64()), pa.array([0] * batch.num_rows)
            rows = as_rows(batch, file.columns, file.path, row)
            yield pa.table(
                {
                    **{name: rows[name] for name in _ASKED},
                    "index": batch[_INDEX].cast(pa.int64()) if indexed else nothing,
                    "there": lengths(as_lists(batch[REFLECTIONS])) if REFLECTIONS in schema.names else no_lists,
                    "known": batch[PROVENANCE] if PROVENANCE in schema.names else nothing,
                }
            )
            row += batch.num_rows
