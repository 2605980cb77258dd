"""Reads RAW_DATA, ours or a published one, part by part, into tables of one schema.

Supports both published families of column names, as lists or as plain values.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cluster.inference.thoughts import Parted, part, part_unknown
from generation.grading import find_answer
from generation.raw.files import Columns, Part, chunks_of, find_files, reading
from generation.raw.schema import (
    ATTEMPT,
    ATTEMPTS,
    PARENT,
    PREFIX,
    REFLECTIONS,
    SEEN,
    SEEN_COLUMN,
    THOUGHT,
    as_lists,
    first_items,
    is_blank,
    is_list,
    kept_items,
    lengths,
    lists_of,
    owners,
)
from generation.records import CUT, CUT_THOUGHT, NO_ANSWER, ONLY_THOUGHT, Outcome, stable_hash

UNDECIDED = "undecided"  # reason for a row whose correctness is null, in a repository that gives no reasons
_NAMED_COLUMNS = 8  # at most this many are listed in a message
RESPONSES = (PREFIX, "model_responses__example_annotation")
_FITTING = {
    "text": (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
    "bool": (pa.types.is_boolean,),
}


class _Role(NamedTuple):
    names: tuple[str, ...]  # `{response}` stands for the name of the file's response column
    type: pa.DataType = pa.string()
    in_list: bool = False  # also accepted as a list, whose first element counts, except for reflections
    required: bool = False
    ours: bool = False  # a column of this name and another type is somebody else's, and not read


_ROLES = {
    "question_key": _Role(("question_key",)),
    "question": _Role(("question",), required=True),
    "answer": _Role(("answer",), required=True),
    "task": _Role(("task", "task_source")),
    "variant": _Role(("prompt_variant", "prompt_type")),
    "response": _Role(RESPONSES, in_list=True, required=True),
    "thought": _Role((THOUGHT,)),
    "is_correct": _Role(("{response}__eval_is_correct",), pa.bool_(), in_list=True, required=True),
    "outcome": _Role(("outcome",)),
    "reason": _Role(("outcome_reason",)),
    "extracted_answer": _Role(("{response}__eval_extracted_answers",), in_list=True),
    "cut": _Role(("{response}__finish_reason_length_flags",), pa.bool_(), in_list=True),
    "mentions_hint": _Role(("mentions_hint",), pa.bool_()),
    "reflections": _Role((REFLECTIONS,), pa.list_(pa.string()), in_list=True),
    "attempts": _Role((ATTEMPTS,), pa.list_(ATTEMPT)),
    "metadata": _Role(("metadata",), ours=True),
    "parent": _Role((PARENT,), ours=True),
    "seen": _Role((SEEN_COLUMN,), SEEN),
}
_AS_WRITTEN = ("attempts", "seen")  # roles whose columns are ours alone
ROWS = pa.schema([(name, role.type) for name, role in _ROLES.items()])
"""The schema every RAW_DATA is read as, one row per sample; `variant`, `is_correct` and `extracted_answer` may be null.

`outcome` is our own column, or else derived from `is_correct` (null is unknown). Where RAW_DATA tells no thought from
its response or reflection, as before its version 2, the texts' own `<think>` tags do. Of a sample that is a trace
itself, `response` is the attempt inside that gives its answer, if there is one, and `thought` is null;
`attempts` is null for other samples; `metadata` is null in a published one; `parent` and `seen` are null but for
retries.
"""
_OPENS, _MARKED = r"^\s*<think", r"^\s*<think|</think>"  # what a text without a known thought holds if it may have one


def open_parts(raw: str | Path, part_bytes: int = 64 << 20) -> tuple[Part, ...]:
    """Return a RAW_DATA's parts, in order, without reading rows. Raises ValueError for unusable files or columns."""
    parts: list[Part] = []
    for path in find_files(raw):
        with reading(path), pq.ParquetFile(path) as file:
            columns, first_row = find_columns(file.schema_arrow, path), 0
            for number in range(file.metadata.num_row_groups):
                group = file.metadata.row_group(number)
                size = sum(chunk.total_uncompressed_size for chunk in chunks_of(group, columns.values()))
                if first_row and (last := parts[-1]).size + size <= part_bytes:
                    groups = (*last.groups, number)
                    parts[-1] = last._replace(groups=groups, rows=last.rows + group.num_rows, size=last.size + size)
                else:
                    parts.append(Part(path, columns, (number,), first_row, group.num_rows, size))
                first_row += group.num_rows
    if not any(part.rows for part in parts):
        raise ValueError(f"{raw}: holds no rows; expected one row a sample")
    return tuple(parts)


