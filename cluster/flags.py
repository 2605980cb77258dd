"""A strict command line on python-fire over a frozen dataclass. The only home of fire.

Whatever is wrong ends in one line on stderr and exit code 2, before any work. Fire guesses nothing: it
binds texts to fields and writes the help; types are read here. Knows no command in particular.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import inspect
import io
import math
import os
import re
import shlex
import sys
import textwrap
import types
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

import fire

T = TypeVar("T")

HELP_WIDTH = 80
LONGEST_MESSAGE = 600
_LONGEST_VALUE = 60

_INT = re.compile(r"-?[0-9]+")
_FLOAT = re.compile(r"-?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_FLAG = re.compile(r"--|-[a-zA-Z]")
_SHORT_FORM = re.compile(r"^( +)-\w, --", re.MULTILINE)


def parse(config_class: type[T], argv: Sequence[str] | None = None) -> T:
    """The dataclass built from the command line (default: this process's own).

    A field's line of help is its metadata["help"]. Raises SystemExit: 0 after --help, 2 after one line
    on stderr, also for a ValueError of the dataclass's own checks.
    """
    tokens = sys.argv[1:] if argv is None else list(argv)
    fields = _fields(config_class)
    if "--help" in tokens or "-h" in tokens:
        print(_help(config_class, fields))
        raise SystemExit(0)
    try:
        texts = _bind(fields, _split(tokens, fields))
        return config_class(**{name: _read(name, fields[name].kind, text) for name, text in texts.items()})
    except ValueError as error:
        fail(str(error))


def fail(message: str) -> NoReturn:
    """End the program over wrong input: one line on stderr, whatever the message holds, exit code 2."""
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message)
    if len(line) > LONGEST_MESSAGE:
        line = line[: LONGEST_MESSAGE - 3] + "..."
    print(f"error: {line}", file=sys.stderr)
    raise SystemExit(2)


class _Field(NamedTuple):
    kind: Any
    default: Any
    """inspect.Parameter.empty where the flag must be given."""
    help: str


class _Shown:
    """Its repr is the text: how a default reaches Fire's help unquoted."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _fields(config_class: Any) -> dict[str, _Field]:
    hints = get_type_hints(config_class)
    fields = {}
    for field in dataclasses.fields(config_class):
        assert len(field.name) > 1, "one-letter flags are refused"
        default: Any = inspect.Parameter.empty
        if field.default is not dataclasses.MISSING:
            default = field.default
        elif field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        fields[field.name] = _Field(hints[field.name], default, field.metadata.get("help", ""))
    return fields


def _split(tokens: Sequence[str], fields: Mapping[str, _Field]) -> dict[str, str]:
    """Flag names and their texts. Raises ValueError for anything that is not one flag with its value."""
    given: dict[str, str] = {}
    waiting = deque(tokens)
    while waiting:
        token = waiting.popleft()
        written, equals, text = token.partition("=")
        name, negated = _name(token, written, fields)
        if name in given:
            raise ValueError(f"--{name} is given twice; give it once")
        if negated:
            if equals:
                raise ValueError(f"{written} takes no value; write {written} or --{name}=false")
            text = "false"
        elif not equals and waiting and not _FLAG.match(waiting[0]):
            text = waiting.popleft()
        elif not equals and bool in _members(fields[name].kind):
            text = "true"
        elif not equals:
            raise ValueError(f"--{name} needs a value, {_wanted(fields[name].kind)}: --{name}=VALUE")
        given[name] = text
    for name, field in fields.items():
        if field.default is inspect.Parameter.empty and name not in given:
            raise ValueError(f"--{name} is missing; it needs {_wanted(field.kind)}: --{name}=VALUE")
    return given


def _name(token: str, written: str, fields: Mapping[str, _Field]) -> tuple[str, bool]:
    """The field a flag names, and whether it is switched off (--nodry_run)."""
    if not _FLAG.match(token):
        raise ValueError(f"stray word {_shown(token)}; a value follows its flag: --flag=value")
    if token == "--":
        raise ValueError("a bare -- is not taken; every value belongs to a flag: --flag=value")
    known = written.startswith("--")
    name = written.removeprefix("--").replace("-", "_")
    if known and name in fields:
        return name, False
    switches = {f"no{name}": name for name, field in fields.items() if bool in _members(field.kind)}
    if known and name in switches:
        return switches[name], True
    candidates = [*fields, *switches, "help"]
    close = difflib.get_close_matches(name.strip("_").lower(), candidates, n=3, cutoff=0.5)
    near = " or ".join(f"--{candidate}" for candidate in close)
    hint = f"did you mean {near}?" if close else "--help lists them all"
    raise ValueError(f"unknown flag {_shown(written)}; {hint}")


def _bind(fields: Mapping[str, _Field], given: Mapping[str, str]) -> dict[str, str]:
    """Fire binds the texts. Each goes in as a Python literal, or Fire would guess a type from it."""
    taken: dict[str, str] = {}
    fire.Fire(_command(fields, "", taken), [f"--{name}={text!r}" for name, text in given.items()])
    assert taken == given, "Fire changed what it was given"
    return taken


def _command(fields: Mapping[str, _Field], doc: str, taken: dict[str, str]) -> Any:
    """The function Fire calls: its signature has the fields as keyword-only parameters."""

    def command(**texts: str) -> None:
        taken.update(texts)

    command.__doc__ = doc
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty
                if field.default is inspect.Parameter.empty
                else _Shown(_default_text(field.default)),
                # Fire shows a parameter's type by its __qualname__.
                annotation=type(_wanted(field.kind), (), {}),
            )
            for name, field in fields.items()
        ]
    )
    return command


