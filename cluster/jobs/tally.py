"""Counts, reports and stores what a start of a run finishes."""

import time
from collections import Counter
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from cluster.errors import AllFailedError
from cluster.inference.pool import Done, Event, Failed, Loading, Lost, Started
from cluster.inference.replicas import Placement
from cluster.jobs.failures import Failures
from cluster.jobs.plan import JobPlan
from cluster.jobs.progress import ASKED_AGAIN, say
from cluster.jobs.run_directory import LOGS
from cluster.jobs.store import ShardStore

SHARD_ROWS = 2_000
SHARD_S = 20.0
FAILED_FROM_THE_START = 32  # if this many items fail before one succeeds, the run is broken, not the items


def say_engines(placed: Placement, logs: Path) -> None:
    """Tell which engines are started, and what each takes at once."""
    logs.mkdir(exist_ok=True)
    gpus = f"{placed.gpus_each} GPU each, logs in {logs}" if placed.gpus_each else ""
    where = "in this process, " if placed.hosted else ""
    say("engines", f"{placed.engines} {where}{gpus or placed.settings.place(logs)}")
    if limits := placed.limits:
        most = f"{limits.sequences:,} sequences and {limits.tokens:,} tokens a step"
        say("engines", f"{most} each: {limits.reason}")


class Tally:
    """Counts, reports and stores the items of this start."""

    def __init__(self, plan: JobPlan, store: ShardStore, failures: Failures) -> None:
        self._plan, self._store, self._failures = plan, store, failures
        # Items finished; items requeued because their engine was lost; tokens generated; engines lost.
        self.done = self.again = self.output_tokens = self.engines_lost = self._units = 0
        self.failed: list[str] = []  # keys of failed items
        self.engines = Counter[str]()  # engines started, by name and version
        self._began: float | None = None
        self._tables: list[pa.Table] = []
        self._shard_began = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._began is not None and kind is None:
            rate = f", {self.rate}" if self.rate else ""
            say("rollout", f"{self._units} {self._plan.unit} in {self.seconds:.0f} s{rate}")

    @property
    def seconds(self) -> float:
        """Return the seconds since the first engine was ready."""
        return 0.0 if self._began is None else time.monotonic() - self._began

    @property
    def rate(self) -> str:
        """Return how fast tokens are generated, "" if none are."""
        return f"{self.output_tokens / self.seconds:,.0f} tokens/s" if self.output_tokens and self.seconds else ""

    def facts(self, placed: Placement) -> dict[str, Any]:
        """Return the counts for run.json, with the engines that were asked for."""
        engines: dict[str, Any] = {"wanted": placed.engines, "gpus_each": placed.gpus_each}
        engines |= {"served": True} if self._plan.model.served else {}
        engines |= {"limits": placed.limits._asdict()} if placed.limits else {}
        return {
            f"{self._plan.item}s": self.done,
            "failed": len(self.failed),
            "done_again": self.again,
            "output_tokens": self.output_tokens,
            "seconds": round(self.seconds, 1),
            "engines": {**engines, "started": dict(self.engines), "lost": self.engines_lost},
        }

    def keep(self, *, everything: bool = False) -> bool:
        """Write the finished rows to a shard if it is time, or if told to. Return True if there were any."""
        rows, now = sum(table.num_rows for table in self._tables), time.monotonic()
        if not everything and rows < SHARD_ROWS and now - self._shard_began <= SHARD_S:
            return False
        self._shard_began = now
        if rows:
            self._store.write_shard(pa.concat_tables(self._tables))
            self._tables.clear()
        return bool(rows)

    def take(self, event: Event[Any, Any]) -> None:
        """Count and report an event. Raises AllFailedError if all items fail from the start."""
        match event:
            case Done(item, result):
                self._tables.append(result.table)
                self.done += 1
                self.output_tokens += result.output_tokens
                self._units += self._plan.size(item.key)
            case Failed(item, reason, story):
                self._units += self._plan.size(item.key)
                with (self._plan.out / LOGS / "failed.txt").open("a", encoding="utf-8", errors="replace") as log:
                    log.write(f"{self._plan.item} {item.key}\n{story}\n\n")
                self._failures.add(item.key, task=item.task, question=item.text, reason=reason)
                self.failed.append(item.key)
                if not self.done and len(self.failed) >= FAILED_FROM_THE_START:
                    self._failures.forget(self.failed)
                    words = f"the first {len(self.failed)} {self._plan.item}s all failed: {reason}"
                    raise AllFailedError(words, ASKED_AGAIN)
            case Lost(number, reason, again):
                self.again += again
                self.engines_lost += 1
                words = f"; {again} {self._plan.item}s again" if again else ""
                say("engines", f"engine {number} was lost ({reason}){words}")
            case Loading(number, words):
                say("engines", f"engine {number} {words}")
            case Started(number, info):
                name = f"{info.engine} {info.engine_version}"
                self.engines[name] += 1
                say("engines", f"engine {number} ready: {name}")
                if self._began is None:
                    self._began = time.monotonic()