def find_columns(schema: pa.Schema, path: Path) -> Columns:
    """Map roles to columns. Raises ValueError if a column is missing, duplicated or of the wrong type."""
    response = next((name for name in RESPONSES if name in schema.names), PREFIX)
    columns = {}
    for role, (names, type_, in_list, required, ours) in _ROLES.items():
        candidates = [name.replace("{response}", response) for name in names]
        name = next((name for name in candidates if name in schema.names), None)
        if name is not None:
            check_once(name, schema, path)
            found = schema.field(name).type
            inner = found.value_type if in_list and is_list(found) else found
            inner = inner.value_type if pa.types.is_dictionary(inner) else inner
            if role == "parent" and SEEN_COLUMN not in schema.names:
                continue  # another column of this name
            if role in _AS_WRITTEN:
                if found != type_:
                    raise ValueError(f"{path}: column {name!r} is not as written here; expected {type_}")
                columns[role] = name
                continue
            holds = "bool" if type_ == pa.bool_() else "text"
            if not any(fits(inner) for fits in (*_FITTING[holds], pa.types.is_null)):
                if ours:
                    continue
                wanted = f"{holds} or a list of it" if in_list else holds
                raise ValueError(f"{path}: column {name!r} is of type {found}; expected {wanted}")
            columns[role] = name
        elif required:
            named = ", ".join(map(repr, schema.names[:_NAMED_COLUMNS])) or "none"
            wanted = " or ".join(map(repr, candidates))
            raise ValueError(f"{path}: no column {wanted}, which gives the {role}; it has {named}")
    return columns


def check_once(name: str, schema: pa.Schema, path: Path) -> None:
    """Raise ValueError if several columns have this name."""
    if (count := schema.names.count(name)) > 1:
        raise ValueError(f"{path}: {count} columns are named {name!r}; expected one")


def read_part(part: Part, batch_rows: int = 4096, *, thoughts: bool = True) -> Iterator[pa.Table]:
    """Yield the part's rows as tables of schema ROWS. Raises ValueError, naming file and row, for invalid data.

    Without `thoughts`, which may be longer than all else, their column is not read and null.
    """
    return (rows for _, rows in read_batches(part, batch_rows=batch_rows, thoughts=thoughts))


def read_batches(
    part: Part,
    more: Collection[str] = (),
    batch_rows: int = 4096,
    *,
    thoughts: bool = True,
    prepare: Callable[[pa.RecordBatch], pa.RecordBatch] | None = None,
) -> Iterator[tuple[pa.RecordBatch, pa.Table]]:
    """Yield batches as in the file, with those of the `more` columns that it has, paired with their `as_rows`.

    `prepare` may change a batch before that, but not its number of rows.
    """
    row = part.first_row
    with reading(part.path, lambda: row), pq.ParquetFile(part.path) as file:
        wanted = {*(name for role, name in part.columns.items() if thoughts or role != "thought"), *more}
        names = [name for name in file.schema_arrow.names if name in wanted]
        for batch in file.iter_batches(batch_rows, row_groups=list(part.groups), columns=names):
            batch.validate(full=True)
            prepared = batch if prepare is None else prepare(batch)
            yield prepared, as_rows(prepared, part.columns, part.path, row)
            row += batch.num_rows


def as_rows(batch: pa.RecordBatch, columns: Columns, path: Path, first_row: int) -> pa.Table:
    """Convert a batch of a file to a table of schema ROWS. Raises ValueError, naming the row, for invalid data."""

    def refuse(wrong: pa.Array, message: str) -> None:
        if (place := pc.index(wrong, True).as_py()) >= 0:
            raise ValueError(f"{path}: row {first_row + place}: {message}")

    given = {role: batch.column(name) for role, name in columns.items() if name in batch.schema.names}
    none = pa.nulls(batch.num_rows)
    values = {}
    for role in ROWS:
        column = given.get(role.name, none)
        if role.name not in ("reflections", *_AS_WRITTEN):
            values[role.name] = (first_items(column) if is_list(column.type) else column).cast(role.type)
    refuse(is_blank(pc.fill_null(values["question"], "")), "no question; expected text")
    refuse(pc.is_null(values["response"]), "no response; expected text")
    told = "thought" in columns
    thoughts, responses = values["thought"], values["response"]
    values["thought"], values["response"] = parted(thoughts, responses, told=told, graded=True)
    known = get_args(Outcome)
    for value in set(values["outcome"].unique().to_pylist()) - {None, *known}:
        refuse(pc.equal(values["outcome"], value), f"outcome is {value!r}; expected one of {', '.join(known)}")
    if "extracted_answer" not in columns:
        values["extracted_answer"] = pa.array(map(find_answer, values["response"].to_pylist()), pa.string())
    values["question_key"] = _keys(values["question_key"], values["question"])

    # Our own outcome and reason if present, else derived from the published columns.
    right, stated = values["is_correct"], pc.is_valid(values["outcome"])
    answered = pc.not_equal(pc.utf8_trim_whitespace(pc.fill_null(values["extracted_answer"], "")), "")
    derived = pc.if_else(right, "right", pc.if_else(answered, "wrong", "unknown"))
    why = pc.fill_null(pc.if_else(pc.or_(right, answered), "", NO_ANSWER), UNDECIDED)
    values["outcome"] = pc.coalesce(values["outcome"], derived, "unknown")
    values["reason"] = pc.if_else(stated, pc.fill_null(values["reason"], ""), why)
    for role, default in {"answer": "", "task": "", "cut": False, "mentions_hint": False}.items():
        values[role] = pc.fill_null(values[role], default)
    if not told:
        values["reason"] = _reasons(values)

    texts = given.get("reflections", none)
    lists = (texts if is_list(texts.type) else as_lists(texts.cast(pa.string()))).cast(ROWS.field("reflections").type)
    items = lists.flatten()
    _, replies = parted(pa.nulls(len(items), pa.string()), items, told=told)
    lists = lists if replies is items else lists_of(replies, lengths(lists))
    there = pc.fill_null(pc.not_equal(replies, ""), False)
    values["reflections"] = kept_items(lists, there.to_numpy(zero_copy_only=False))
    values |= {role: given.get(role, none).cast(ROWS.field(role).type) for role in _AS_WRITTEN}
    if values["attempts"].null_count < batch.num_rows:
        finals = pc.struct_field(values["attempts"].flatten(), "text").take(finals_of(values["attempts"]))
        values["response"] = pc.coalesce(finals, values["response"])
        values["thought"] = pc.if_else(values["attempts"].is_valid(), None, values["thought"])
    return pa.Table.from_arrays([values[name] for name in ROWS.names], schema=ROWS)


