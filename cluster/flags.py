"""Strict parsing of command lines into frozen dataclasses. The only user of fire, which formats --help and no more.

Fire guesses types, accepts one-letter flags, and finds a typo after the work; here an error comes first, in one line.
"""

import contextlib
import io
import json
import math
import os
import re
import shlex
import sys
import textwrap
import types
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, Field, field, fields
from inspect import Parameter, Signature, get_annotations, getdoc
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

from cluster.jobs.run_directory import PROJECT, code_version
from cluster.texts import nearest, shortened

T = TypeVar("T")
Bounds = tuple[float, float]
HELP_WIDTH = 80
LONGEST_MESSAGE = 600
_LONGEST_WORD = 160
_FLAG = re.compile(r"--|-[a-zA-Z]")
_DASHES = tuple("\u2010\u2011\u2012\u2013\u2014\u2015\u2212")
_NOT_OURS = re.compile(r"\x1b\[\d*m|(?<=    )-\w, (?=--)|\n +Default: ''")
"""To be removed from Fire's help: colors, one-letter flags, which are refused here, and the default of `_help`."""
_JSON = dict[str, Any]


def _object(text: str) -> dict[str, Any]:
    """Return a JSON object. Raises ValueError if it is none, gives a key twice, or holds what JSON and UTF-8 cannot."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"{_shown(twice[0])} is given twice in it")
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
    _JSON: ("a JSON object", "(?s:.+)", _object),
}


def flag(
    default: Any,
    text: str,
    path: Callable[[str], str] | None = None,
    bounds: Bounds | None = None,
    *,
    words: bool = False,
) -> Any:
    """Return a field for `parse`, required if `default` is MISSING. `path` parses paths; the class checks `bounds`.

    A comma list may also be given as several `words`.
    """
    return field(default=default, metadata={"help": text, "path": path, "bounds": bounds, "words": words})


def parse(config_class: type[T], argv: Sequence[str] | None = None, *, first: str | None = None) -> T:
    """Return the parsed dataclass. Raises SystemExit: 0 after --help or --version, 2 after an error, even its own.

    Words that belong to no flag are those of `first`, if a flag is named there.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What the terminal's encoding has no letter for is a question mark there, and ends no run.
        sys.stdout.reconfigure(errors="replace")
    tokens = sys.argv[1:] if argv is None else list(argv)
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        # No work ends because a terminal's encoding lacks a character.
        sys.stdout.reconfigure(errors="replace")
    flags = {one.name: one for one in fields(config_class)}  # type: ignore[arg-type]
    kinds = get_type_hints(config_class)
    if "--help" in tokens or "-h" in tokens or tokens == ["help"]:
        page(_help(config_class, flags, kinds))
        raise SystemExit(0)
    if "--version" in tokens:
        page(f"{PROJECT} {code_version()['version'] or '(not installed)'}")
        raise SystemExit(0)
    wordy = {name for name, one in flags.items() if one.metadata.get("words")}
    try:
        texts = _split(_led(tokens, kinds, wordy, first) if first else tokens, kinds, wordy)
        for name, one in flags.items():
            if one.default is MISSING and name not in texts:
                raise ValueError(f"--{name} is missing; it needs {_wanted(kinds[name])}: --{name}=VALUE")
        return config_class(**{name: _value(flags[name], kinds[name], text) for name, text in texts.items()})
    except ValueError as error:
        fail(str(error))


def fail(message: str) -> NoReturn:
    """Exit with 2 over invalid input, printing the message on one line of stderr, unprintable characters escaped."""
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message)
    if len(line) > LONGEST_MESSAGE:
        line = " ".join(shortened(word, _LONGEST_WORD) for word in line.split(" "))
    print(f"error: {shortened(line, LONGEST_MESSAGE)}", file=sys.stderr)
    raise SystemExit(2)


