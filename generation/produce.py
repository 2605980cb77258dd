"""Questions to shards: the rollout of every question that is still owed, dealt to the engines.

The driver's part only: it deals, counts and writes. What is asked of a question is `rollout`'s.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import pyarrow as pa

from cluster.inference.engine import Engine
from cluster.inference.events import Done, Failed, Loading, Lost, Started
from cluster.inference.pool import Pool
from cluster.inference.ray_replicas import RayReplicas
from cluster.inference.replicas import Placement
from cluster.jobs.failures import Failures
from cluster.jobs.progress import ASKED_AGAIN, AllFailedError, Progress, say
from cluster.jobs.stop import Stop
from cluster.jobs.store import ShardStore
from generation.plan import Plan
from generation.raw.schema import Origin, Rolled, to_table
from generation.records import Attempt, Question
from generation.rollout import Rollout

SHARD_ROWS = 2_000
SHARD_S = 20.0
FAILED_FROM_THE_START = 32
"""If this many fail before one succeeds, the run is broken, not the questions."""


class Item(NamedTuple):
    """One question and its place in the run."""

    place: int
    question: Question

    @property
    def key(self) -> str:
        return self.question.key

    @property
    def task(self) -> str:
        return self.question.task

    @property
    def text(self) -> str:
        return self.question.text

    @property
    def size(self) -> int:
        return 1


@dataclass(frozen=True)
class Work:
    """What an actor does with an item; sent to it once."""

    rollout: Rollout
    task_config: str

    async def __call__(self, engine: Engine, item: Item) -> Rolled:
        attempts = await self.rollout(engine, item.question)
        origin = Origin(engine.info, self.rollout.sampling, {item.question.key: item.place}, self.task_config)
        table = await asyncio.to_thread(to_table, attempts, origin)
        return Rolled(table, sum(map(_output_tokens, attempts)))


def _output_tokens(attempt: Attempt) -> int:
    written = attempt.completion.output_tokens
    return written + sum(reflection.completion.output_tokens for reflection in attempt.reflections)


@dataclass
class Shelf:
    """Finished questions that are not safe yet; puts them into a shard when there are enough."""

    store: ShardStore
    tables: list[pa.Table] = field(default_factory=list)
    since: float = field(default_factory=time.monotonic)

    def add(self, table: pa.Table) -> None:
        self.tables.append(table)

    def turn(self, *, everything: bool = False) -> bool:
        """Write a shard if it is time. Return True if one was written."""
        rows = sum(table.num_rows for table in self.tables)
        due = everything or rows >= SHARD_ROWS or time.monotonic() - self.since > SHARD_S
        if due:
            self.since = time.monotonic()
        if not rows or not due:
            return False
        self.store.write_shard(pa.concat_tables(self.tables))
        self.tables.clear()
        return True


class Owed(Protocol):
    """One item of work, as the driver sees it."""

    @property
    def key(self) -> str: ...

    @property
    def task(self) -> str: ...

    @property
    def text(self) -> str:
        """What failed.json shows of it."""
        ...

    @property
    def size(self) -> int:
        """What it counts for in the progress."""
        ...


Look = Callable[[pa.Table], str]
"""Shown the rows of each finished item; what there is to say of them, mostly nothing."""
OwedItem = TypeVar("OwedItem", bound=Owed)


def produce(
    plan: Plan,
    store: ShardStore,
    placement: Placement,
    stop: Stop,
    *,
    look: Look | None = None,
    tell: Callable[..., None] | None = None,
) -> int:
    """Roll every question that has no rows yet; return how many were lost with engines and done again.

    Returns early when a stop is asked for: what is finished then is in the store. `tell` gets the facts of
    `Tally.report`. Raises EngineStartError when an engine cannot start, ClusterLostError when Ray is gone.
    """
    done, failures = len(store.finished()), Failures(plan.out)
    failed = failures.reasons().keys() - store.finished()
    say_going_on(done, len(plan.questions), len(failed))
    settled = store.finished() | failed
    owed = [Item(place, q) for place, q in enumerate(plan.questions) if q.key not in settled]
    if not owed:
        return 0
    progress = Progress(len(plan.questions), done=done + len(failed))
    tally = Tally(progress, failures, placement.logs, look=look, tell=tell)
    return deal(owed, Work(plan.rollout, plan.task_config), placement, Shelf(store), tally, stop=stop)


def say_going_on(done: int, total: int, failed: int, unit: str = "questions") -> None:
    """Say what an earlier start has left, if anything."""
    if done or failed:
        words = f"; {failed:,} failed before, --retry_failed tries them again" if failed else ""
        say("rollout", f"going on: {done:,} of {total:,} {unit} are done already{words}")


def deal(
    owed: Iterable[OwedItem],
    work: Callable[[Engine, OwedItem], Awaitable[Rolled]],
    placement: Placement,
    shelf: Shelf,
    tally: Tally,
    *,
    stop: Stop,
) -> int:
    """Do the work on every item and keep its rows; return how many were lost with engines and done again.

    Ends and raises as `produce` does. Items are taken as engines have room for them.
    """
    placement.logs.mkdir(exist_ok=True)
    with Pool[OwedItem, Rolled](RayReplicas(placement, work), placement.in_flight) as pool, tally.progress:
        stop.on_stop(pool.stop)
        try:
            for event in pool.run(owed):
                if isinstance(event, Done):
                    shelf.add(event.result.table)
                tally.take(event)
                # Who asks to stop may not wait for the end.
                if shelf.turn(everything=stop.asked > 0):
                    tally.report(placement)
        finally:
            # Whatever ends the loop, what is finished is kept.
            stop.on_stop(None)
            shelf.turn(everything=True)
            tally.report(placement)
    return tally.again


@dataclass
class Tally:
    """What the pool tells, counted and told on."""

    progress: Progress
    failures: Failures
    logs: Path
    unit: str = "question"
    look: Look | None = None
    tell: Callable[..., None] | None = None
    again: int = 0
    done: int = 0
    failed: list[str] = field(default_factory=list)
    output_tokens: int = 0
    started: Counter[str] = field(default_factory=Counter)
    """Engines that became ready, by library and version."""
    lost: int = 0
    """Engines."""

    def report(self, placement: Placement) -> None:
        """Tell how far this start has come: items done, tokens written, seconds since the first engine, engines."""
        if self.tell is None:
            return
        engines = {"wanted": placement.engines, "gpus_each": placement.gpus_each}
        self.tell(
            **{f"{self.unit}s": self.done, "failed": len(self.failed), "done_again": self.again},
            output_tokens=self.output_tokens,
            seconds=round(self.progress.seconds, 1),
            engines={**engines, "started": dict(self.started), "lost": self.lost},
        )

    def take(self, event: object) -> None:
        if isinstance(event, Done):
            self.done += 1
            self.output_tokens += event.result.output_tokens
            self.progress.advance(event.result.output_tokens, event.item.size)
            if self.look is not None and (told := self.look(event.result.table)):
                self.progress.say(told, "warning")
        elif isinstance(event, Failed):
            self._fail(event)
        elif isinstance(event, Lost):
            self.again += event.again
            self.lost += 1
            again = f"; {event.again} {self.unit}s again" if event.again else ""
            self.progress.say(f"engine {event.number} was lost ({event.reason}){again}")
        elif isinstance(event, Loading):
            self.progress.say(f"engine {event.number} loading the model")
        elif isinstance(event, Started):
            self.started[f"{event.info.engine} {event.info.engine_version}"] += 1
            self.progress.ready()
            self.progress.say(f"engine {event.number} ready: {event.info.engine} {event.info.engine_version}")
        self.progress.turn()

    def _fail(self, event: Failed[Owed]) -> None:
        """Record it. Raises AllFailedError where all fail: then the run is wrong, not the items."""
        item = event.item
        self.progress.advance(0, item.size)
        with (self.logs / "failed.txt").open("a", encoding="utf-8", errors="replace") as log:
            log.write(f"{self.unit} {item.key}\n{event.story}\n\n")
        self.failures.add(item, event.reason)
        self.failed.append(item.key)
        if not self.done and len(self.failed) >= FAILED_FROM_THE_START:
            self.failures.forget(self.failed)
            raise AllFailedError(f"the first {len(self.failed)} {self.unit}s all failed: {event.reason}", ASKED_AGAIN)
