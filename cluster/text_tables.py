"""Texts kept as TOML: tables that ship with a package, or a user's own files in their place.

What is wrong with a file is told with its path and line.
"""

import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from cluster.texts import nearest

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_AT_LINE = re.compile(r"(.*) \(at line (\d+), column \d+\)", re.DOTALL)
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
Keys = Sequence[str]


@dataclass(frozen=True)
class TextTable:
    """The contents of a file. Methods raise ValueError, with file and line, for what is not as it must be."""

    path: str  # as messages name it
    source: str
    table: Mapping[str, Any]

    def fault(self, keys: Keys, told: str, near: str = "") -> ValueError:
        """Return the error to raise over the value at these keys, on the line of it that holds the text `near`."""
        return ValueError(f"{self.path}, line {_line_of(self.source, keys, near)}: {told}")

    def check_keys(self, keys: Keys, known: Collection[str], needed: Collection[str] = ()) -> Mapping[str, Any]:
        """Return the table at these keys, which has no other keys than the `known` ones, and all that are `needed`."""
        found = self.at(keys)
        where = ".".join(keys) or "the file"
        if not isinstance(found, Mapping):
            raise self.fault(keys, f"{where} must be a table")
        for name in found:
            if name not in known:
                meant = "".join(f"; did you mean {one}?" for one in nearest(name, set(known) - set(found)))
                told = f"{name!r} is unknown in {where}, which has {', '.join(known)}{meant}"
                raise self.fault([*keys, name], told)
        for name in needed:
            if name not in found:
                raise self.fault(keys, f"{where} has no {name!r}")
        return found

    def at(self, keys: Keys) -> Any:
        """Return the value at these keys, None if there is none."""
        found: Any = self.table
        for key in keys:
            found = found.get(key) if isinstance(found, Mapping) else None
        return found

    def text(
        self, keys: Keys, *, known: Collection[str] = (), needed: Collection[str] = (), blank: bool = False
    ) -> str:
        """Return the text at these keys, with `known` placeholders and no others; each `needed` one stands in it."""
        found = self.at(keys)
        if not isinstance(found, str):
            raise self.fault(keys, f"{'.'.join(keys)} must be a text")
        if not found.strip() and not blank:
            raise self.fault(keys, f"{'.'.join(keys)} is empty: fill it in")
        self.check_placeholders(keys, found, known, needed)
        return found

    def check_placeholders(self, keys: Keys, text: str, known: Collection[str], needed: Collection[str]) -> None:
        """Raise ValueError unless the text, made of what stands at these keys, holds the right placeholders."""
        there = _PLACEHOLDER.findall(text)
        for name in there:
            if name not in known:
                given = " and ".join(f"{{{one}}}" for one in known) or "none"
                raise self.fault(keys, f"the placeholder {{{name}}} is unknown here: {given} can stand", f"{{{name}}}")
        for name in needed:
            if name not in there:
                raise self.fault(keys, f"{'.'.join(keys)} lacks the placeholder {{{name}}}")

    def check_name(self, keys: Keys, taken: Collection[str] = ()) -> str:
        """Return the last key, which must be a name that rows and flags can hold, and none of those `taken`."""
        name = keys[-1]
        if not _NAME.fullmatch(name):
            raise self.fault(keys, f"the name {name!r} must be small letters, digits and _, a letter first")
        if name in taken:
            raise self.fault(keys, f"the name {name!r} is taken: give another")
        return name


def open_table(package: str, name: str, folder: Path | None = None) -> TextTable:
    """Open the file `name` of a folder, or, where that has none or no folder is given, the one in `package`.

    Raises ValueError, with file and line, for a file that is no TOML.
    """
    path, source = name, ""
    try:
        if folder is not None and (folder / name).exists():
            path = str(folder / name)
            source = (folder / name).read_text(encoding="utf-8")
        else:
            source = resources.files(package).joinpath(name).read_text(encoding="utf-8")
        return TextTable(path, source, tomllib.loads(source))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no UTF-8: save it as that") from error
    except tomllib.TOMLDecodeError as error:
        found = _AT_LINE.fullmatch(str(error))
        line, told = (found[2], found[1]) if found else (str(len(source.splitlines())), str(error).partition(" (")[0])
        raise ValueError(f"{path}, line {line}: no TOML: {told}") from error
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error


def _line_of(source: str, keys: Keys, near: str) -> int:
    """Return the line, counted from 1, where the value at these keys begins, or that of it with the text `near`."""
    lines, start = source.splitlines(), 0
    for end in range(1, len(lines) + 1):
        try:
            table: Any = tomllib.loads("\n".join(lines[:end]))
        except tomllib.TOMLDecodeError:
            continue  # in the middle of a text, or of a list
        for key in keys:
            table = table.get(key) if isinstance(table, Mapping) else None
        if table is not None and keys:
            places = [n for n in range(start, end) if lines[n].strip() and not lines[n].lstrip().startswith("#")]
            return 1 + next((n for n in places if near and near in lines[n]), places[0])
        start = end
    return 1
