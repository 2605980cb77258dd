"""The explicit, versioned schema that RAW_DATA is written in, one row per sample; and helpers for Arrow lists.

The column names are those of the first of the two published families.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cluster.inference.engine import Completion, EngineInfo, Sampling
from cluster.jobs.card import Table
from cluster.texts import load_table
from generation.records import Attempt, InnerAttempt, Reflection

_TABLE = load_table("generation.raw", "columns.toml")
SCHEMA_VERSION: int = _TABLE["version"]
RAW_DATA = "RAW_DATA"  # its folder in a run directory, and the prefix of its repositories' names
PREFIX = "model_responses__mutated_prompts"
_RIGHT = f"{PREFIX}__eval_is_correct"
_EXTRACTED = f"{PREFIX}__eval_extracted_answers"
_CUT = f"{PREFIX}__finish_reason_length_flags"
REFLECTIONS = f"{PREFIX}_reflection"
THOUGHT, REFLECTIONS_THOUGHT = "sample__thought", "reflections__thought"
FOUND = "answer_found"
PARENT, SEEN_COLUMN = "parent", "parent__seen"  # null but for retries
ATTEMPTS = "sample__attempts"
_INNER = f"{PREFIX}__internal_answers"  # published for evaluations
SAMPLE_PROVENANCE = "sample__provenance"
PROVENANCE = "reflections__provenance"  # the column with an entry per reflection, in the same order
WRITER = ("model", "model_revision", "engine", "engine_version")
"""The columns that say what generated a row, named like the fields of EngineInfo."""


class Column(NamedTuple):
    """A column of a dataset, with its description for the card."""

    name: str
    type: pa.DataType
    meaning: str


_TEXT, _FLAG, _COUNT, _REAL = pa.string(), pa.bool_(), pa.int64(), pa.float64()
_TOKENS = dict.fromkeys(("prompt_tokens", "output_tokens", "cached_tokens", "thought_tokens"), _COUNT)
_REQUEST = {"seed": pa.int64(), "finish_reason": _TEXT, **_TOKENS, "error": _TEXT}
_REFLECTION = {"prompt_name": _TEXT, "verdict": _TEXT, "valid": _FLAG, **_REQUEST}
REQUESTS = {SAMPLE_PROVENANCE: pa.struct(_REQUEST), PROVENANCE: pa.struct(_REFLECTION)}
"""The columns that record how requests were made and ended, with the type of an entry."""
_INNER_REFLECTION = pa.struct({"text": _TEXT, "verdict": _TEXT, "valid": _FLAG})
ATTEMPT = pa.struct(
    {"text": _TEXT, "extracted": _TEXT, **dict.fromkeys(("outcome", "reason", "found"), _TEXT)}
    | {"is_correct": _FLAG, "reflections": pa.list_(_INNER_REFLECTION), "final": _FLAG}
)
"""An entry of column sample__attempts."""
SEEN = pa.struct(
    {
        **dict.fromkeys(("sample", "answer", "reflection", "outcome"), _TEXT),
        **dict.fromkeys(("cut", "mentions_hint"), _FLAG),
    }
)
"""The type of column parent__seen."""
_SAMPLING = {"temperature": _REAL, "top_p": _REAL, "top_k": _COUNT, "repetition_penalty": _REAL, "max_tokens": _COUNT}
_SAMPLING["more"] = _TEXT  # JSON
_TYPES = {
    "text": _TEXT,
    "texts": pa.list_(_TEXT),
    "flag": _FLAG,
    "flags": pa.list_(_FLAG),
    "nested texts": pa.list_(pa.list_(_TEXT)),
    "nested flags": pa.list_(pa.list_(_FLAG)),
    "attempts": pa.list_(ATTEMPT),
    "seen": SEEN,
    "place": pa.int32(),
    "messages": pa.list_(pa.struct({"content": _TEXT, "role": _TEXT})),
    "sampling": pa.struct(_SAMPLING),
    "request": REQUESTS[SAMPLE_PROVENANCE],
    "reflections": pa.list_(REQUESTS[PROVENANCE]),
}
COLUMNS = tuple(Column(name, _TYPES[kind], meaning) for name, (kind, meaning) in _TABLE["columns"].items())
SCHEMA = pa.schema([(column.name, column.type) for column in COLUMNS])

_SURROGATE = re.compile("[\ud800-\udfff]")
_HUB = b"huggingface"  # the metadata in which the `datasets` library stores its own type of each column


class Rolled(NamedTuple):
    """The result of one item, as it leaves the engine: its rows, in the schema of shards."""

    table: pa.Table
    output_tokens: int


def to_table(attempts: Sequence[Attempt], engine: EngineInfo, sampling: Sampling, task_config: str) -> pa.Table:
    """Return the attempts as rows of RAW_DATA, in the given order; `task_config` is JSON."""
    run = {
        "task_config": task_config,
        **{name: getattr(engine, name) for name in WRITER},
        "sampling": sampling_record(sampling),
        "schema_version": SCHEMA_VERSION,
    }
    return pa.Table.from_pylist([without_surrogates(_row(attempt) | run) for attempt in attempts], schema=SCHEMA)


def sampling_record(sampling: Sampling) -> dict[str, Any]:
    """Return the value of column sampling."""
    return asdict(sampling) | {"more": json.dumps(dict(sampling.more), sort_keys=True)}


def _row(attempt: Attempt) -> dict[str, Any]:
    question, completion, grade = attempt.question, attempt.completion, attempt.grade
    metadata = {"answer_type": question.answer_type, **question.grading}
    return {
        "question": question.text,
        "answer": question.answer,
        "prompt_variant": attempt.variant,
        PREFIX: [completion.text],
        _RIGHT: [grade.is_correct],
        _EXTRACTED: [grade.extracted],
        _CUT: [completion.finish_reason == "length"],
        f"{_INNER}__eval_is_correct": [[one.grade.is_correct for one in attempt.inner]],
        f"{_INNER}__eval_extracted_answers": [[one.grade.extracted for one in attempt.inner]],
        THOUGHT: completion.thought,
        ATTEMPTS: [attempt_entry(one) for one in attempt.inner] or None,
        REFLECTIONS: [reflection.completion.text for reflection in attempt.reflections],
        REFLECTIONS_THOUGHT: [reflection.completion.thought for reflection in attempt.reflections],
        "question_key": question.key,
        "question_index": question.place,
        "sample_index": attempt.index,
        PARENT: attempt.parent and attempt.parent.name,
        SEEN_COLUMN: attempt.parent and {field.name: getattr(attempt.parent, field.name) for field in SEEN},
        "outcome": grade.outcome,
        "outcome_reason": grade.reason,
        FOUND: grade.found,
        "mentions_hint": attempt.mentions_hint,
        "prompt": list(attempt.messages),
        "task": question.task,
        "task_source": question.source,
        "metadata": json.dumps(metadata, sort_keys=True),
        SAMPLE_PROVENANCE: request_record(completion, attempt.seed),
        PROVENANCE: [provenance_of(reflection) for reflection in attempt.reflections],
    }


def request_record(completion: Completion, seed: int) -> dict[str, Any]:
    return {"seed": seed, **{name: getattr(completion, name) for name in _REQUEST if name != "seed"}}


def attempt_entry(one: InnerAttempt) -> dict[str, Any]:
    """Return the attempt's entry in column sample__attempts."""
    grade = one.grade
    told = {name: getattr(grade, name) for name in ("extracted", "outcome", "reason", "found", "is_correct")}
    said = [{"text": it.text, "verdict": _verdict(it.verdict), "valid": one.is_valid(it)} for it in one.reflections]
    return {"text": one.text, **told, "reflections": said, "final": one.is_final}


