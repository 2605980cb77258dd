"""Who made what and when: the project's version and commit, the command line, and a run's starts.

A run is started as often as it takes; each start is an entry of run.json that says how far it came.
"""

from __future__ import annotations

import importlib.metadata
import json
import shlex
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from cluster.jobs.run_directory import JSON, RunDirectory

PROJECT = "skillfactory-data"
"""As it is installed."""
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
    return {"version": installed.version, "commit": _checkout() or _recorded(installed.read_text("direct_url.json"))}


def _checkout() -> str | None:
    """The commit of the checkout that holds this very file; another repository around it does not count."""
    here = Path(__file__)
    if _git("ls-files", "--error-unmatch", here.name) is None:
        return None
    commit = _git("rev-parse", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", "../..")
    return f"{commit}-changed" if commit and changed else commit


def _git(*arguments: str) -> str | None:
    """What git says in this file's folder; None where there is no git, or it knows no answer."""
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_GIT_S)
    except (OSError, subprocess.SubprocessError):
        return None
    return said.stdout.strip()


def _recorded(direct_url: str | None) -> str | None:
    commit = json.loads(direct_url or "{}").get("vcs_info", {}).get("commit_id")
    return str(commit) if commit else None


def now() -> str:
    """Return the time as it stands in run.json and cards: UTC, to the second, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def this_command(**facts: Any) -> dict[str, Any]:
    """Return an entry for what this process does: its command, code and the time it began, with `facts`."""
    return {"command": command_line(), **code_version(), "begun": now(), **facts}


class Start:
    """This start of a run, as the last entry of `starts` in its run.json.

    `ended` is the time of the last word: where a process was killed, of what it had told until then.
    """

    def __init__(self, directory: RunDirectory) -> None:
        self._directory = directory
        self._before: list[Mapping[str, Any]] = [*directory.record.get("starts", [])]
        self._facts = this_command()
        self.tell(state="started")

    def tell(self, **facts: Any) -> None:
        """Set facts of this start, JSON values, and the time."""
        self._facts |= {**facts, "ended": now()}
        self._directory.update(starts=self.all())

    def all(self) -> list[Mapping[str, Any]]:
        """Return all starts of the run, this one last."""
        return [*self._before, dict(self._facts)]


class Recorded:
    """A job that keeps its state and its starts in the run.json of its run directory."""

    directory: RunDirectory

    @cached_property
    def start(self) -> Start:
        """This start's entry in run.json."""
        return Start(self.directory)

    def tell(self, state: str, **facts: JSON) -> None:
        """Write the state of the run and of this start into run.json, and facts of the run."""
        self.directory.update(state=state, **facts)
        self.start.tell(state=state)
