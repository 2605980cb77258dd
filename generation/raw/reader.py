"""RAW_DATA, read: a folder, a single file or a hub repository, ours or a published one.

Both published families of column names are understood, as lists or as plain values; what comes out
is one table for all of them. Files are read part by part and only the columns needed; nothing here
knows what the rows are for.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, get_args

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from generation.grading.answer_tag import find_answer
from generation.raw.arrow_lists import as_lists, first_items, is_blank, is_list, kept_items
from generation.raw.files import find_files, reading, unreadable
from generation.raw.schema import PREFIX, REFLECTIONS
from generation.records import NO_ANSWER, Outcome, stable_hash

UNDECIDED = "undecided"
"""Reason of a row whose correctness is null in a repository that gives no reason."""

_SHOWN = 8
"""Columns that a message names."""
_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
_RESPONSES = (PREFIX, "model_responses__example_annotation")


class _Role(NamedTuple):
    """What a column is to us, the names it goes by, and what it must hold."""

    names: tuple[str, ...]
    """`{response}` stands for the name of the file's response column."""
    holds: str
    """"text" or "bool"."""
    in_list: bool = False
    """Also accepted as a list (of which the first element counts, save for reflections)."""
    required: bool = False


_ROLES = {
    "question": _Role(("question",), "text", required=True),
    "answer": _Role(("answer",), "text", required=True),
    "response": _Role(_RESPONSES, "text", in_list=True, required=True),
    "is_correct": _Role(("{response}__eval_is_correct",), "bool", in_list=True, required=True),
    "extracted": _Role(("{response}__eval_extracted_answers",), "text", in_list=True),
    "cut": _Role(("{response}__finish_reason_length_flags",), "bool", in_list=True),
    "reflections": _Role((REFLECTIONS,), "text", in_list=True),
    "variant": _Role(("prompt_variant", "prompt_type"), "text"),
    "key": _Role(("question_key",), "text"),
    "task": _Role(("task", "task_source"), "text"),
    "outcome": _Role(("outcome",), "text"),
    "reason": _Role(("outcome_reason",), "text"),
    "mentions_hint": _Role(("mentions_hint",), "bool"),
}

Columns = Mapping[str, str]
"""Role to the column that plays it in one file; roles without a column are not in it."""

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

_GROUPS = pa.schema([("question_key", pa.string()), ("variant", pa.string()), ("samples", pa.int64())])


class Part(NamedTuple):
    """Neighbouring row groups of one file: the unit of reading."""

    path: Path
    columns: Columns
    groups: tuple[int, ...]
    first_row: int
    """Place of its first row in the file."""
    rows: int
    size: int
    """Bytes of the needed columns in memory, about."""


def open_parts(raw: str | Path, part_bytes: int = 64 << 20) -> tuple[Part, ...]:
    """The parts of a RAW_DATA folder, parquet file or hub repository, in order of file and row.

    Missing or unreadable files, columns and types are a ValueError that names them; no row is read yet.
    """
    found: list[Part] = []
    for path in find_files(raw):
        with reading(path), pq.ParquetFile(path) as file:
            columns = find_columns(file.schema_arrow, path)
            found += _parts_of(path, columns, file.metadata, part_bytes)
    if not any(part.rows for part in found):
        raise ValueError(f"{raw}: holds no rows; expected one row a sample")
    return tuple(found)


def find_columns(schema: pa.Schema, path: Path) -> Columns:
    """Which column plays which role; checks that what must be there is, and types."""
    present = set(schema.names)
    response = next((name for name in _RESPONSES if name in present), PREFIX)
    columns = {}
    for role, (names, holds, in_list, required) in _ROLES.items():
        candidates = [name.replace("{response}", response) for name in names]
        name = next((name for name in candidates if name in present), None)
        if name is not None:
            check_once(name, schema, path)
            _check_type(schema.field(name).type, holds, in_list, f"{path}: column {name!r}")
            columns[role] = name
        elif required:
            there = f"it has {', '.join(map(repr, schema.names[:_SHOWN]))}" if schema.names else "it has none"
            raise ValueError(f"{path}: no column {' or '.join(map(repr, candidates))}, which gives the {role}; {there}")
    return columns


