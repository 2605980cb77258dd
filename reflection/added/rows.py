"""Rows of any RAW_DATA with reflections added: every other column as it was, types included.

What is added: texts to the list of reflections, an entry each to `reflections__provenance`, and who wrote
them to `reflections__added`. A column that was not there comes last.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cluster.inference.engine import Sampling
from generation.raw.arrow_lists import as_lists, is_list, joined, lengths, owners
from generation.raw.schema import PROVENANCE, REFLECTIONS, SCHEMA, Column
from reflection.added.work import MADE
from reflection.verdict import parse_verdicts

ADDED = "reflections__added"
_WHO = ("model", "model_revision", "engine", "engine_version")
ADDITION = pa.struct(
    [
        ("first", pa.int32()),
        ("count", pa.int32()),
        *((name, pa.string()) for name in _WHO),
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


def output_schema(schema: pa.Schema, path: Path) -> pa.Schema:
    """The file's schema with our columns. Raises ValueError where a column of such a name is another's."""
    changed: dict[str, pa.DataType] = {}
    for column in COLUMNS:
        place = schema.get_field_index(column.name)
        if place < 0:
            changed[column.name] = column.type
            schema = schema.append(pa.field(column.name, column.type))
        elif column.name == REFLECTIONS:
            kind = schema.field(place).type
            if not _holds_texts(kind):
                changed[column.name] = column.type
                schema = schema.set(place, schema.field(place).with_type(column.type))
        elif not _alike(schema.field(place).type, column.type):
            raise ValueError(f"{path}: column {column.name!r} is not as written here; expected {column.type}")
    return schema.with_metadata(_metadata(schema.metadata, changed))


def _holds_texts(kind: pa.DataType) -> bool:
    growing = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return bool(growing and (pa.types.is_string(kind.value_type) or pa.types.is_large_string(kind.value_type)))


def _alike(one: pa.DataType, other: pa.DataType) -> bool:
    """Lists of the same items, whatever parquet calls an item."""
    return is_list(one) and bool(one.value_type.equals(other.value_type))


def _metadata(metadata: dict[bytes, bytes] | None, changed: dict[str, pa.DataType]) -> dict[bytes, bytes] | None:
    """With our columns among those of which the `datasets` library wrote down what it takes them for."""
    if not metadata or _HUB not in metadata or not changed:
        return metadata
    told = json.loads(metadata[_HUB])
    features = told.get("info", {}).get("features")
    if features is not None:
        features |= {name: _feature(type_) for name, type_ in changed.items()}
    return metadata | {_HUB: json.dumps(told).encode()}


def _feature(type_: pa.DataType) -> Any:
    if pa.types.is_list(type_):
        return [_feature(type_.value_type)]
    if pa.types.is_struct(type_):
        return {field.name: _feature(field.type) for field in type_}
    return {"dtype": str(type_).replace("double", "float64"), "_type": "Value"}


def add(batch: pa.RecordBatch, right: pa.Array, made: pa.Table, schema: pa.Schema, sampling: Sampling) -> pa.Table:
    """The batch as rows of `schema`, with what was `made` for each of its rows.

    `right` tells whether each sample is, null where that is not known.
    """
    new = {name: made[name].combine_chunks() for name in MADE.names}
    count = batch.num_rows
    assert made.num_rows == count
    there = as_lists(batch.column(REFLECTIONS)) if REFLECTIONS in batch.schema.names else _none(count, pa.string())
    known = batch.column(PROVENANCE) if PROVENANCE in batch.schema.names else _unknown_origin(there, right)
    earlier = batch.column(ADDED) if ADDED in batch.schema.names else _none(count, ADDITION)
    ours = {
        REFLECTIONS: joined(there, new[REFLECTIONS], schema.field(REFLECTIONS).type),
        PROVENANCE: joined(known, new[PROVENANCE], schema.field(PROVENANCE).type),
        ADDED: joined(earlier, _additions(there, new, sampling), schema.field(ADDED).type),
    }
    arrays = [ours[name] if name in ours else batch.column(name) for name in schema.names]
    return pa.Table.from_arrays(arrays, schema=schema)


def _none(count: int, type_: pa.DataType) -> pa.Array:
    """So many lists without items."""
    return pa.ListArray.from_arrays(pa.array([0] * (count + 1), pa.int32()), pa.array([], type_))


def _unknown_origin(there: pa.Array, right: pa.Array) -> pa.Array:
    """An entry for each reflection that is there, with what its text tells."""
    texts = there.flatten().cast(pa.string())
    verdicts = parse_verdicts(pc.fill_null(texts, ""))
    truth = np.array([-2 if one is None else int(one) for one in right.to_pylist()])
    fields = dict.fromkeys(SCHEMA.field(PROVENANCE).type.value_type.names)
    kind = SCHEMA.field(PROVENANCE).type.value_type
    words = pa.array(["Incorrect", "Correct", None], pa.string())
    arrays = {name: pa.nulls(len(texts), kind.field(name).type) for name in fields}
    arrays["verdict"] = words.take(pa.array(np.where(verdicts < 0, 2, verdicts)))
    arrays["valid"] = pa.array(verdicts == truth[owners(there)])
    entries = pa.StructArray.from_arrays(list(arrays.values()), fields=list(kind))
    offsets = np.concatenate(([0], np.cumsum(lengths(there))))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), entries)


def _additions(there: pa.Array, new: dict[str, pa.Array], sampling: Sampling) -> pa.Array:
    """One entry for each row that gets any."""
    counts = lengths(new[REFLECTIONS])
    some = pa.array(counts > 0)
    size = int((counts > 0).sum())
    drawn = pa.array([asdict(sampling)] * size, ADDITION.field("sampling").type)
    columns = [pa.array(lengths(there), pa.int32()).filter(some), pa.array(counts, pa.int32()).filter(some)]
    columns += [new[name].filter(some) for name in _WHO]
    entries = pa.StructArray.from_arrays([*columns, drawn], fields=list(ADDITION))
    offsets = np.concatenate(([0], np.cumsum(counts > 0)))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), entries)
