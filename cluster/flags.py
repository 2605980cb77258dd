"""Strict parsing of command lines into frozen dataclasses.

Fire guesses types, accepts one-letter flags, and finds a typo after the work; here an error comes first, in one line.
"""

import io
import os
import re
import sys
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, field, fields
from typing import Any, NoReturn, TypeVar, get_type_hints

from cluster.flag_files import read_flags
from cluster.flag_help import help_page
from cluster.flag_values import members, shown, value_of, wanted
from cluster.jobs.run_directory import PROJECT, code_version
from cluster.paths import local
from cluster.texts import nearest, shortened

T = TypeVar("T")
Bounds = tuple[float, float]
LONGEST_MESSAGE = 600
_LONGEST_WORD = 160
_FLAG = re.compile(r"--|-[a-zA-Z]")
_DASHES = tuple("\u2010\u2011\u2012\u2013\u2014\u2015\u2212")
FILE = "config"
_OF_FILE = "a TOML file that gives flags, which those on the command line outweigh: docs/growing.md"


def flag(
    default: Any,
    text: str,
    path: Callable[[str], str] | None = None,
    bounds: Bounds | None = None,
    *,
    words: bool = False,
    group: str = "",
    often: bool = False,
    once: bool = False,
) -> Any:
    """Return a field for `parse`, required if `default` is MISSING. `path` parses paths; the class checks `bounds`.

    A comma list may also be given as several `words`. In --help a `group` begins with this flag, and holds those after
    it, what is used `often` first. What is said `once`, of one start alone, is no part of the flags that a run keeps.
    """
    told = {"help": text, "path": path, "bounds": bounds, "words": words, "group": group, "often": often, "once": once}
    return field(default=default, metadata=told)


def parse(config_class: type[T], argv: Sequence[str] | None = None, *, first: str | None = None) -> T:
    """Return the parsed dataclass. Raises SystemExit: 0 after --help or --version, 2 after an error, even its own.

    Words that belong to no flag are those of `first`, if a flag is named there.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What the terminal's encoding has no letter for is a question mark there, and ends no run.
        sys.stdout.reconfigure(errors="replace")
    tokens = sys.argv[1:] if argv is None else list(argv)
    flags = {one.name: one for one in fields(config_class)}  # type: ignore[arg-type]
    kinds = get_type_hints(config_class)
    # A command whose own flag has this name, as a trainer's configuration, takes no flags from a file.
    grouped = any(one.metadata.get("group") for one in flags.values())
    by_file = {} if FILE in flags else {FILE: given_by_file("output" if grouped else "")}
    known: dict[str, Any] = {**dict.fromkeys(by_file, str | None), **kinds}
    if "--help" in tokens or "-h" in tokens or tokens == ["help"]:
        page(help_page(config_class, {**flags, **by_file}, known))
        raise SystemExit(0)
    if "--version" in tokens:
        page(f"{PROJECT} {code_version()['version'] or '(not installed)'}")
        raise SystemExit(0)
    wordy = {name for name, one in flags.items() if one.metadata.get("words")}
    try:
        texts = _split(_led(tokens, known, wordy, first) if first else tokens, known, wordy)
        file = texts.pop(FILE, None) if by_file else None
        values = {name: value_of(flags[name], kinds[name], text) for name, text in texts.items()}
        if file is not None:
            file = value_of(given_by_file(), str | None, file)
            values = {**read_flags(file, flags, kinds, outweighed=values), **values}
        for name, one in flags.items():
            if one.default is MISSING and name not in values:
                raise ValueError(f"--{name} is missing; it needs {wanted(kinds[name])}: --{name}=VALUE")
        return config_class(**values)
    except ValueError as error:
        fail(str(error))


def given_by_file(group: str = "") -> Any:
    """Return the flag that commands have beside their own."""
    one = flag(None, _OF_FILE, local, group=group)
    one.name = FILE
    return one


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
    switches = {f"no{name}": name for name, kind in kinds.items() if bool in members(kind)}
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
            raise ValueError(f"unknown flag {shown(written)}; {hint}")
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
            raise ValueError(f"--{name} needs a value, {wanted(kinds[name])}: --{name}=VALUE")
        while name in wordy and waiting and not _FLAG.match(waiting[0]):
            text = f"{text},{waiting.popleft()}"
        given[name] = text
    return given


def _stray(word: str, given: Mapping[str, str]) -> str:
    """Explain what is wrong with a word that belongs to no flag and follows those given."""
    if word[:1] in _DASHES:
        return f"{shown(word)} begins with a dash that is no hyphen, as word processors make them: write --flag=value"
    if not given:
        return f"stray word {shown(word)}; a value follows its flag: --flag=value"
    name, text = list(given.items())[-1]
    return f"stray word {shown(word)} after --{name} {shown(text)}; quote a value that has spaces: --{name}='...'"
