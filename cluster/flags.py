"""A strict command line on python-fire over a frozen dataclass. The only home of fire.

Whatever is wrong ends in one line on stderr and exit code 2, before any work. Fire guesses nothing: it
binds texts to fields and writes the help; types are read here. Knows no command in particular.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import importlib.metadata
import inspect
import io
import os
import re
import shlex
import sys
import textwrap
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn, TypeVar, get_type_hints

import fire

from cluster.flag_values import default_text, members, read_value, shown, wanted
from cluster.jobs.provenance import PROJECT

T = TypeVar("T")

HELP_WIDTH = 80
LONGEST_MESSAGE = 600
_LONGEST_WORD = 160
_LONG_WORD = re.compile(rf"\S{{{_LONGEST_WORD + 1},}}")
_FLAG = re.compile(r"--|-[a-zA-Z]")
_MARK = re.compile(r"<(?P<what>default|type) (?P<place>\d+)>")
_LEFT_OUT = "\0"
_DASHES = tuple("\u2010\u2011\u2012\u2013\u2014\u2015\u2212")
_SHORT_FORM = re.compile(r"^( +)-\w, --", re.MULTILINE)


def parse(config_class: type[T], argv: Sequence[str] | None = None) -> T:
    """The dataclass built from the command line (default: this process's own).

    Of a field, metadata["help"] is the line of help, and metadata["path"] reads a text that may be a path.
    Raises SystemExit: 0 after --help or --version, 2 after one line on stderr, also for a ValueError of the
    dataclass's own checks.
    """
    tokens = sys.argv[1:] if argv is None else list(argv)
    fields = _fields(config_class)
    if "--help" in tokens or "-h" in tokens or tokens == ["help"]:
        page(_help(config_class, fields))
        raise SystemExit(0)
    if "--version" in tokens:
        page(f"{PROJECT} {_version()}")
        raise SystemExit(0)
    try:
        texts = _bind(fields, _split(tokens, fields))
        values = {name: read_value(name, fields[name].kind, text, fields[name].path) for name, text in texts.items()}
        return config_class(**values)
    except ValueError as error:
        fail(str(error))


def fail(message: str) -> NoReturn:
    """End the program over wrong input: one line on stderr, whatever the message holds, exit code 2."""
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message)
    if len(line) > LONGEST_MESSAGE:
        line = _LONG_WORD.sub(lambda found: shortened(found[0], _LONGEST_WORD), line)
    print(f"error: {shortened(line, LONGEST_MESSAGE)}", file=sys.stderr)
    raise SystemExit(2)


def page(text: str) -> None:
    """Print a text that is all there is to say; who reads it may stop early, as `head` does."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # What is left in the buffer goes nowhere when Python flushes it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def shortened(text: str, longest: int) -> str:
    """The text, where it is longer without its middle: what is wrong stands first, what to do last."""
    kept = (longest - 3) // 2
    return text if len(text) <= longest else f"{text[: longest - 3 - kept]}...{text[-kept:]}"


def _version() -> str:
    try:
        return importlib.metadata.version(PROJECT)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


class _Field(NamedTuple):
    kind: Any
    default: Any
    """inspect.Parameter.empty where the flag must be given."""
    help: str
    path: Callable[[str], str] | None


class _Shown:
    """Its repr is the text: how a mark reaches Fire's help unquoted."""

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
        told = field.metadata
        fields[field.name] = _Field(hints[field.name], default, told.get("help", ""), told.get("path"))
    return fields


def _split(tokens: Sequence[str], fields: Mapping[str, _Field]) -> dict[str, str]:
    """Flag names and their texts. Raises ValueError for anything that is not one flag with its value."""
    given: dict[str, str] = {}
    waiting = deque(tokens)
    while waiting:
        token = waiting.popleft()
        written, equals, text = token.partition("=")
        if not _FLAG.match(token):
            raise ValueError(_stray(token, given))
        if token == "--":
            raise ValueError("a bare -- is not taken; every value belongs to a flag: --flag=value")
        name, negated = _name(written, fields)
        if name in given:
            raise ValueError(f"--{name} is given twice; give it once")
        if negated:
            if equals:
                raise ValueError(f"{written} takes no value; write {written} or --{name}=false")
            text = "false"
        elif not equals and waiting and not _FLAG.match(waiting[0]):
            text = waiting.popleft()
        elif not equals and bool in members(fields[name].kind):
            text = "true"
        elif not equals:
            raise ValueError(f"--{name} needs a value, {wanted(fields[name].kind)}: --{name}=VALUE")
        given[name] = text
    for name, field in fields.items():
        if field.default is inspect.Parameter.empty and name not in given:
            raise ValueError(f"--{name} is missing; it needs {wanted(field.kind)}: --{name}=VALUE")
    return given


def _stray(word: str, given: Mapping[str, str]) -> str:
    """What is wrong with a word that belongs to no flag, after those given."""
    if word[:1] in _DASHES:
        return f"{shown(word)} begins with a dash that is no hyphen, as word processors make them: write --flag=value"
    if not given:
        return f"stray word {shown(word)}; a value follows its flag: --flag=value"
    name, text = list(given.items())[-1]
    return f"stray word {shown(word)} after --{name} {shown(text)}; quote a value that has spaces: --{name}='...'"


def _name(written: str, fields: Mapping[str, _Field]) -> tuple[str, bool]:
    """The field a flag names, and whether it is switched off (--nodry_run)."""
    known = written.startswith("--")
    name = written.removeprefix("--").replace("-", "_")
    if known and name in fields:
        return name, False
    switches = {f"no{name}": name for name, field in fields.items() if bool in members(field.kind)}
    if known and name in switches:
        return switches[name], True
    candidates = [*fields, *switches, "help", "version"]
    close = difflib.get_close_matches(name.strip("_").lower(), candidates, n=3, cutoff=0.5)
    near = " or ".join(f"--{candidate}" for candidate in close)
    hint = f"did you mean {near}?" if close else "--help lists them all"
    raise ValueError(f"unknown flag {shown(written)}; {hint}")


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
                else _Shown(f"<default {place}>"),
                # Fire shows a parameter's type by its __qualname__, and cuts what is long.
                annotation=type(f"<type {place}>", (), {}),
            )
            for place, (name, field) in enumerate(fields.items())
        ]
    )
    return command


