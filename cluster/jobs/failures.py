"""The failed items of a run, in failed.json, with the reason of each."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from cluster.jobs.atomic import atomic_write_text

FAILED_ITEMS = "failed.json"


class Failures:
    """The failed items of failed.json by key. Raises ValueError if that file cannot be read."""

    def __init__(self, run: Path) -> None:
        self._path = run / FAILED_ITEMS
        try:
            self._known: dict[str, Any] = json.loads(self._path.read_text(encoding="utf-8"))
            if not all("reason" in entry for entry in self._known.values()):
                raise ValueError("an entry gives no reason")
        except FileNotFoundError:
            self._known = {}
        except (ValueError, AttributeError, TypeError) as error:
            raise ValueError(f"{self._path} cannot be read; remove it, and its questions are tried again") from error

    def reasons(self) -> dict[str, str]:
        return {key: str(known["reason"]) for key, known in self._known.items()}

    def add(self, key: str, *, task: str, question: str, reason: str) -> None:
        facts = {"task": task, "question": question, "reason": reason}
        self._write(self._known | {key: {name: value for name, value in facts.items() if value}})

    def forget(self, keys: Collection[str]) -> None:
        """Let these be tried again."""
        self._write({key: known for key, known in self._known.items() if key not in keys})

    def _write(self, known: dict[str, Any]) -> None:
        self._known = known
        atomic_write_text(self._path, json.dumps(known, indent=1) + "\n")