def check_once(name: str, schema: pa.Schema, path: Path) -> None:
    if (count := schema.names.count(name)) > 1:
        raise ValueError(f"{path}: {count} columns are named {name!r}; expected one")


def _check_type(found: pa.DataType, holds: str, in_list: bool, where: str) -> None:
    inner = found
    if in_list and is_list(found):
        inner = found.value_type
    if pa.types.is_dictionary(inner):
        inner = inner.value_type
    text = pa.types.is_string(inner) or pa.types.is_large_string(inner) or pa.types.is_string_view(inner)
    fits = text if holds == "text" else pa.types.is_boolean(inner)
    if not (fits or pa.types.is_null(inner)):
        wanted = f"{holds} or a list of it" if in_list else holds
        raise ValueError(f"{where} is of type {found}; expected {wanted}")


def _parts_of(path: Path, columns: Columns, metadata: pq.FileMetaData, part_bytes: int) -> Iterator[Part]:
    names = set(columns.values())
    places = [
        place for place in range(metadata.num_columns) if metadata.schema.column(place).path.split(".")[0] in names
    ]
    groups: list[int] = []
    first = rows = size = 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        wanted = sum(group.column(place).total_uncompressed_size for place in places)
        if groups and size + wanted > part_bytes:
            yield Part(path, columns, tuple(groups), first, rows, size)
            first, groups, rows, size = first + rows, [], 0, 0
        groups.append(number)
        rows, size = rows + group.num_rows, size + wanted
    if groups:
        yield Part(path, columns, tuple(groups), first, rows, size)


def models_of(parts: Sequence[Part]) -> tuple[str, ...]:
    """The models that wrote the samples: what column `model` says first in each file, where there is such text."""
    found: dict[str, None] = {}
    for path in dict.fromkeys(part.path for part in parts):
        with reading(path), pq.ParquetFile(path) as file:
            if "model" in file.schema_arrow.names and file.metadata.num_row_groups:
                first = next(file.iter_batches(1, row_groups=[0], columns=["model"]), None)
                name = first.column(0)[0].as_py() if first else None
                found |= {name: None} if isinstance(name, str) and _NAME.fullmatch(name) else {}
    return tuple(found)


def read_part(part: Part, batch_rows: int = 4096) -> Iterator[pa.Table]:
    """The part's rows as tables of schema ROWS. A ValueError names the file and row of what is wrong."""
    for row, columns in _batches(part, part.columns, batch_rows):
        yield _rows(columns, part.path, row)


def read_groups(part: Part) -> pa.Table:
    """Count the part's rows by question and prompt variant: columns question_key, variant and samples."""
    for roles in ({"key"}, {"key", "question"}) if "key" in part.columns else ({"question"},):
        batches = _plain_batches(part, roles | ({"variant"} & part.columns.keys()))
        found = [_GROUPS.empty_table(), *map(_grouped, batches)]
        if not any(groups["question_key"].null_count for groups in found):
            break
    names = ["question_key", "variant"]
    return pa.concat_tables(found).group_by(names).aggregate([("samples", "sum")]).rename_columns(_GROUPS.names)


def _grouped(plain: Mapping[str, pa.Array]) -> pa.Table:
    rows = pa.table({"question_key": _keys(plain), "variant": pc.fill_null(plain["variant"], "")})
    return rows.group_by(rows.column_names).aggregate([([], "count_all")]).rename_columns(_GROUPS.names)


def _plain_batches(part: Part, roles: Collection[str]) -> Iterator[dict[str, pa.Array]]:
    wanted = {role: part.columns[role] for role in roles}
    for row, columns in _batches(part, wanted, 65_536):
        count = len(next(iter(columns.values())))
        plain = {role: _plain(columns.get(role), role, count) for role in ("key", "question", "variant")}
        if "question" in roles:
            _check_questions(plain["question"], part.path, row)
        yield plain


def _batches(part: Part, roles: Columns, batch_rows: int) -> Iterator[tuple[int, dict[str, pa.Array]]]:
    """The columns that play these roles, and the place of their first row in the file."""
    row = part.first_row
    names = list(dict.fromkeys(roles.values()))
    try:
        with pq.ParquetFile(part.path) as file:
            for batch in file.iter_batches(batch_rows, row_groups=list(part.groups), columns=names):
                batch.validate(full=True)
                yield row, {role: batch.column(name) for role, name in roles.items()}
                row += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise unreadable(part.path, error, row) from error


