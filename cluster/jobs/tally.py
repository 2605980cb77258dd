"""What becomes of dealt items: finished ones go into shards, failed ones into failed.json, and both are counted.

An item is finished, failed or owed. What lies in a shard is finished, whatever failed.json says.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pyarrow as pa

from cluster.errors import AllFailedError
from cluster.inference.pool import Done, Event, Failed, Loading, Lost, Started
from cluster.jobs.atomic import atomic_write_text
from cluster.jobs.plan import Item, JobPlan
from cluster.jobs.progress import ASKED_AGAIN, Progress
from cluster.jobs.run_directory import LOGS
from cluster.jobs.store import ShardStore

FILE = "failed.json"
SHARD_ROWS = 2_000
SHARD_S = 20.0
FAILED_FROM_THE_START = 32
"""If this many fail before one succeeds, the run is broken, not the items."""


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


class Tally:
    """What the pool tells of dealt items: kept, counted and told on."""

    def __init__(
        self,
        plan: JobPlan,
        store: ShardStore,
        failures: Failures,
        done: int = 0,
        look: Callable[[pa.Table], str] | None = None,
    ) -> None:
        """Units of the plan that are `done` before are no news; `look` says what there is to say of an item's rows."""
        self._plan, self._store, self._failures = plan, store, failures
        self._look = look
        self.progress = Progress(plan.count(plan.keys), done=done, unit=plan.unit)
        self.again = 0
        """Items lost with their engine and dealt once more."""
        self._tables: list[pa.Table] = []
        self._shard_began = time.monotonic()
        self._done = self._output_tokens = self._lost = 0
        self._failed: list[str] = []
        self._started = Counter[str]()

    def keep(self, *, everything: bool = False) -> bool:
        """Write a shard of what is finished if it is time. Return True if one was written."""
        rows = sum(table.num_rows for table in self._tables)
        due = everything or rows >= SHARD_ROWS or time.monotonic() - self._shard_began > SHARD_S
        if due:
            self._shard_began = time.monotonic()
        if not rows or not due:
            return False
        self._store.write_shard(pa.concat_tables(self._tables))
        self._tables.clear()
        return True

    def facts(self) -> dict[str, Any]:
        """Return how far this start has come: items done, tokens written, seconds since the first engine, engines."""
        return {
            f"{self._plan.item}s": self._done,
            "failed": len(self._failed),
            "done_again": self.again,
            "output_tokens": self._output_tokens,
            "seconds": round(self.progress.seconds, 1),
            "engines": {"started": dict(self._started), "lost": self._lost},
        }

    def take(self, event: Event[Any, Any]) -> None:
        """Count one event and tell a person of it. Raises AllFailedError where all fail from the start."""
        tell = self.progress.say
        match event:
            case Done(item, result):
                self._tables.append(result.table)
                self._done += 1
                self._output_tokens += result.output_tokens
                self.progress.advance(result.output_tokens, self._plan.size(item.key))
                if self._look is not None and (told := self._look(result.table)):
                    tell(told, "warning")
            case Failed(item, reason, story):
                self._fail(item, reason, story)
            case Lost(number, reason, again):
                self.again += again
                self._lost += 1
                tell(f"engine {number} was lost ({reason})" + (f"; {again} {self._plan.item}s again" if again else ""))
            case Loading(number):
                tell(f"engine {number} loading the model")
            case Started(number, info):
                self._started[f"{info.engine} {info.engine_version}"] += 1
                self.progress.ready()
                tell(f"engine {number} ready: {info.engine} {info.engine_version}")
        self.progress.turn()

    def _fail(self, item: Item, reason: str, story: str) -> None:
        self.progress.advance(0, self._plan.size(item.key))
        with (self._plan.out / LOGS / "failed.txt").open("a", encoding="utf-8", errors="replace") as log:
            log.write(f"{self._plan.item} {item.key}\n{story}\n\n")
        self._failures.add(item, reason)
        self._failed.append(item.key)
        if not self._done and len(self._failed) >= FAILED_FROM_THE_START:
            self._failures.forget(self._failed)
            raise AllFailedError(f"the first {len(self._failed)} {self._plan.item}s all failed: {reason}", ASKED_AGAIN)
