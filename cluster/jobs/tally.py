"""The items dealt to engines, as they end: finished ones go into shards, failed ones into failed.json; all are counted.

An item is finished, failed or owed. One that lies in a shard is finished, whatever failed.json says.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from cluster.errors import AllFailedError
from cluster.inference.pool import Done, Event, Failed, Loading, Lost, Started
from cluster.inference.replicas import Placement
from cluster.jobs.atomic import atomic_write_text
from cluster.jobs.plan import Item, JobPlan
from cluster.jobs.progress import ASKED_AGAIN, progress, say
from cluster.jobs.run_directory import LOGS
from cluster.jobs.store import ShardStore

FILE = "failed.json"
SHARD_ROWS = 2_000
SHARD_S = 20.0
FAILED_FROM_THE_START = 32
"""If so many items fail before one succeeds, the run is broken, not the items."""


class Failures:
    """The failed items in failed.json by key, each with its task, its whole text and the reason.

    Raises ValueError if that file cannot be read.
    """

    def __init__(self, run: Path) -> None:
        self._path = run / FILE
        try:
            self._known: dict[str, Any] = json.loads(self._path.read_text(encoding="utf-8"))
            assert all("reason" in entry for entry in self._known.values())
        except FileNotFoundError:
            self._known = {}
        except (ValueError, AttributeError, TypeError, AssertionError) as error:
            raise ValueError(f"{self._path} cannot be read; remove it, and its questions are tried again") from error

    def reasons(self) -> dict[str, str]:
        return {key: str(known["reason"]) for key, known in self._known.items()}

    def add(self, item: Item, reason: str) -> None:
        facts = {"task": item.task, "question": item.text, "reason": reason}
        self._write(self._known | {item.key: {name: value for name, value in facts.items() if value}})

    def forget(self, keys: Collection[str]) -> None:
        """Make these owed again."""
        self._write({key: known for key, known in self._known.items() if key not in keys})

    def _write(self, known: dict[str, Any]) -> None:
        self._known = known
        atomic_write_text(self._path, json.dumps(known, indent=1) + "\n")


class Tally:
    """The items dealt at this start: counted, told to a person as they end, and their rows kept in shards.

    `look` is shown the rows of each item, and returns a warning or "".
    """

    def __init__(
        self, plan: JobPlan, store: ShardStore, failures: Failures, look: Callable[[pa.Table], str] = lambda _: ""
    ) -> None:
        self._plan, self._store, self._failures, self._look = plan, store, failures, look
        self.done = self.again = self.output_tokens = self.engines_lost = self._units = 0
        """Items finished, and items dealt again because their engine was lost; tokens written; engines lost."""
        self.failed: list[str] = []
        """Keys of failed items."""
        self.engines = Counter[str]()
        """Started, by their name and version."""
        self._began: float | None = None
        self._bar = progress("loading")
        self._tables: list[pa.Table] = []
        self._shard_began = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._bar.close()
        if self._began is not None and kind is None:
            rate = f", {self.rate}" if self.rate else ""
            say("rollout", f"{self._units} {self._plan.unit} in {self.seconds:.0f} s{rate}")

    @property
    def seconds(self) -> float:
        """Return the seconds since the first engine was ready."""
        return 0.0 if self._began is None else time.monotonic() - self._began

    @property
    def rate(self) -> str:
        """Return how fast tokens are written, "" if none are."""
        return f"{self.output_tokens / self.seconds:,.0f} tokens/s" if self.output_tokens and self.seconds else ""

    def facts(self, placed: Placement) -> dict[str, Any]:
        """Return the counts as run.json has them, with the engines that were wanted."""
        engines = {"wanted": placed.engines, "gpus_each": placed.gpus_each}
        return {
            f"{self._plan.item}s": self.done,
            "failed": len(self.failed),
            "done_again": self.again,
            "output_tokens": self.output_tokens,
            "seconds": round(self.seconds, 1),
            "engines": {**engines, "started": dict(self.engines), "lost": self.engines_lost},
        }

    def keep(self, *, everything: bool = False) -> bool:
        """Write a shard of the finished rows if it is time. Return True if one was written."""
        rows, now = sum(table.num_rows for table in self._tables), time.monotonic()
        if not everything and rows < SHARD_ROWS and now - self._shard_began <= SHARD_S:
            return False
        self._shard_began = now
        if rows:
            self._store.write_shard(pa.concat_tables(self._tables))
            self._tables.clear()
        return bool(rows)

    def take(self, event: Event[Any, Any]) -> None:
        """Count one event and tell a person of it. Raises AllFailedError if all items fail from the start."""
        match event:
            case Done(item, result):
                self._tables.append(result.table)
                self.done += 1
                self.output_tokens += result.output_tokens
                self._advance(item)
                if warning := self._look(result.table):
                    say("warning", warning)
            case Failed(item, reason, story):
                self._fail(item, reason, story)
            case Lost(number, reason, again):
                self.again += again
                self.engines_lost += 1
                words = f"; {again} {self._plan.item}s again" if again else ""
                say("engines", f"engine {number} was lost ({reason}){words}")
            case Loading(number):
                say("engines", f"engine {number} loading the model")
            case Started(number, info):
                name = f"{info.engine} {info.engine_version}"
                self.engines[name] += 1
                say("engines", f"engine {number} ready: {name}")
                if self._began is None:
                    self._began, plan = time.monotonic(), self._plan
                    self._bar.close()
                    before = plan.count({*self._store.finished(), *self._failures.reasons()})
                    self._bar = progress("rollout", plan.count(plan.keys), plan.unit, done=before)
        self._bar.update(0)

    def _advance(self, item: Item) -> None:
        units = self._plan.size(item.key)
        self._units += units
        self._bar.set_postfix_str(self.rate, refresh=False)
        self._bar.update(units)

    def _fail(self, item: Item, reason: str, story: str) -> None:
        self._advance(item)
        with (self._plan.out / LOGS / "failed.txt").open("a", encoding="utf-8", errors="replace") as log:
            log.write(f"{self._plan.item} {item.key}\n{story}\n\n")
        self._failures.add(item, reason)
        self.failed.append(item.key)
        if not self.done and len(self.failed) >= FAILED_FROM_THE_START:
            self._failures.forget(self.failed)
            raise AllFailedError(f"the first {len(self.failed)} {self._plan.item}s all failed: {reason}", ASKED_AGAIN)