def _keys(keys: pa.Array, questions: pa.Array) -> pa.Array:
    """Return the keys, where there is none a hash of the question."""
    keys = pc.if_else(pc.equal(keys, ""), None, keys)
    if not keys.null_count:
        return keys
    texts = questions.dictionary_encode()
    hashed = pa.array([stable_hash(text)[:16] for text in texts.dictionary.to_pylist()], pa.string())
    return pc.coalesce(keys, pc.take(hashed, texts.indices))


def questions_in(part: Part, batch_rows: int = 65_536) -> Iterator[tuple[str, str]]:
    """Yield key and text of each question of the part, once. Raises ValueError for a file that cannot be read."""
    row, seen = part.first_row, set[str]()
    with reading(part.path, lambda: row), pq.ParquetFile(part.path) as file:
        names = [part.columns[role] for role in ("question", "question_key") if role in part.columns]
        for batch in file.iter_batches(batch_rows, row_groups=list(part.groups), columns=names):
            columns = [first_items(one) if is_list(one.type) else one for one in map(batch.column, names)]
            texts, *given = (column.cast(pa.string()) for column in columns)
            keys = _keys(given[0] if given else pa.nulls(len(texts), pa.string()), texts)
            found = pa.table({"key": keys, "text": texts}).group_by(["key", "text"], use_threads=False).aggregate([])
            for key, text in zip(found["key"].to_pylist(), found["text"].to_pylist(), strict=True):
                if text is not None and key not in seen:
                    seen.add(key)
                    yield key, text
            row += batch.num_rows


def _reasons(values: Mapping[str, pa.Array]) -> pa.Array:
    """Return the reasons of rows that do not say themselves which samples are only a thought."""
    only = pc.and_(values["thought"].is_valid(), is_blank(values["response"]))
    unanswered = pc.is_in(values["reason"], pa.array([NO_ANSWER, CUT]))
    thinking = pc.if_else(values["cut"], CUT_THOUGHT, ONLY_THOUGHT)
    return pc.if_else(pc.and_(only, unanswered), thinking, values["reason"])


def finals_of(attempts: pa.Array) -> pa.Array:
    """Return for each row the place, in `attempts.flatten()`, of the attempt that gives its answer; null for none."""
    final = pc.fill_null(pc.struct_field(attempts.flatten(), "final"), False).to_numpy(zero_copy_only=False)
    places = np.full(len(attempts), -1)
    places[owners(attempts)[final]] = np.flatnonzero(final)
    return pa.array(places, mask=places < 0)


def parted(thoughts: pa.Array, texts: pa.Array, *, told: bool, graded: bool = False) -> tuple[pa.Array, pa.Array]:
    """Return thoughts and replies, telling them apart where no thought is known.

    If RAW_DATA has a column of thoughts, they were `told` by the marks of the model, and only a text that begins with
    one is a thought still. A text that was `graded` as a whole stays whole if its answer is in the thought.
    """
    may = pc.and_(thoughts.is_null(), pc.fill_null(pc.match_substring_regex(texts, _OPENS if told else _MARKED), False))
    places = np.flatnonzero(may)
    if not len(places):
        return thoughts, texts
    marked = texts.take(pa.array(places)).to_pylist()
    told_apart = [part(text) if told else part_unknown(text) for text in marked]
    if graded:
        pairs = zip(marked, told_apart, strict=True)
        told_apart = [
            Parted(None, all) if find_answer(all) and not find_answer(one.reply) else one for all, one in pairs
        ]
    found = [pa.array([getattr(one, name) for one in told_apart], pa.string()) for name in ("thought", "reply")]
    return pc.replace_with_mask(thoughts, may, found[0]), pc.replace_with_mask(texts, may, found[1])


def visible(texts: pa.Array) -> pa.Array:
    """Return texts of unknown origin without the thoughts in them."""
    return parted(pa.nulls(len(texts), pa.string()), texts, told=False)[1]
