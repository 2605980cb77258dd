"""RAW_DATA, read: a folder, a single file or a hub repository, ours or a published one.

Both published families of column names are understood, as lists or as plain values; what comes out is one table for
all of them. Files are read part by part and only the columns needed; nothing here knows what the rows are for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, get_args

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from generation.grading.answer_tag import find_answer
from generation.raw.arrow_lists import as_lists, first_items, is_blank, is_list, kept_items
from generation.raw.files import Columns, Part, find_files, reading
from generation.raw.schema import PREFIX, REFLECTIONS
from generation.records import NO_ANSWER, Outcome, stable_hash

UNDECIDED = "undecided"
"""Reason of a row whose correctness is null in a repository that gives no reason."""

_NAMED_COLUMNS = 8
"""At most so many are named in a message."""
_MODEL_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
_RESPONSES = (PREFIX, "model_responses__example_annotation")


class _Role(NamedTuple):
    """What a column is to us, the names it goes by, and what it must hold."""

    names: tuple[str, ...]
    """`{response}` stands for the name of the file's response column."""
    holds: str = "text"
    """"text" or "bool"."""
    in_list: bool = False
    """Also accepted as a list (of which the first element counts, save for reflections)."""
    required: bool = False


_ROLES = {
    "question": _Role(("question",), required=True),
    "answer": _Role(("answer",), required=True),
    "response": _Role(_RESPONSES, in_list=True, required=True),
    "is_correct": _Role(("{response}__eval_is_correct",), "bool", in_list=True, required=True),
    "extracted": _Role(("{response}__eval_extracted_answers",), in_list=True),
    "cut": _Role(("{response}__finish_reason_length_flags",), "bool", in_list=True),
    "reflections": _Role((REFLECTIONS,), in_list=True),
    "variant": _Role(("prompt_variant", "prompt_type")),
    "key": _Role(("question_key",)),
    "task": _Role(("task", "task_source")),
    "outcome": _Role(("outcome",)),
    "reason": _Role(("outcome_reason",)),
    "mentions_hint": _Role(("mentions_hint",), "bool"),
}

ROWS = pa.schema(
    [
        *((name, pa.string()) for name in ("question_key", "question", "answer", "task", "variant", "response")),
        ("is_correct", pa.bool_()),
        *((name, pa.string()) for name in ("outcome", "reason", "extracted_answer")),
        *((name, pa.bool_()) for name in ("cut", "mentions_hint")),
        ("reflections", pa.list_(pa.string())),
    ]
)
"""What every RAW_DATA reads as, one row a sample: `variant`, `is_correct` and `extracted_answer` may be null.

`outcome` is from our own column; where a repository has none, from `is_correct` (null is unknown).
"""


def open_parts(raw: str | Path, part_bytes: int = 64 << 20) -> tuple[Part, ...]:
    """Return the parts of a RAW_DATA folder, parquet file or hub repository, in order of file and row.

    Raises ValueError for files, columns and types that are missing or cannot be read; no row is read yet.
    """
    found: list[Part] = []
    for path in find_files(raw):
        with reading(path), pq.ParquetFile(path) as file:
            found += _parts_of(path, find_columns(file.schema_arrow, path), file.metadata, part_bytes)
    if not any(part.rows for part in found):
        raise ValueError(f"{raw}: holds no rows; expected one row a sample")
    return tuple(found)


def _parts_of(path: Path, columns: Columns, metadata: pq.FileMetaData, part_bytes: int) -> list[Part]:
    leaves = [metadata.schema.column(place).path.split(".")[0] for place in range(metadata.num_columns)]
    places = [place for place, name in enumerate(leaves) if name in columns.values()]
    parts = [Part(path, columns, (), 0, 0, 0)]
    for number in range(metadata.num_row_groups):
        group, part = metadata.row_group(number), parts[-1]
        size = sum(group.column(place).total_uncompressed_size for place in places)
        if part.groups and part.size + size > part_bytes:
            part = Part(path, columns, (), part.first_row + part.rows, 0, 0)
            parts.append(part)
        rows = part.rows + group.num_rows
        parts[-1] = part._replace(groups=(*part.groups, number), rows=rows, size=part.size + size)
    return [part for part in parts if part.groups]


def find_columns(schema: pa.Schema, path: Path) -> Columns:
    """Return which column plays which role. Raises ValueError where one is missing, there twice or of another type."""
    response = next((name for name in _RESPONSES if name in schema.names), PREFIX)
    columns = {}
    for role, (names, holds, in_list, required) in _ROLES.items():
        candidates = [name.replace("{response}", response) for name in names]
        name = next((name for name in candidates if name in schema.names), None)
        if name is not None:
            check_once(name, schema, path)
            _check_type(schema.field(name).type, holds, in_list, f"{path}: column {name!r}")
            columns[role] = name
        elif required:
            named = ", ".join(map(repr, schema.names[:_NAMED_COLUMNS])) or "none"
            wanted = " or ".join(map(repr, candidates))
            raise ValueError(f"{path}: no column {wanted}, which gives the {role}; it has {named}")
    return columns


def check_once(name: str, schema: pa.Schema, path: Path) -> None:
    """Raise ValueError where several columns have this name."""
    if (count := schema.names.count(name)) > 1:
        raise ValueError(f"{path}: {count} columns are named {name!r}; expected one")