def _help(config_class: type, fields: Mapping[str, _Field]) -> str:
    """Fire's help, less the one-letter forms that are refused here, wrapped."""
    told = [f"    {name}: {field.help}" for name, field in fields.items() if field.help]
    doc = "\n".join([inspect.getdoc(config_class) or "", "", "Args:", *told])
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    name = f"python -m {spec.name}" if spec else os.path.basename(sys.argv[0])
    # Fire writes help to stderr, through a pager where stdout is a terminal.
    written, unused = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(unused),
        contextlib.redirect_stderr(written),
        contextlib.suppress(SystemExit),
    ):
        fire.Fire(_command(fields, doc, {}), ["--", "--help"], name=name)
    text = _SHORT_FORM.sub(r"\1--", written.getvalue()).replace(shlex.quote(name), name)
    lines = [_wrapped(line, fields) for line in text.rstrip().splitlines()]
    return "\n".join(line for line in lines if line != _LEFT_OUT)


def _wrapped(line: str, fields: Mapping[str, _Field]) -> str:
    """The line of help, with what a mark stands for; _LEFT_OUT for a default that the field's own help tells."""
    if found := _MARK.search(line):
        field = list(fields.values())[int(found["place"])]
        if found["what"] == "default" and field.default is None and "default:" in field.help:
            return _LEFT_OUT
        told = wanted(field.kind) if found["what"] == "type" else default_text(field.default)
        line = line[: found.start()] + told
    indent = line[: len(line) - len(line.lstrip())]
    return textwrap.fill(line, HELP_WIDTH, subsequent_indent=indent, break_on_hyphens=False)
