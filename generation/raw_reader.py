"""RAW_DATA, read: a folder, a single file or a hub repository, ours or a published one.

Both published families of column names are understood, as lists or as plain values. Files are
read batch by batch and only the columns needed; nothing here knows what the rows are for.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, get_args

import pyarrow as pa
import pyarrow.parquet as pq
from huggingface_hub import snapshot_download

from cluster.hub import asking_hub
from generation.grading.answer_tag import find_answer
from generation.raw_data import PREFIX, REFLECTIONS
from generation.records import NO_ANSWER, Outcome, RawRow, stable_hash

UNDECIDED = "undecided"
"""Reason of a row whose correctness is null in a repository that gives no reason."""

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_RESPONSES = (PREFIX, "model_responses__example_annotation")
_BATCH = 1024
"""Rows held at a time."""


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


def read(raw: str | Path) -> Iterator[RawRow]:
    """The rows of a RAW_DATA folder, parquet file or hub repository, in file order.

    Missing or unreadable files, columns and values are a ValueError that names them; what the
    files' headers can tell is told before the first row.
    """
    return _rows(_open_all(raw), tuple(_ROLES))


def read_questions(raw: str | Path) -> Iterator[tuple[RawRow, ...]]:
    """The rows of `read`, all those of a question together.

    Held in memory is one question where the rows already lie together, as ours do; everything
    where they do not.
    """
    files = _open_all(raw)
    if _grouped(files):
        for _, rows in groupby(_rows(files, tuple(_ROLES)), key=lambda row: row.question_key):
            yield tuple(rows)
        return
    questions: dict[str, list[RawRow]] = defaultdict(list)
    for row in _rows(files, tuple(_ROLES)):
        questions[row.question_key].append(row)
    while questions:
        yield tuple(questions.pop(next(iter(questions))))


def find_files(raw: str | Path) -> tuple[Path, ...]:
    """The parquet files of a RAW_DATA: the file itself, or those in its folder or `data/`."""
    path = Path(raw)
    try:
        exists = path.exists()
    except OSError as error:
        raise ValueError(f"{raw}: cannot be looked at: {error.strerror}") from error
    if path.is_file():
        return (path,)
    if not exists:
        if not _REPOSITORY.fullmatch(str(raw)):
            raise ValueError(f"{raw}: no such file or folder")
        path = _download(str(raw))
    files = sorted(path.glob("data/*.parquet")) or sorted(path.glob("*.parquet"))
    if not files:
        raise ValueError(f"{raw}: holds no parquet file; expected data/*.parquet or *.parquet")
    return tuple(files)


def _download(repository: str) -> Path:
    """The repository's parquet files, in the hub's own cache."""
    with asking_hub(f"{repository}: a file or folder of this name"):
        return Path(snapshot_download(repository, repo_type="dataset", allow_patterns=["data/*.parquet", "*.parquet"]))


class _File(NamedTuple):
    path: Path
    columns: Columns


def _open_all(raw: str | Path) -> tuple[_File, ...]:
    files = []
    rows = 0
    for path in find_files(raw):
        try:
            with pq.ParquetFile(path) as file:
                schema, count = file.schema_arrow, file.metadata.num_rows
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{path}: cannot be read as parquet: {_first_line(error)}") from error
        files.append(_File(path, _find_columns(schema, path)))
        rows += count
    if rows == 0:
        raise ValueError(f"{raw}: holds no rows; expected one row a sample")
    return tuple(files)


def _find_columns(schema: pa.Schema, path: Path) -> Columns:
    """Which column plays which role; checks that what must be there is, and types."""
    present = set(schema.names)
    response = next((name for name in _RESPONSES if name in present), PREFIX)
    columns = {}
    for role, (names, holds, in_list, required) in _ROLES.items():
        candidates = [name.replace("{response}", response) for name in names]
        name = next((name for name in candidates if name in present), None)
        if name is not None:
            _check_type(schema.field(name).type, holds, in_list, f"{path}: column {name!r}")
            columns[role] = name
        elif required:
            raise ValueError(f"{path}: no column {' or '.join(map(repr, candidates))}, which gives the {role}")
    return columns


def _check_type(found: pa.DataType, holds: str, in_list: bool, where: str) -> None:
    inner = found
    if in_list and _is_list(found):
        inner = found.value_type
    if pa.types.is_dictionary(inner):
        inner = inner.value_type
    text = pa.types.is_string(inner) or pa.types.is_large_string(inner) or pa.types.is_string_view(inner)
    fits = text if holds == "text" else pa.types.is_boolean(inner)
    if not (fits or pa.types.is_null(inner)):
        wanted = f"{holds} or a list of it" if in_list else holds
        raise ValueError(f"{where} is of type {found}; expected {wanted}")


def _is_list(type_: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_list(type_) or types.is_large_list(type_) or types.is_fixed_size_list(type_))


def _grouped(files: Sequence[_File]) -> bool:
    """Whether all rows of each question lie together; looks at the key columns alone."""
    seen: set[str] = set()
    last = None
    for file in files:
        roles = ("key",) if "key" in file.columns else ("question",)
        for _, values in _values(file, roles):
            key = _key(values)
            if key != last and key in seen:
                return False
            seen.add(key)
            last = key
    return True


def _rows(files: Sequence[_File], roles: Sequence[str]) -> Iterator[RawRow]:
    for file in files:
        for number, values in _values(file, roles):
            try:
                yield _row(values)
            except ValueError as error:
                raise ValueError(f"{file.path}: row {number}: {error}") from error


def _values(file: _File, roles: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each row's number in its file and its values by role."""
    names = {role: file.columns[role] for role in roles if role in file.columns}
    number = 0
    try:
        with pq.ParquetFile(file.path) as parquet:
            for batch in parquet.iter_batches(_BATCH, columns=list(dict.fromkeys(names.values()))):
                columns = [batch.column(name).to_pylist() for name in names.values()]
                for values in zip(*columns, strict=True):
                    yield number, dict(zip(names, values, strict=True))
                    number += 1
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{file.path}: torn after row {number}: {_first_line(error)}") from error


