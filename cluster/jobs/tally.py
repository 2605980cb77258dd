"""What becomes of dealt items: finished ones go into shards, failed ones into failed.json, and both are counted.

An item is finished, failed or owed. What lies in a shard is finished, whatever failed.json says.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from cluster.inference.events import Done, Event, Failed, Loading, Lost, Started
from cluster.jobs.atomic import atomic_write_text
from cluster.jobs.progress import ASKED_AGAIN, AllFailedError, Progress
from cluster.jobs.store import ShardStore

FILE = "failed.json"
SHARD_ROWS = 2_000
SHARD_S = 20.0
FAILED_FROM_THE_START = 32
"""If this many fail before one succeeds, the run is broken, not the items."""


class Item(Protocol):
    """What is dealt to engines."""

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

    @property
    def size(self) -> int:
        """What it counts for in the progress."""
        ...


class Failures:
    """The failed items of a run directory by their keys, each whole, with its task and its reason."""

    def __init__(self, run: Path) -> None:
        """Raises ValueError where failed.json cannot be read."""
        self._path = run / FILE
        try:
            self._known: dict[str, Any] = json.loads(self._path.read_text(encoding="utf-8"))
            assert all("reason" in entry for entry in self._known.values())
        except FileNotFoundError:
            self._known = {}
        except (ValueError, AttributeError, TypeError, AssertionError) as error:
            raise ValueError(f"{self._path} cannot be read; remove it, and its questions are tried again") from error

    def reasons(self) -> dict[str, str]:
        """Return the reason of each failure by the item's key."""
        return {key: str(known["reason"]) for key, known in self._known.items()}

    def add(self, item: Item, reason: str) -> None:
        told = {"task": item.task, "question": item.text, "reason": reason}
        self._known[item.key] = {name: value for name, value in told.items() if value}
        self._write()

    def forget(self, keys: Collection[str]) -> None:
        """These are owed again."""
        self._known = {key: known for key, known in self._known.items() if key not in keys}
        self._write()

    def _write(self) -> None:
        atomic_write_text(self._path, json.dumps(self._known, indent=1) + "\n")


@dataclass
class Tally:
    """What the pool tells of dealt items: kept, counted and told on."""

    progress: Progress
    store: ShardStore
    failures: Failures
    logs: Path
    item: str = "question"
    """What is dealt."""
    look: Callable[[pa.Table], str] | None = None
    """Shown the rows of each finished item; returns what there is to say of them, mostly nothing."""
    tables: list[pa.Table] = field(default_factory=list)
    """Rows of finished items that are not safe yet."""
    since: float = field(default_factory=time.monotonic)
    """When the last shard was written."""
    done: int = 0
    failed: list[str] = field(default_factory=list)
    again: int = 0
    """Items lost with their engine and dealt once more."""
    output_tokens: int = 0
    started: Counter[str] = field(default_factory=Counter)
    """Engines that became ready, by library and version."""
    lost: int = 0
    """Engines."""

    def keep(self, *, everything: bool = False) -> bool:
        """Write a shard of what is finished if it is time. Return True if one was written."""
        rows = sum(table.num_rows for table in self.tables)
        due = everything or rows >= SHARD_ROWS or time.monotonic() - self.since > SHARD_S
        if due:
            self.since = time.monotonic()
        if not rows or not due:
            return False
        self.store.write_shard(pa.concat_tables(self.tables))
        self.tables.clear()
        return True

    def facts(self) -> dict[str, Any]:
        """Return how far this start has come: items done, tokens written, seconds since the first engine, engines."""
        return {
            f"{self.item}s": self.done,
            "failed": len(self.failed),
            "done_again": self.again,
            "output_tokens": self.output_tokens,
            "seconds": round(self.progress.seconds, 1),
            "engines": {"started": dict(self.started), "lost": self.lost},
        }

    def take(self, event: Event[Any, Any]) -> None:
        """Count one event and tell a person of it. Raises AllFailedError where all fail from the start."""
        tell = self.progress.say
        match event:
            case Done(item, result):
                self.tables.append(result.table)
                self.done += 1
                self.output_tokens += result.output_tokens
                self.progress.advance(result.output_tokens, item.size)
                if self.look is not None and (told := self.look(result.table)):
                    tell(told, "warning")
            case Failed(item, reason, story):
                self._fail(item, reason, story)
            case Lost(number, reason, again):
                self.again += again
                self.lost += 1
                tell(f"engine {number} was lost ({reason})" + (f"; {again} {self.item}s again" if again else ""))
            case Loading(number):
                tell(f"engine {number} loading the model")
            case Started(number, info):
                self.started[f"{info.engine} {info.engine_version}"] += 1
                self.progress.ready()
                tell(f"engine {number} ready: {info.engine} {info.engine_version}")
        self.progress.turn()

    def _fail(self, item: Item, reason: str, story: str) -> None:
        self.progress.advance(0, item.size)
        with (self.logs / "failed.txt").open("a", encoding="utf-8", errors="replace") as log:
            log.write(f"{self.item} {item.key}\n{story}\n\n")
        self.failures.add(item, reason)
        self.failed.append(item.key)
        if not self.done and len(self.failed) >= FAILED_FROM_THE_START:
            self.failures.forget(self.failed)
            raise AllFailedError(f"the first {len(self.failed)} {self.item}s all failed: {reason}", ASKED_AGAIN)
