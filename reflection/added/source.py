"""The RAW_DATA that reflections are added to: its columns, and its rows in blocks, in their order."""

import itertools
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cluster.jobs.store import differing_columns
from generation.raw.files import Part, RawSource, reading, source_of
from generation.raw.reader import check_once, open_parts, read_batches
from generation.raw.schema import (
    PROVENANCE,
    REFLECTIONS,
    REFLECTIONS_THOUGHT,
    SCHEMA,
    WRITER,
    Column,
    as_lists,
    is_list,
    is_part,
    lengths,
    with_features,
)

ADDED = "reflections__added"
_WRITERS = dict.fromkeys(WRITER, pa.string())
ADDITION = pa.struct({"first": pa.int32(), "count": pa.int32(), **_WRITERS, "sampling": SCHEMA.field("sampling").type})
_UNKNOWN = "reflections whose origin nobody wrote down only verdict and truth"
_ORIGINS = f"one for each reflection: prompt, verdict (`Correct`, `Incorrect`, null), its truth, request; of {_UNKNOWN}"
_THOUGHTS = "one for each reflection: what the model thought before it, or null"
_ADDED = "one for each time that reflections were added: place of the first, how many, who wrote them and how"
COLUMNS = (
    Column(REFLECTIONS, SCHEMA.field(REFLECTIONS).type, "reflections on this sample, those added last"),
    Column(REFLECTIONS_THOUGHT, SCHEMA.field(REFLECTIONS_THOUGHT).type, _THOUGHTS),
    Column(PROVENANCE, SCHEMA.field(PROVENANCE).type, _ORIGINS),
    Column(ADDED, pa.list_(ADDITION), _ADDED),
)
BLOCK_ROWS = 16
_INDEX = "sample_index"
_ASKED = ["question_key", "question", "response", "variant", "outcome", "parent"]


class Sample(NamedTuple):
    """A graded sample, and what its reflections must differ from."""

    row: int  # its index in the file
    identity: tuple[str, str, str]
    """Question key, variant, and sample index or, without one, row of all files; of a retry, what it follows."""
    question: str
    response: str
    is_correct: bool
    there: int  # number of reflections that it has already
    used: tuple[str, ...]  # their prompts, if known


class Block(NamedTuple):
    """The unit of work: consecutive rows of a file, of any questions, as a reflection depends on no other row."""

    key: str
    text: str  # its rows and file, for the user
    first: int  # index of its first row in the file
    size: int
    samples: tuple[Sample, ...]  # its rows whose correctness is known
    task: str = ""  # empty: a block may hold rows of several


class Source(NamedTuple):
    """A RAW_DATA to add to, and how much there is to do."""

    name: str  # for the names of datasets made from it
    files: tuple[Part, ...]  # whole files
    origin: RawSource
    rows: int
    graded: int  # samples known to be right or wrong, which get reflections
    reflections: int  # existing ones
    longest: int  # bytes of the longest question and sample that get reflections


def open_source(raw: str) -> Source:
    """Read every row of a RAW_DATA once. Raises ValueError if it cannot be read or extended, or has no graded row."""
    files = open_parts(raw, part_bytes=sys.maxsize)  # one part for each file
    origin = source_of(raw, files)
    first: pa.Schema | None = None
    for file in files:
        with reading(file.path):
            schema = pq.read_schema(file.path)
        for name in schema.names:
            check_once(name, schema, file.path)
        output_schema(schema, file.path)
        first = first or schema
        if names := differing_columns(schema, first):
            raise ValueError(f"{file.path}: other columns than {files[0].path.name}: {', '.join(names)}")
    graded = reflections = longest = 0
    for rows in itertools.chain.from_iterable(map(read_samples, files)):
        reflections += pc.sum(rows["there"]).as_py() or 0
        asked = rows.filter(pc.not_equal(rows["outcome"], "unknown"))
        graded += asked.num_rows
        sizes = pc.add(pc.binary_length(asked["question"]), pc.binary_length(asked["response"]))
        longest = max(longest, pc.max(sizes).as_py() or 0)
    if not graded:
        raise ValueError(f"{raw}: no sample is known to be right or wrong, so none gets a reflection")
    path = Path(raw).resolve() if Path(raw).exists() else Path(raw)
    # the folder above a run's RAW_DATA, the file without its extension, or the repository without its owner
    name = path.parent.name if path.name == "RAW_DATA" else path.name.removesuffix(".parquet")
    name, total = name.removeprefix("RAW_DATA-") or "raw", sum(file.rows for file in files)
    return Source(name, files, origin, total, graded, reflections, longest)