def _check_type(found: pa.DataType, holds: str, in_list: bool, where: str) -> None:
    inner = found.value_type if in_list and is_list(found) else found
    inner = inner.value_type if pa.types.is_dictionary(inner) else inner
    text = pa.types.is_string(inner) or pa.types.is_large_string(inner) or pa.types.is_string_view(inner)
    if not (text if holds == "text" else pa.types.is_boolean(inner)) and not pa.types.is_null(inner):
        raise ValueError(f"{where} is of type {found}; expected {holds}{' or a list of it' if in_list else ''}")


def models_of(parts: Sequence[Part]) -> tuple[str, ...]:
    """Return the models that wrote the samples: what column `model` says first in each file, where it names one."""
    found: dict[str, None] = {}
    for path in dict.fromkeys(part.path for part in parts):
        with reading(path), pq.ParquetFile(path) as file:
            if "model" in file.schema_arrow.names and file.metadata.num_row_groups:
                first = next(file.iter_batches(1, row_groups=[0], columns=["model"]), None)
                name = first.column(0)[0].as_py() if first else None
                found |= {name: None} if isinstance(name, str) and _MODEL_NAME.fullmatch(name) else {}
    return tuple(found)


def read_part(part: Part, batch_rows: int = 4096) -> Iterator[pa.Table]:
    """Yield the part's rows as tables of schema ROWS. Raises ValueError naming the file and row of what is wrong."""
    row, names = part.first_row, list(dict.fromkeys(part.columns.values()))
    with reading(part.path, lambda: row), pq.ParquetFile(part.path) as file:
        for batch in file.iter_batches(batch_rows, row_groups=list(part.groups), columns=names):
            batch.validate(full=True)
            yield as_rows(batch, part.columns, part.path, row)
            row += batch.num_rows


def as_rows(batch: pa.RecordBatch, columns: Columns, path: Path, first_row: int) -> pa.Table:
    """Return a batch of a file as a table of schema ROWS. Raises ValueError naming the row of what is wrong."""
    given = {role: batch.column(name) for role, name in columns.items()}
    values = {role: _values(given.get(role), _ROLES[role].holds, batch.num_rows) for role in _ROLES}

    def refuse(wrong: pa.Array, message: str) -> None:
        if (place := pc.index(wrong, True).as_py()) >= 0:
            raise ValueError(f"{path}: row {first_row + place}: {message}")

    refuse(is_blank(pc.fill_null(values["question"], "")), "no question; expected text")
    refuse(pc.is_null(values["response"]), "no response; expected text")
    for value in set(values["outcome"].unique().to_pylist()) - {None, *get_args(Outcome)}:
        known = ", ".join(get_args(Outcome))
        refuse(pc.equal(values["outcome"], value), f"outcome is {value!r}; expected one of {known}")
    if "extracted" not in columns:
        values["extracted"] = pa.array(map(find_answer, values["response"].to_pylist()), pa.string())
    values["outcome"], values["reason"] = _outcomes(values)
    values["question_key"], values["extracted_answer"] = _keys(values), values["extracted"]
    for role, default in {"answer": "", "task": "", "cut": False, "mentions_hint": False}.items():
        values[role] = pc.fill_null(values[role], default)
    values["reflections"] = _reflections(given.get("reflections"), batch.num_rows)
    return pa.Table.from_arrays([values[name] for name in ROWS.names], schema=ROWS)


def _values(column: pa.Array | None, holds: str, count: int) -> pa.Array:
    """One value a row: of lists the first item, whatever way text is stored."""
    type_ = pa.string() if holds == "text" else pa.bool_()
    if column is None:
        return pa.nulls(count, type_)
    return (first_items(column) if is_list(column.type) else column).cast(type_)


def _outcomes(values: Mapping[str, pa.Array]) -> tuple[pa.Array, pa.Array]:
    """Outcome and reason: our own columns where there are any, else what the published ones say."""
    right = values["is_correct"]
    answered = pc.not_equal(pc.utf8_trim_whitespace(pc.fill_null(values["extracted"], "")), "")
    derived = pc.if_else(right, "right", pc.if_else(answered, "wrong", "unknown"))
    why = pc.if_else(pc.or_(right, answered), "", NO_ANSWER)
    stated = pc.is_valid(values["outcome"])
    reason = pc.if_else(stated, pc.fill_null(values["reason"], ""), pc.fill_null(why, UNDECIDED))
    return pc.coalesce(values["outcome"], derived, "unknown"), reason


def _keys(values: Mapping[str, pa.Array]) -> pa.Array:
    key = pc.if_else(pc.equal(values["key"], ""), None, values["key"])
    if not key.null_count:
        return key
    questions = values["question"].dictionary_encode()
    hashed = pa.array([stable_hash(text)[:16] for text in questions.dictionary.to_pylist()], pa.string())
    return pc.coalesce(key, pc.take(hashed, questions.indices))


def _reflections(column: pa.Array | None, count: int) -> pa.Array:
    """Those that are more than an empty text."""
    if column is None:
        return pa.array([[]] * count, ROWS.field("reflections").type)
    lists = as_lists(column)
    texts = lists.flatten().cast(pa.string())
    there = pc.fill_null(pc.not_equal(texts, ""), False).to_numpy(zero_copy_only=False)
    return kept_items(lists, there).cast(ROWS.field("reflections").type)