def _verdict(verdict: bool | None) -> str | None:
    return None if verdict is None else ("Correct" if verdict else "Incorrect")


def provenance_of(reflection: Reflection) -> dict[str, Any]:
    """Return the reflection's entry in column reflections__provenance."""
    verdict = _verdict(reflection.verdict)
    told = {"prompt_name": reflection.prompt_name, "verdict": verdict, "valid": reflection.valid}
    return told | request_record(reflection.completion, reflection.seed)


def without_surrogates(value: Any) -> Any:
    """Replace lone surrogates, which UTF-8 cannot encode, with U+FFFD in all strings of a nested value."""
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {key: without_surrogates(item) for key, item in value.items()}
    return value


def with_features(schema: pa.Schema, changed: Mapping[str, pa.DataType]) -> pa.Schema:
    """Return the schema with these columns' types in what the `datasets` library stored about it, if it did."""
    metadata = schema.metadata
    if changed and _HUB in (metadata or {}):
        stored = json.loads(metadata[_HUB])
        if (features := stored.get("info", {}).get("features")) is not None:
            features |= {name: _feature(type_) for name, type_ in changed.items()}
        metadata |= {_HUB: json.dumps(stored).encode()}
    return schema.with_metadata(metadata)


def _feature(type_: pa.DataType) -> Any:
    if is_list(type_):
        return [_feature(type_.value_type)]
    if pa.types.is_struct(type_):
        return {field.name: _feature(field.type) for field in type_}
    return {"dtype": str(type_).replace("double", "float64"), "_type": "Value"}