def _rows(columns: Mapping[str, pa.Array], path: Path, first_row: int) -> pa.Table:
    count = len(columns["question"])
    plain = {role: _plain(columns.get(role), role, count) for role in _ROLES if role != "reflections"}
    _check_questions(plain["question"], path, first_row)
    _refuse(pc.is_null(plain["response"]), "no response; expected text", path, first_row)
    known = ", ".join(get_args(Outcome))
    stated = plain["outcome"]
    for value in set(stated.unique().to_pylist()) - {None, *get_args(Outcome)}:
        _refuse(pc.equal(stated, value), f"outcome is {value!r}; expected one of {known}", path, first_row)
    if "extracted" not in columns:
        plain["extracted"] = pa.array(map(find_answer, plain["response"].to_pylist()), pa.string())
    outcome, reason = _outcomes(plain)
    arrays = {
        **{role: plain[role] for role in ("question", "variant", "response", "is_correct")},
        "question_key": _keys(plain),
        "answer": pc.fill_null(plain["answer"], ""),
        "task": pc.fill_null(plain["task"], ""),
        "outcome": outcome,
        "reason": reason,
        "extracted_answer": plain["extracted"],
        "cut": pc.fill_null(plain["cut"], False),
        "mentions_hint": pc.fill_null(plain["mentions_hint"], False),
        "reflections": _reflections(columns.get("reflections"), count),
    }
    return pa.Table.from_arrays([arrays[name] for name in ROWS.names], schema=ROWS)


def _plain(column: pa.Array | None, role: str, count: int) -> pa.Array:
    """The role's values, one a row: of lists the first item, whatever way text is stored."""
    type_ = pa.string() if _ROLES[role].holds == "text" else pa.bool_()
    if column is None:
        return pa.nulls(count, type_)
    return (first_items(column) if is_list(column.type) else column).cast(type_)


def _refuse(wrong: pa.Array, message: str, path: Path, first_row: int) -> None:
    place = pc.index(wrong, True).as_py()
    if place >= 0:
        raise ValueError(f"{path}: row {first_row + place}: {message}")


def _check_questions(questions: pa.Array, path: Path, first_row: int) -> None:
    _refuse(is_blank(pc.fill_null(questions, "")), "no question; expected text", path, first_row)


def _outcomes(plain: Mapping[str, pa.Array]) -> tuple[pa.Array, pa.Array]:
    """Outcome and reason: our own columns where there are any, else what the published ones say."""
    right = plain["is_correct"]
    answered = pc.not_equal(pc.utf8_trim_whitespace(pc.fill_null(plain["extracted"], "")), "")
    derived = pc.if_else(right, "right", pc.if_else(answered, "wrong", "unknown"))
    why = pc.if_else(pc.or_(right, answered), "", NO_ANSWER)
    stated = pc.is_valid(plain["outcome"])
    reason = pc.if_else(stated, pc.fill_null(plain["reason"], ""), pc.fill_null(why, UNDECIDED))
    return pc.coalesce(plain["outcome"], derived, "unknown"), reason


def _keys(plain: Mapping[str, pa.Array]) -> pa.Array:
    key = pc.if_else(pc.equal(plain["key"], ""), None, plain["key"])
    if not key.null_count:
        return key
    questions = plain["question"].dictionary_encode()
    hashed = pa.array([stable_hash(text)[:16] for text in questions.dictionary.to_pylist()], pa.string())
    return pc.coalesce(key, pc.take(hashed, questions.indices))


def _reflections(column: pa.Array | None, count: int) -> pa.Array:
    if column is None:
        return pa.array([[]] * count, ROWS.field("reflections").type)
    column = as_lists(column)
    texts = column.flatten()
    there = pc.fill_null(pc.not_equal(texts.cast(pa.string()), ""), False).to_numpy(zero_copy_only=False)
    return kept_items(column, there).cast(ROWS.field("reflections").type)


def as_rows(batch: pa.RecordBatch, columns: Columns, path: Path, first_row: int) -> pa.Table:
    """A batch of a file as a table of schema ROWS. A ValueError names the row of what is wrong."""
    return _rows({role: batch.column(name) for role, name in columns.items()}, path, first_row)
