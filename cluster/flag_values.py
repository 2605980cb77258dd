"""Flags as dataclass fields: how one is declared, its text as a value, its type in words. Nothing is guessed."""

from __future__ import annotations

import math
import re
import types
from collections.abc import Callable
from dataclasses import field
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

_LONGEST_VALUE = 60


def flag(default: Any, text: str, path: Callable[[str], str] | None = None) -> Any:
    """Return a dataclass field for `cluster.flags.parse`: `text` is its help, `path` reads a value that may be a path.

    A default of dataclasses.MISSING makes the flag a required one.
    """
    return field(default=default, metadata={"help": text, "path": path})


_INT = re.compile(r"-?[0-9]+")
_FLOAT = re.compile(r"-?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


def read_value(name: str, kind: Any, text: str, path: Callable[[str], str] | None = None) -> Any:
    """Read a text as a value of the kind; `path` reads a text that may be a path further, or each of a comma list.

    Raises ValueError naming the flag, the kind wanted and the text.
    """
    kinds = members(kind)
    if _takes_none(kinds) and text.lower() == "none":
        return None
    # A text or a path takes anything, so those are asked last.
    for member in sorted(kinds, key=lambda member: member in (str, Path)):
        try:
            value = _read_plain(member, text)
        except ValueError:
            continue
        return value if path is None else _read_path(name, path, value, text)
    raise ValueError(f"--{name} wants {wanted(kind)}, not {shown(text)}")


def _read_path(name: str, path: Callable[[str], str], value: Any, text: str) -> Any:
    try:
        if isinstance(value, tuple):
            return tuple(map(path, value))
        # As it was typed: a Path has lost a slash of s3://.
        return type(value)(path(text)) if isinstance(value, str | Path) else value
    except ValueError as error:
        raise ValueError(f"--{name} {error}") from None


def _read_plain(kind: Any, text: str) -> Any:
    """The text as a value of a kind that is no union; ValueError where it is none."""
    if get_origin(kind) is Literal:
        for choice in get_args(kind):
            if text == str(choice):
                return choice
    if get_origin(kind) is tuple:
        return tuple(_read_plain(get_args(kind)[0], item.strip()) for item in text.split(","))
    if kind is int and _INT.fullmatch(text):
        return int(text)
    if kind is float and _FLOAT.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    if kind is bool and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if kind in (str, Path) and text:
        return kind(text)
    raise ValueError(text)


def members(kind: Any) -> tuple[Any, ...]:
    """Return the members of a union, or the kind alone."""
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _takes_none(kinds: tuple[Any, ...]) -> bool:
    """An optional text has no way to say none: "none" is a text."""
    return type(None) in kinds and str not in kinds


_WANTED = {
    int: "a whole number",
    float: "a finite number",
    bool: "true or false",
    str: "a text",
    Path: "a path",
    type(None): "none",
}


def wanted(kind: Any) -> str:
    """Name the kind in words."""
    kinds = members(kind)
    if len(kinds) > 1:
        return " or ".join(wanted(one) for one in kinds if one is not type(None) or _takes_none(kinds))
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    if get_origin(kind) is tuple:
        item, more = get_args(kind)
        assert more is ..., "only tuple[X, ...] can be read"
        return f"a comma list ({wanted(item)} each)"
    assert kind in _WANTED, f"no flag can be of type {kind}"
    return _WANTED[kind]


def default_text(value: Any) -> str:
    """Write a default in words."""
    if value is None:
        return "not given"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "none"
    return str(value) or "empty"


def shown(text: str) -> str:
    """Quote a text of the user's for a message, on one line and not too long."""
    return repr(text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "...")