def page(text: str) -> None:
    """Print a text; its reader may stop early, as `head` does."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # So that Python can flush what is left in the buffer at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _members(kind: Any) -> list[Any]:
    """Return the members of a union, or the type itself; never None beside str, since "none" is a text."""
    members = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    return [member for member in members if member is not types.NoneType or str not in members]


def _wanted(kind: Any) -> str:
    if len(members := _members(kind)) > 1:
        return " or ".join(map(_wanted, members))
    arguments = get_args(members[0])
    if get_origin(members[0]) is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    is_tuple = get_origin(members[0]) is tuple
    return f"a comma list ({_wanted(arguments[0])} each)" if is_tuple else _PLAIN[members[0]][0]


def _read(kind: Any, text: str) -> Any:
    for one in sorted(_members(kind), key=[str, Path].__contains__):  # these take anything, so they come last
        with contextlib.suppress(ValueError):
            if get_origin(one) is tuple:
                return tuple(_read(get_args(one)[0], item.strip()) for item in text.split(","))
            if get_origin(one) is Literal:
                return get_args(one)[[*map(str, get_args(one))].index(text)]
            _, written, read = _PLAIN[one]
            if re.fullmatch(written, text) and (value := read(text)) not in (math.inf, -math.inf):
                return value
    raise ValueError(text)


def _value(one: Field[Any], kind: Any, text: str) -> Any:
    """Parse the text of a flag. Raises ValueError, naming the flag, the type that it takes and the text."""
    try:
        value = _read(kind, text)
    except ValueError:
        why = _fault_of_object(text) if _JSON in _members(kind) else ""
        raise ValueError(f"--{one.name} wants {_wanted(kind)}, not {_shown(text)}{why}") from None
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


def _shown(text: str) -> str:
    return repr(shortened(text, 60))


def _led(tokens: Sequence[str], kinds: Mapping[str, Any], wordy: Collection[str], first: str) -> list[str]:
    """Return the tokens with the words that are no value of a flag as the value of the flag `first`."""
    words, rest, flag = list[str](), list[str](), ""
    for token in tokens:
        if token.startswith("-"):
            written, equals, _ = token.partition("=")
            name = written.removeprefix("--").replace("-", "_")
            # A switch needs no value.
            flag = "" if equals or kinds.get(name) is bool else name
        elif flag or token.lower() in ("true", "false"):
            flag = flag if flag in wordy else ""
        elif first in wordy or not words:
            words.append(token)
            continue
        rest.append(token)
    return [f"--{first}={','.join(words)}", *rest] if words else rest


def _split(tokens: Sequence[str], kinds: Mapping[str, Any], wordy: Collection[str] = ()) -> dict[str, str]:
    """Return the text of each flag. Raises ValueError for anything but flags with values, each given once.

    All the words behind a `wordy` flag are joined by commas.
    """
    switches = {f"no{name}": name for name, kind in kinds.items() if bool in _members(kind)}
    given, waiting = dict[str, str](), deque(tokens)
    while waiting:
        if not _FLAG.match(token := waiting.popleft()):
            raise ValueError(_stray(token, given))
        if token == "--":
            raise ValueError("a bare -- is not taken; every value belongs to a flag: --flag=value")
        written, equals, text = token.partition("=")
        word = written.removeprefix("--").replace("-", "_")
        name = switches.get(word, word)
        if name not in kinds or not written.startswith("--"):
            near = [f"--{one}" for one in nearest(word.strip("_"), [*kinds, *switches, "help", "version"], most=3)]
            hint = f"did you mean {' or '.join(near)}?" if near else "--help lists them all"
            raise ValueError(f"unknown flag {_shown(written)}; {hint}")
        if name in given:
            raise ValueError(f"--{name} is given twice; give it once")
        if word in switches and equals:
            raise ValueError(f"{written} takes no value; write {written} or --{name}=false")
        if word in switches:
            text = "false"
        elif not equals and waiting and not _FLAG.match(waiting[0]):
            text = waiting.popleft()
        elif not equals and name in switches.values():
            text = "true"
        elif not equals:
            raise ValueError(f"--{name} needs a value, {_wanted(kinds[name])}: --{name}=VALUE")
        while name in wordy and waiting and not _FLAG.match(waiting[0]):
            text = f"{text},{waiting.popleft()}"
        given[name] = text
    return given


def _stray(word: str, given: Mapping[str, str]) -> str:
    """Explain what is wrong with a word that belongs to no flag and follows those given."""
    if word[:1] in _DASHES:
        return f"{_shown(word)} begins with a dash that is no hyphen, as word processors make them: write --flag=value"
    if not given:
        return f"stray word {_shown(word)}; a value follows its flag: --flag=value"
    name, text = list(given.items())[-1]
    return f"stray word {_shown(word)} after --{name} {_shown(text)}; quote a value that has spaces: --{name}='...'"


def _help(config_class: Any, flags: Mapping[str, Field[Any]], kinds: Mapping[str, Any]) -> str:
    """Return Fire's help for a function with these flags, wrapped, with the type, default and meaning of each."""
    from fire import helptext, trace

    def command() -> None: ...

    def base_of(name: str) -> int:
        return next(n for n, one in enumerate(config_class.__mro__) if name in get_annotations(one))

    parameters = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=Parameter.empty if one.default is MISSING else "")
        # Required flags come first, then a command's own before those of its bases, which other commands have too.
        for name, one in sorted(flags.items(), key=lambda item: (item[1].default is not MISSING, base_of(item[0])))
    ]
    command.__doc__, command.__signature__ = getdoc(config_class), Signature(parameters)  # type: ignore[attr-defined]
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    name = f"python -m {spec.name}" if spec else os.path.basename(sys.argv[0])
    text = _NOT_OURS.sub("", helptext.HelpText(command, trace.FireTrace(command, name)))
    lines = []
    for line in text.replace(shlex.quote(name), name).splitlines():
        found = re.match("    --(.+)=", line)
        for words in (line, *(_flag_lines(flags[found[1]], kinds[found[1]]) if found else ())):
            indent = words[: len(words) - len(words.lstrip())]
            lines.append(textwrap.fill(words, HELP_WIDTH, subsequent_indent=indent, break_on_hyphens=False))
    return "\n".join(lines)


def _flag_lines(one: Field[Any], kind: Any) -> list[str]:
    default, meaning = one.default, one.metadata.get("help", "")
    if isinstance(default, tuple):
        default = ",".join(map(str, default)) or "none"
    elif isinstance(default, bool):
        default = str(default).lower()
    elif default is None:
        default = MISSING if "default:" in meaning else "not given"
    lines = (f"Type: {_wanted(kind)}", "" if default is MISSING else f"Default: {default}", meaning)
    return [f"        {line}" for line in lines if line]