def _help(config_class: type, fields: Mapping[str, _Field]) -> str:
    """Fire's help, less the one-letter forms that are refused here, wrapped."""
    lines = [f"    {name}: {field.help}" for name, field in fields.items() if field.help]
    doc = "\n".join([inspect.getdoc(config_class) or "", "", "Args:", *lines])
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    name = f"python -m {spec.name}" if spec else os.path.basename(sys.argv[0])
    # Fire writes help to stderr, through a pager where stdout is a terminal.
    page, unused = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(unused),
        contextlib.redirect_stderr(page),
        contextlib.suppress(SystemExit),
    ):
        fire.Fire(_command(fields, doc, {}), ["--", "--help"], name=name)
    text = _SHORT_FORM.sub(r"\1--", page.getvalue()).replace(shlex.quote(name), name)
    return "\n".join(_wrapped(line) for line in text.rstrip().splitlines())


def _wrapped(line: str) -> str:
    indent = line[: len(line) - len(line.lstrip())]
    return textwrap.fill(line, HELP_WIDTH, subsequent_indent=indent, break_on_hyphens=False)


def _read(name: str, kind: Any, text: str) -> Any:
    """The text as a value of the kind. Raises ValueError naming the flag, the kind wanted and the text."""
    members = _members(kind)
    if type(None) in members and str not in members and text.lower() == "none":
        return None
    # A text or a path takes anything, so those are asked last.
    for member in sorted(members, key=lambda member: member in (str, Path)):
        with contextlib.suppress(ValueError):
            return _read_plain(member, text)
    raise ValueError(f"--{name} wants {_wanted(kind)}, not {_shown(text)}")


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


def _members(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


_WANTED = {
    int: "a whole number",
    float: "a finite number",
    bool: "true or false",
    str: "a text",
    Path: "a path",
    type(None): "none",
}


def _wanted(kind: Any) -> str:
    """The kind in words."""
    members = _members(kind)
    if len(members) > 1:
        # An optional text has no way to say none: "none" is a text.
        return " or ".join(_wanted(m) for m in members if not (m is type(None) and str in members))
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    if get_origin(kind) is tuple:
        item, more = get_args(kind)
        assert more is ..., "only tuple[X, ...] can be read"
        return f"a comma list ({_wanted(item)} each)"
    assert kind in _WANTED, f"no flag can be of type {kind}"
    return _WANTED[kind]


def _default_text(value: Any) -> str:
    if value is None:
        return "not given"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value) or "empty"


def _shown(text: str) -> str:
    """A text of the user's as it may stand in a message: quoted, on one line, not too long."""
    return repr(text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "...")