def columns_table(columns: Iterable[Column]) -> str:
    """Return the card's table of columns, types and meanings."""
    return Table(("column", "type", "meaning"), list(columns)).markdown(2)


def is_list(type_: pa.DataType) -> bool:
    return bool(pa.types.is_list(type_) or pa.types.is_large_list(type_) or pa.types.is_fixed_size_list(type_))


def is_of(type_: pa.DataType, deep: int, wanted: str, *, fewer: bool = False) -> bool:
    """Return True for lists, `deep` within each other or, if allowed, `fewer`, of "text" or "bool", or for nulls."""
    for _ in range(deep):
        if pa.types.is_null(type_):
            return True
        if not is_list(type_) and not fewer:
            return False
        type_ = type_.value_type if is_list(type_) else type_
    type_ = type_.value_type if pa.types.is_dictionary(type_) else type_
    if pa.types.is_null(type_):
        return True
    if wanted == "bool":
        return bool(pa.types.is_boolean(type_))
    return any(test(type_) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


def lengths(lists: pa.Array) -> np.ndarray:
    """Return the length of each list, int64; 0 for null."""
    return np.asarray(pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False), dtype=np.int64)


def owners(lists: pa.Array) -> np.ndarray:
    """Return, for each item of `lists.flatten()`, the index of its list, int64."""
    return np.repeat(np.arange(len(lists)), lengths(lists))


def as_lists(column: pa.Array) -> pa.Array:
    """Return the column itself if it is of lists, else each value as a list of one, and null as null."""
    if is_list(column.type):
        return column
    return pa.ListArray.from_arrays(pa.array(range(len(column) + 1), pa.int32()), column, mask=column.is_null())


def is_part(there: pa.DataType, whole: pa.DataType) -> bool:
    """Return True if a type is ours, or a struct, at any depth, that only lacks some of its fields."""
    if not (pa.types.is_struct(there) and pa.types.is_struct(whole)):
        return bool(there.equals(whole))
    return all(whole.get_field_index(one.name) >= 0 and is_part(one.type, whole.field(one.name).type) for one in there)


def requests_in(batch: pa.RecordBatch, column: str) -> pa.Array | None:
    """Return the entries of a column of REQUESTS, a list for each row; None if it has none of ours."""
    if column not in batch.schema.names:
        return None
    found = as_lists(batch[column])
    return found if is_part(found.type.value_type, REQUESTS[column]) else None


def widened(values: pa.Array, type_: pa.DataType) -> pa.Array:
    """Return the values, of a type that `is_part` of this one, with its other fields null."""
    if values.type.equals(type_):
        return values
    fields = {one.name: pc.struct_field(values, one.name) for one in values.type}
    parts = [
        widened(fields[one.name], one.type) if one.name in fields else pa.nulls(len(values), one.type) for one in type_
    ]
    return pa.StructArray.from_arrays(parts, fields=list(type_), mask=values.is_null())


def first_items(lists: pa.Array) -> pa.Array:
    """Return item 0 of each list; null for an empty list and for null."""
    if (lengths(lists) == 1).all():
        return lists.flatten()  # avoids a copy
    return pc.list_element(pc.list_slice(lists, 0, 1, return_fixed_size_list=True), 0)


def lists_of(items: pa.Array, counts: np.ndarray, nulls: pa.Array | None = None) -> pa.Array:
    """Split the items into consecutive lists of these lengths, null where `nulls` is true."""
    return pa.ListArray.from_arrays(pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32()), items, mask=nulls)


def joined(lists: pa.Array, more: pa.Array) -> pa.Array:
    """Concatenate the lists row by row; null stays null where nothing is added."""
    order = np.argsort(np.concatenate([owners(lists), owners(more)]), kind="stable")
    items = pa.concat_arrays([lists.flatten(), more.flatten()]).take(pa.array(order))
    counts = lengths(lists) + lengths(more)
    return lists_of(items, counts, pc.and_(lists.is_null(), pa.array(counts == 0)))


def kept_items(lists: pa.Array, keep: np.ndarray) -> pa.Array:
    """Filter the items of the lists by `keep`, a bool per item of `lists.flatten()`; null lists become empty."""
    if keep.all() and not lists.null_count:
        return lists
    return lists_of(lists.flatten().filter(pa.array(keep)), np.bincount(owners(lists)[keep], minlength=len(lists)))


def is_blank(texts: pa.Array) -> pa.Array:
    """Return True for each text that is empty or only whitespace; null for null."""
    return pc.or_(pc.equal(texts, ""), pc.utf8_is_space(texts))