def block_keys(file: int, first: int, end: int) -> list[str]:
    """Return the keys of the blocks that hold rows `first` to `end`, exclusive, of the file with this number."""
    return [f"{file:05d}-{start:09d}" for start in range(first - first % BLOCK_ROWS, end, BLOCK_ROWS)]


def read_blocks(source: Source, keys: Collection[str] | None = None) -> Iterator[Block]:
    """Yield the blocks with these keys, or all, in order, reading lazily."""
    before = 0
    for file, part in enumerate(source.files):
        rows = (row for table in read_samples(part) for row in table.to_pylist())
        for number, key in enumerate(block_keys(file, 0, part.rows)):
            held, first = [*itertools.islice(rows, BLOCK_ROWS)], number * BLOCK_ROWS
            if keys is None or key in keys:
                text = f"rows {first:,} to {first + len(held) - 1:,} of {part.path.name}"
                graded = [(place, row) for place, row in enumerate(held, first) if row["outcome"] != "unknown"]
                samples = tuple(_sample(place, row, f"row {before + place}") for place, row in graded)
                yield Block(key, text, first, len(held), samples)
        before += part.rows


def _sample(place: int, row: Mapping[str, Any], name: str) -> Sample:
    index = name if row["index"] is None else str(row["index"])
    return Sample(
        row=place,
        identity=(row["question_key"], row["variant"] or "", row["parent"] or index),
        question=row["question"],
        response=row["response"],
        is_correct=row["outcome"] == "right",
        there=row["there"],
        used=tuple(entry["prompt_name"] for entry in row["known"] or () if entry and entry["prompt_name"] is not None),
    )


def read_samples(file: Part) -> Iterator[pa.Table]:
    """Yield the columns that a reflection depends on, with the number of earlier ones instead of their texts."""
    for batch, rows in read_batches(file, [_INDEX, PROVENANCE]):
        names, nothing = batch.schema.names, pa.nulls(batch.num_rows, pa.int64())
        indexed = {"question_key", _INDEX} <= set(names) and pa.types.is_integer(batch[_INDEX].type)
        more = {
            "index": batch[_INDEX].cast(pa.int64()) if indexed else nothing,
            "there": lengths(as_lists(batch[REFLECTIONS])) if REFLECTIONS in names else nothing.fill_null(0),
            "known": batch[PROVENANCE] if PROVENANCE in names else nothing,
        }
        yield pa.table({**{name: rows[name] for name in _ASKED}, **more})


def output_schema(schema: pa.Schema, path: Path) -> pa.Schema:
    """Return the file's schema with our columns. Raises ValueError if one of our names has another type."""
    changed: dict[str, pa.DataType] = {}
    texts = [make(text) for make in (pa.list_, pa.large_list) for text in (pa.string(), pa.large_string())]
    for name, type_, _ in COLUMNS:
        place = schema.get_field_index(name)
        there = schema.field(place).type if place >= 0 else None
        if there is None:
            schema = schema.append(pa.field(name, type_))
        elif name == REFLECTIONS and there not in texts:
            schema = schema.set(place, schema.field(place).with_type(type_))
        elif name != REFLECTIONS and not (is_list(there) and is_part(there.value_type, type_.value_type)):
            raise ValueError(f"{path}: column {name!r} is not as written here; expected {type_}")
        elif name != REFLECTIONS and not there.value_type.equals(type_.value_type):
            schema = schema.set(place, schema.field(place).with_type(type_))  # of an earlier version
        else:
            continue
        changed[name] = type_
    return with_features(schema, changed)
