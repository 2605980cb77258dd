"""What a flag takes: its type as users read it, and its value from a text."""

import contextlib
import json
import math
import re
import types
from collections.abc import Callable
from dataclasses import Field
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from cluster.texts import shortened

JSON_OBJECT = dict[str, Any]


def _object(text: str) -> dict[str, Any]:
    """Return a JSON object. Raises ValueError if it is none, gives a key twice, or holds what JSON and UTF-8 cannot."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"{shown(twice[0])} is given twice in it")
        return dict(pairs)

    try:
        value = json.loads(text, object_pairs_hook=once)
        # Reading lets pass NaN, numbers too large for a float, and halves of characters.
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except RecursionError:
        raise ValueError("too many brackets in each other") from None
    if not isinstance(value, dict):
        raise ValueError('it is written {"name": value}')
    return value


_PLAIN: dict[Any, tuple[str, str, Callable[[str], Any]]] = {  # of each type: name, pattern of values, parser
    int: ("a whole number", r"-?[0-9]+", int),
    float: ("a finite number", r"-?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?", float),
    bool: ("true or false", "(?ai:true|false)", lambda text: text.lower() == "true"),
    types.NoneType: ("none", "(?i:none)", lambda _: None),
    str: ("a text", "(?s:.+)", str),
    Path: ("a path", "(?s:.+)", Path),
    JSON_OBJECT: ("a JSON object", "(?s:.+)", _object),
}


def members(kind: Any) -> list[Any]:
    """Return the members of a union, or the type itself; never None beside str, since "none" is a text."""
    found = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    return [member for member in found if member is not types.NoneType or str not in found]


def wanted(kind: Any) -> str:
    """Return what a flag of this type takes, in words."""
    if len(several := members(kind)) > 1:
        return " or ".join(map(wanted, several))
    arguments = get_args(several[0])
    if get_origin(several[0]) is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    is_tuple = get_origin(several[0]) is tuple
    return f"a comma list ({wanted(arguments[0])} each)" if is_tuple else _PLAIN[several[0]][0]


def _read(kind: Any, text: str) -> Any:
    for one in sorted(members(kind), key=[str, Path].__contains__):  # these take anything, so they come last
        with contextlib.suppress(ValueError):
            if get_origin(one) is tuple:
                return tuple(_read(get_args(one)[0], item.strip()) for item in text.split(","))
            if get_origin(one) is Literal:
                return get_args(one)[[*map(str, get_args(one))].index(text)]
            _, written, read = _PLAIN[one]
            if re.fullmatch(written, text) and (value := read(text)) not in (math.inf, -math.inf):
                return value
    raise ValueError(text)


def value_of(one: Field[Any], kind: Any, text: str) -> Any:
    """Parse the text of a flag. Raises ValueError, naming the flag, the type that it takes and the text."""
    try:
        value = _read(kind, text)
    except ValueError:
        why = _fault_of_object(text) if JSON_OBJECT in members(kind) else ""
        raise ValueError(f"--{one.name} wants {wanted(kind)}, not {shown(text)}{why}") from None
    if (path := one.metadata.get("path")) is None or not isinstance(value, str | Path | tuple):
        return value
    try:
        # The text as typed: a Path has lost a slash of s3://.
        return tuple(map(path, value)) if isinstance(value, tuple) else type(value)(path(text))
    except ValueError as error:
        raise ValueError(f"--{one.name} {error}") from None


def _fault_of_object(text: str) -> str:
    """Say why a text is no JSON object: a shell that took the quotes away is met often, and hard to see."""
    try:
        _object(text)
    except ValueError as error:
        return f": {error}"
    return ""


def shown(text: str) -> str:
    """Return the text quoted, and cut if it is long."""
    return repr(shortened(text, 60))
