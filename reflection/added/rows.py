"""What is asked about a block of rows, and the rows with reflections added: every other column as it was.

What is added: texts to the list of reflections, an entry each to `reflections__provenance`, and who wrote
them to `reflections__added`. A column that was not there comes last.
"""

import asyncio
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.errors import ItemFailedError
from cluster.inference.engine import Engine, EngineInfo, Request, Sampling
from cluster.jobs.store import ROW_GROUP_ROWS, WRITING, ShardStore
from generation.raw.files import reading
from generation.raw.reader import as_rows
from generation.raw.schema import (
    PROVENANCE,
    REFLECTIONS,
    SCHEMA,
    Column,
    Rolled,
    as_lists,
    is_list,
    provenance_of,
    without_surrogates,
)
from generation.records import Reflection, request_seed
from generation.rollout import reflect, together
from reflection import prompts
from reflection.added.source import Block, Sample, Source, block_keys
from reflection.verdict import parse_verdict

BLOCK, ROW = "block", "row"
WRITER = ("model", "model_revision", "engine", "engine_version")
MADE = pa.schema(
    [(BLOCK, pa.string()), (ROW, pa.int64()), *(SCHEMA.field(name) for name in (REFLECTIONS, PROVENANCE, *WRITER))]
)
"""What shards hold: for each row of a finished block the reflections that it gets, and who wrote them."""


@dataclass(frozen=True)
class Adding:
    """What an actor does with a block; sent to it once."""

    reflections: int
    """For each sample whose correctness is known."""
    sampling: Sampling
    seed: int

    async def __call__(self, engine: Engine, block: Block) -> Rolled:
        """Return rows of schema MADE. Raises ItemFailedError when no request succeeded, EngineDiedError."""
        found = await together(self._of_sample(engine, block, sample) for sample in block.samples)
        looks = [look for of_sample in found for look in of_sample]
        if looks and all(look.completion.finish_reason == "error" for look in looks):
            raise ItemFailedError(looks[0].completion.error)
        table = await asyncio.to_thread(_table, block, found, engine.info)
        return Rolled(table, sum(look.completion.output_tokens for look in looks))

    async def _of_sample(self, engine: Engine, block: Block, sample: Sample) -> list[Reflection]:
        asked = self.requests(block, sample)
        return await together(reflect(engine, request, name, sample.is_correct) for name, request in asked)

    def requests(self, block: Block, sample: Sample) -> list[tuple[str, Request]]:
        """Return a prompt's name and a request for each reflection.

        Seeds and prompts are others than those of reflections that the sample has already.
        """
        identity = ("addition", *sample.identity)
        rng = random.Random("/".join(map(str, (self.seed, *identity, sample.there))))
        names = prompts.draw(self.reflections, rng, sample.used)
        return [
            (
                name,
                Request(
                    f"{block.key}/{sample.row}/{number}",
                    prompts.messages(name, sample.question, sample.response),
                    self.sampling,
                    request_seed(self.seed, *identity, number),
                ),
            )
            for number, name in enumerate(names, sample.there)
        ]


def _table(block: Block, found: Sequence[Sequence[Reflection]], engine: EngineInfo) -> pa.Table:
    looks = {sample.row: of_sample for sample, of_sample in zip(block.samples, found, strict=True)}
    rows = [
        {
            BLOCK: block.key,
            ROW: row,
            REFLECTIONS: [look.completion.text for look in looks.get(row, ())],
            PROVENANCE: [provenance_of(look) for look in looks.get(row, ())],
            **{name: getattr(engine, name) for name in WRITER},
        }
        for row in range(block.first, block.first + block.size)
    ]
    return pa.Table.from_pylist([without_surrogates(row) for row in rows], schema=MADE)


ADDED = "reflections__added"
ADDITION = pa.struct(
    [
        ("first", pa.int32()),
        ("count", pa.int32()),
        *((name, pa.string()) for name in WRITER),
        ("sampling", SCHEMA.field("sampling").type),
    ]
)
COLUMNS = (
    Column(REFLECTIONS, SCHEMA.field(REFLECTIONS).type, "reflections on this sample, those added last"),
    Column(
        PROVENANCE,
        SCHEMA.field(PROVENANCE).type,
        "one for each reflection: prompt, verdict (`Correct`, `Incorrect`, null), its truth, request; of "
        "reflections whose origin nobody wrote down only verdict and truth",
    ),
    Column(
        ADDED,
        pa.list_(ADDITION),
        "one for each time that reflections were added: place of the first, how many, who wrote them and how",
    ),
)
_HUB = b"huggingface"
_VERDICTS = {True: "Correct", False: "Incorrect", None: None}


