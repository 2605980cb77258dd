"""Which columns of a file hold responses, how they were graded and by what, for RAW_DATA and EVAL sets."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from generation.evaluation.schema import EVAL_DATA, EVAL_SCHEMA
from generation.evaluation.schema import PREFIX as EVAL_PREFIX
from generation.raw.reader import RESPONSES, check_once
from generation.raw.schema import (
    ATTEMPTS,
    FOUND,
    PROVENANCE,
    RAW_DATA,
    REFLECTIONS,
    SAMPLE_PROVENANCE,
    SCHEMA,
    SEEN_COLUMN,
    THOUGHT,
    is_list,
    is_of,
    is_part,
    with_features,
)

BEFORE = "__before"
_NAMED_COLUMNS = 8  # at most this many are listed in a message
_INNER = "__internal_answers"
GRADED = (
    "correct",
    "extracted",
    "outcome",
    "reason",
    "found",
    "same",
    "inner_correct",
    "inner_extracted",
    "attempts",
    "reflected",
    "seen",
)
_ADDED = ("extracted", "outcome", "reason", "found", "same")
"""The roles that are added to a set that lacks them; of an EVAL set `attempts` too."""


class Kind(NamedTuple):
    """A kind of set: the names of its columns by role, `{response}` being that of its responses."""

    name: str  # its folder in a run, and the prefix of its repositories' names
    flag: str
    responses: tuple[str, ...]
    task: tuple[str, ...]  # the first that is there names the task
    roles: Mapping[str, str]
    schema: pa.Schema  # the types of columns that are added


_PUBLISHED = {
    "correct": "{response}__eval_is_correct",
    "extracted": "{response}__eval_extracted_answers",
    "cut": "{response}__finish_reason_length_flags",
    "inner_correct": "{response}" + f"{_INNER}__eval_is_correct",
    "inner_extracted": "{response}" + f"{_INNER}__eval_extracted_answers",
}
RAW = Kind(
    RAW_DATA,
    "--raw",
    RESPONSES,
    ("task", "task_source"),
    {
        **_PUBLISHED,
        **{"thought": THOUGHT, "outcome": "outcome", "reason": "outcome_reason", "found": FOUND},
        **{"attempts": ATTEMPTS, "requests": SAMPLE_PROVENANCE, "reflections": REFLECTIONS, "reflected": PROVENANCE},
        "seen": SEEN_COLUMN,
    },
    SCHEMA,
)
_OF_EVAL = ("thought", "outcome", "reason", "found", "attempts")
EVAL = Kind(
    EVAL_DATA,
    "--eval",
    (EVAL_PREFIX,),
    ("task", "task_config", "task_source"),
    {
        **_PUBLISHED,
        **{name: f"responses__{name}" for name in _OF_EVAL},
        **{"same": "responses__same_answer", "requests": "responses__provenance"},
    },
    EVAL_SCHEMA,
)


class Layout(NamedTuple):
    """The columns of one file, and of the file to write."""

    kind: Kind
    response: str
    there: Mapping[str, str]  # the columns of the file by role, those of its questions among them
    graded: Mapping[str, str]  # the columns to write by role of GRADED: replaced, or added at the end
    written: pa.Schema

    @property
    def is_eval(self) -> bool:
        return self.kind.name == EVAL.name  # not by identity: another process has a copy


def layout_of(schema: pa.Schema, path: Path, kind: Kind) -> Layout:
    """Return the layout of a file. Raises ValueError if a column is missing, there twice or of the wrong type."""
    response = next((name for name in kind.responses if name in schema.names), None)
    if response is None:
        named = ", ".join(map(repr, schema.names[:_NAMED_COLUMNS])) or "none"
        wanted = " or ".join(map(repr, kind.responses))
        raise ValueError(f"{path}: no column {wanted}, which gives the responses; it has {named}")
    names = {role: name.replace("{response}", response) for role, name in kind.roles.items()}
    names |= {"question": "question", "answer": "answer", "source": "task_source", "metadata": "metadata"}
    names["task"] = next((name for name in kind.task if name in schema.names), kind.task[0])
    there = {role: name for role, name in names.items() if name in schema.names}
    for name in schema.names:
        check_once(name, schema, path)
    for role in ("question", "answer", "correct"):
        if role not in there:
            raise ValueError(f"{path}: no column {names[role]!r}; a graded set has one")
    _check_types(schema, path, {**there, "response": response}, is_eval=kind is EVAL)
    added = (*_ADDED, "attempts") if kind is EVAL else _ADDED
    graded = {role: names[role] for role in GRADED if role in there or (role in added and role in names)}
    return Layout(kind, response, there, graded, _written(schema, graded, kind, response))


def _check_types(schema: pa.Schema, path: Path, there: Mapping[str, str], *, is_eval: bool) -> None:
    texts = ("response", "extracted", "thought", "outcome", "reason", "found", "reflections")
    kinds = {
        **dict.fromkeys(texts, (1, "text")),
        **dict.fromkeys(("question", "answer", "task"), (0, "text")),
        **dict.fromkeys(("correct", "cut"), (1, "bool")),
        "inner_correct": (2, "bool"),
        "inner_extracted": (2, "text"),
    }
    for role, (deep, wanted) in kinds.items():
        if role in there and not is_of(schema.field(there[role]).type, deep, wanted, fewer=not is_eval):
            lists = f" or lists of it, at most {deep} deep" if deep else ""
            expected = f"{'lists of ' * deep}{wanted}" if is_eval else f"{wanted}{lists}"
            found = schema.field(there[role]).type
            raise ValueError(f"{path}: column {there[role]!r} is of type {found}; expected {expected}")
    if is_eval:
        ours = {"attempts": EVAL_SCHEMA.field(EVAL.roles["attempts"]).type}
    else:
        ours = {"attempts": SCHEMA.field(ATTEMPTS).type, "reflected": SCHEMA.field(PROVENANCE).type}
        ours["seen"] = SCHEMA.field(SEEN_COLUMN).type
    for role, type_ in ours.items():
        if role not in there or (found := schema.field(there[role]).type) == type_:
            continue
        # An earlier version has fewer fields of requests.
        entry = found.value_type if is_list(found) else found
        if role != "reflected" or not is_part(entry, type_.value_type) or not {"verdict", "valid"} <= {*_names(entry)}:
            raise ValueError(f"{path}: column {there[role]!r} is not as written here; expected {type_}")


def _names(struct: pa.DataType) -> list[str]:
    return [field.name for field in struct] if pa.types.is_struct(struct) else []


def _written(schema: pa.Schema, graded: Mapping[str, str], kind: Kind, response: str) -> pa.Schema:
    """Return the schema to write: types as they were where new values fit, added columns, then the grades before."""
    changed: dict[str, pa.DataType] = {}
    before = {}
    for role, name in graded.items():
        place, ours = schema.get_field_index(name), _our_type(role, name, kind, response)
        if place < 0:
            listed = is_list(schema.field(response).type)
            type_ = ours.value_type if role == "extracted" and is_list(ours) and not listed else ours
            schema, changed[name] = schema.append(pa.field(name, type_)), type_
            continue
        field = schema.field(place)
        before[f"{name}{BEFORE}"] = field.type
        if not _takes(field.type):
            type_ = ours if is_list(field.type) or not is_list(ours) or role not in ("correct", "extracted") else None
            type_ = ours.value_type if type_ is None else type_
            schema, changed[name] = schema.set(place, field.with_type(type_)), type_
        elif not field.nullable:
            schema = schema.set(place, field.with_nullable(True))
    for name, type_ in before.items():
        place = schema.get_field_index(name)
        field = pa.field(name, type_)
        schema = schema.append(field) if place < 0 else schema.set(place, field)
    return with_features(schema, changed | before)


def _our_type(role: str, name: str, kind: Kind, response: str) -> pa.DataType:
    named = name.replace(response, kind.responses[0], 1) if name.startswith(response) else name
    return kind.schema.field(named).type


def _takes(type_: pa.DataType) -> bool:
    """Return False for a type that new values may not fit: one without a value, or with a dictionary."""
    if pa.types.is_struct(type_):
        return all(_takes(field.type) for field in type_)
    if is_list(type_):
        return not pa.types.is_fixed_size_list(type_) and _takes(type_.value_type)
    return not pa.types.is_null(type_) and not pa.types.is_dictionary(type_)
