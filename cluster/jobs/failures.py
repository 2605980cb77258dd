"""Questions that have no rows for a reason of their own: kept in failed.json of the run, until tried again.

A question is finished, failed or owed. What lies in a shard is finished, whatever is written here.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any, Protocol

from cluster.jobs.atomic import atomic_write_text

FILE = "failed.json"


class Named(Protocol):
    """A question, or what else a run is dealt in."""

    @property
    def key(self) -> str: ...

    @property
    def task(self) -> str:
        """Whose question it is; empty where that cannot be said."""
        ...

    @property
    def text(self) -> str:
        """The whole question, or what else a person may know it by."""
        ...


class Failures:
    """The failed questions of a run directory by their keys, each whole, with its task and its reason."""

    def __init__(self, run: Path) -> None:
        self._path = run / FILE
        self._known = _read(self._path)

    def reasons(self) -> dict[str, str]:
        """By question key."""
        return {key: str(known["reason"]) for key, known in self._known.items()}

    def add(self, item: Named, reason: str) -> None:
        told = {"task": item.task, "question": item.text, "reason": reason}
        self._known[item.key] = {name: value for name, value in told.items() if value}
        self._write()

    def forget(self, keys: Collection[str]) -> None:
        """These are owed again."""
        self._known = {key: known for key, known in self._known.items() if key not in keys}
        self._write()

    def _write(self) -> None:
        atomic_write_text(self._path, json.dumps(self._known, indent=1) + "\n")


def _read(path: Path) -> dict[str, Any]:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        assert all("reason" in entry for entry in known.values())
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError, TypeError, AssertionError) as error:
        raise ValueError(f"{path} cannot be read; remove it, and its questions are tried again") from error
    return dict(known)