def output_schema(schema: pa.Schema, path: Path) -> pa.Schema:
    """Return the file's schema with our columns. Raises ValueError where a column of such a name is another's."""
    changed: dict[str, Any] = {}
    for name, type_, _ in COLUMNS:
        there = schema.field(name).type if name in schema.names else None
        if there is None:
            schema = schema.append(pa.field(name, type_))
        elif name != REFLECTIONS:
            # Whatever parquet calls an item of the list.
            if not (is_list(there) and there.value_type.equals(type_.value_type)):
                raise ValueError(f"{path}: column {name!r} is not as written here; expected {type_}")
            continue
        elif _holds_texts(there):
            continue
        else:
            place = schema.get_field_index(name)
            schema = schema.set(place, schema.field(place).with_type(type_))
        changed[name] = _feature(type_)
    metadata = schema.metadata
    if changed and _HUB in (metadata or {}):
        # The `datasets` library wrote down what it takes each column for.
        told = json.loads(metadata[_HUB])
        if (features := told.get("info", {}).get("features")) is not None:
            features |= changed
        metadata |= {_HUB: json.dumps(told).encode()}
    return schema.with_metadata(metadata)


def _holds_texts(type_: pa.DataType) -> bool:
    growing = pa.types.is_list(type_) or pa.types.is_large_list(type_)
    return bool(growing and (pa.types.is_string(type_.value_type) or pa.types.is_large_string(type_.value_type)))


def _feature(type_: pa.DataType) -> Any:
    if pa.types.is_list(type_):
        return [_feature(type_.value_type)]
    if pa.types.is_struct(type_):
        return {field.name: _feature(field.type) for field in type_}
    return {"dtype": str(type_).replace("double", "float64"), "_type": "Value"}


def write_files(source: Source, store: ShardStore, data: Path, sampling: Sampling) -> None:
    """Write a file `train-*.parquet` for each file given, with the same rows in the same order.

    Memory holds a row group. Raises TornShardError where a shard cannot be read, ValueError where a file given cannot.
    """
    data.mkdir()
    drawn = asdict(sampling)
    for file in source.files:
        row = 0
        path = data / f"train-{file.number:05d}-of-{len(source.files):05d}.parquet"
        with reading(file.path):
            schema = output_schema(pq.read_schema(file.path), file.path)
        with pq.ParquetWriter(path, schema, **WRITING) as writer, pq.ParquetFile(file.path) as opened:
            for batch in opened.iter_batches(ROW_GROUP_ROWS):
                right = as_rows(batch, file.columns, file.path, row)["is_correct"].to_pylist()
                keys = [key for key in block_keys(file, row, batch.num_rows) if key in store.finished()]
                made = {one[ROW]: one | {"sampling": drawn} for one in store.read(keys).to_pylist()}
                more = [made.get(place, {}) for place in range(row, row + batch.num_rows)]
                ours = _with_more(batch, right, more)
                arrays = [
                    pa.array(ours[field.name], field.type) if field.name in ours else batch[field.name]
                    for field in schema
                ]
                writer.write_table(pa.Table.from_arrays(arrays, schema=schema), row_group_size=batch.num_rows)
                row += batch.num_rows
        assert row == file.rows, "a row was lost"


def _with_more(
    batch: pa.RecordBatch, right: Sequence[bool | None], more: Sequence[Mapping[str, Any]]
) -> dict[str, list[list[Any] | None]]:
    """Return the values of our columns; a list that is null stays so where nothing is added to it."""
    ours: dict[str, list[list[Any] | None]] = {
        name: as_lists(batch[name]).to_pylist() if name in batch.schema.names else [[] for _ in right]
        for name, *_ in COLUMNS
    }
    if PROVENANCE not in batch.schema.names:
        ours[PROVENANCE] = [
            [_unknown_origin(text, known) for text in texts or ()]
            for texts, known in zip(ours[REFLECTIONS], right, strict=True)
        ]
    for row, made in enumerate(more):
        if texts := made.get(REFLECTIONS):
            addition = {"first": len(ours[REFLECTIONS][row] or ()), "count": len(texts)}
            addition |= {name: made[name] for name in (*WRITER, "sampling")}
            for name, items in ((REFLECTIONS, texts), (PROVENANCE, made[PROVENANCE]), (ADDED, [addition])):
                ours[name][row] = [*(ours[name][row] or ()), *items]
    return ours


def _unknown_origin(text: str | None, right: bool | None) -> dict[str, Any]:
    """Return what the text of a reflection tells of it."""
    verdict = parse_verdict(text or "")
    return {"verdict": _VERDICTS[verdict], "valid": verdict is not None and verdict == right}
