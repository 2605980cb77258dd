"""Flags in files: those of `--config FILE.toml`, and run.toml, in which a run keeps the flags that it was given.

A key is a flag's name; a comma list may be an array, a JSON object a table.
"""

import json
import os
import re
import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, Literal, get_origin

from cluster.flag_help import groups_of
from cluster.flag_values import JSON_OBJECT, members, shown, value_of, wanted
from cluster.paths import each_part
from cluster.texts import nearest

_COUNT = re.compile(r":\d+$")
_WHERE = re.compile(r" \(at (line (\d+), column \d+|end of document)\)$")
_HEAD = """\
# The flags of a run of skillfactory-data: python -m COMMAND --config THIS_FILE
# A path that begins with ./ or ../ is taken from the folder of this file.
"""


def read_flags(
    path: str, flags: Mapping[str, Field[Any]], kinds: Mapping[str, Any], *, outweighed: Collection[str] = ()
) -> dict[str, Any]:
    """Return the values of the flags in a file, but those `outweighed`. Raises ValueError, naming file and line."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        given = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise ValueError(f"--config {path} is no UTF-8 text: {error.reason} at byte {error.start}") from error
    except OSError as error:
        raise ValueError(f"--config {path} cannot be read: {error.strerror}; give a TOML file") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        found = _WHERE.search(str(error))
        line = found[2] if found and found[2] else len(text.splitlines())
        why = _WHERE.sub("", str(error)) if found else "too many brackets in each other"
        raise ValueError(f'{path} line {line}: {why}; a flag is written name = 5, or name = "text"') from error
    values = dict[str, Any]()
    for key, value in given.items():
        place, name = f"{path} line {_line_of(key, text)}", key.replace("-", "_")
        if name not in flags:
            near = nearest(name.strip("_"), [*flags], most=3)
            hint = f"did you mean {' or '.join(near)}?" if near else "--help lists them all"
            raise ValueError(f"{place}: unknown flag {shown(key)}; {hint}")
        if name in values:
            raise ValueError(f"{place}: {name} is given twice; give it once")
        try:
            values[name] = value_of(flags[name], kinds[name], _as_text(flags[name], kinds[name], value, Path(path)))
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from error
    return {name: value for name, value in values.items() if name not in outweighed}


def _line_of(key: str, text: str) -> int:
    """Return the line of a top-level key, 1 if it cannot be told."""
    found = re.search(rf"^[ \t]*\[?[ \t]*[\"']?{re.escape(key)}[\"']?[ \t]*[\].=]", text, re.MULTILINE)
    return text.count("\n", 0, found.start()) + 1 if found else 1


def _as_text(one: Field[Any], kind: Any, value: Any, file: Path) -> str:
    """Return the value as it would stand on the command line. Raises ValueError if it is of another type."""
    several, path = members(kind), one.metadata.get("path")
    listed = any(get_origin(member) is tuple for member in several)
    worded = listed or any(member in (str, Path) or get_origin(member) is Literal for member in several)

    def refuse() -> ValueError:
        return ValueError(f"--{one.name} wants {wanted(kind)}, not {shown(json.dumps(value, default=str))}")

    if isinstance(value, dict):
        if JSON_OBJECT not in several:
            raise refuse()
        try:
            return json.dumps(value, ensure_ascii=False)
        except TypeError as error:
            raise ValueError(f"--{one.name}: {error}") from error
    if isinstance(value, list):
        items = [item for item in value if isinstance(item, str | int | float)]
        if not (listed or path is each_part) or len(items) < len(value) or any("," in str(item) for item in items):
            raise refuse()
        return ",".join(_beside(str(item), file) if path else _number(item) for item in items)
    if isinstance(value, bool):
        if bool not in several:
            raise refuse()
        return str(value).lower()
    if isinstance(value, int | float) and (worded or int in several or float in several):
        return _number(value)
    if isinstance(value, str) and (worded or JSON_OBJECT in several):
        parts = value.split(",") if listed or path is each_part else [value]
        return ",".join(_beside(part, file) for part in parts) if path else value
    raise refuse()


def _number(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _beside(text: str, file: Path) -> str:
    """Return a path in a file as the command line would have it; what is no path, such as a name, as it is."""
    if not text or os.path.isabs(text) or text.startswith("~"):
        return text
    there = os.path.join(file.parent, text)
    if text in (".", "..") or text.startswith(("./", "../")) or os.path.exists(_COUNT.sub("", there)):
        return os.path.relpath(there)
    return text


def written(settings: Any, folder: Path) -> str:
    """Return the text of the run.toml in this folder: the flags of a command that are not at their defaults."""
    flags = {one.name: one for one in fields(settings)}
    groups, simple, tables = groups_of(flags), dict[str, list[str]](), list[str]()
    for name, one in flags.items():
        value = getattr(settings, name)
        if value == one.default or one.metadata.get("once") or value in (None, ()):
            continue
        if isinstance(value, dict) and _has_none(value) is False:
            tables += ["", f"[{name}]", *(f"{_key(key)} = {_toml(inner)}" for key, inner in value.items())]
            continue
        path = one.metadata.get("path")
        simple.setdefault(groups[name], []).append(f"{name} = {_toml(_placed(value, path, folder))}")
    if "out" in flags:
        told = [line for line in simple.pop("output", []) if not line.startswith("out = ")]
        simple["output"] = ['out = "."', *told]
    blocks = ["\n".join([f"\n# {group}" if group else "", *lines]) for group, lines in simple.items()]
    return "\n".join([_HEAD.rstrip(), *blocks, *tables]) + "\n"


def _placed(value: Any, path: Callable[[str], str] | None, folder: Path) -> Any:
    """Return relative paths that exist as seen from the folder."""
    if path is None or not isinstance(value, str | Path | tuple):
        return value
    if isinstance(value, tuple):
        return [_placed(item, path, folder) for item in value]
    if path is each_part and "," in str(value):
        return ",".join(_placed(part, path, folder) for part in str(value).split(","))
    text = str(value)
    if os.path.isabs(text) or not os.path.exists(_COUNT.sub("", text)):
        return text
    seen = os.path.relpath(text, folder)
    return seen if seen.startswith(".") else f"./{seen}"


def _has_none(value: Any) -> bool:
    """Return True if a JSON value holds null, which TOML does not know."""
    if isinstance(value, dict):
        return any(map(_has_none, value.values()))
    return any(map(_has_none, value)) if isinstance(value, list) else value is None


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict) and _has_none(value):
        return _toml(json.dumps(value, ensure_ascii=False))
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(key)} = {_toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, int | float):
        return repr(value)
    # A JSON string is a basic string of TOML, but for the one control character that JSON lets stand.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml(name)