def _row(values: Mapping[str, Any]) -> RawRow:
    for role in ("question", "response"):
        if _first(values[role]) is None:
            raise ValueError(f"no {role}; expected text")
    response = _first(values["response"])
    is_correct = _first(values["is_correct"])
    extracted = _first(values["extracted"]) if "extracted" in values else find_answer(response)
    outcome, reason = _outcome(values, is_correct, extracted)
    reflections = values.get("reflections") or ()
    return RawRow(
        question_key=_key(values),
        question=values["question"],
        answer=values["answer"] or "",
        task=values.get("task") or "",
        variant=values.get("variant"),
        response=response,
        is_correct=is_correct,
        outcome=outcome,
        reason=reason,
        extracted_answer=extracted,
        cut=bool(_first(values.get("cut"))),
        mentions_hint=bool(values.get("mentions_hint")),
        reflections=(reflections,) if isinstance(reflections, str) else tuple(filter(None, reflections)),
    )


def _outcome(values: Mapping[str, Any], is_correct: bool | None, extracted: str | None) -> tuple[Outcome, str]:
    """Our own columns where there are any, else what the published ones say."""
    stated = values.get("outcome")
    if stated is not None:
        if stated not in get_args(Outcome):
            raise ValueError(f"outcome is {stated!r}; expected one of {', '.join(get_args(Outcome))}")
        return stated, values.get("reason") or ""
    if is_correct is None:
        return "unknown", UNDECIDED
    if is_correct:
        return "right", ""
    return ("wrong", "") if (extracted or "").strip() else ("unknown", NO_ANSWER)


def _key(values: Mapping[str, Any]) -> str:
    key = values.get("key")
    return str(key) if key else stable_hash(values["question"])[:16]


def _first(value: Any) -> Any:
    """Element 0 of a list, None of an empty one; any other value as it is."""
    if isinstance(value, list):
        return value[0] if value else None
    return value


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
