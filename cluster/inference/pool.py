"""Work dealt to engines, and dealt again when one dies.

Any async (engine, item) -> result will do; the pool knows neither questions nor rows. Which engine gets
what, what a dead engine still owed, and when an item is given up, is decided here.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic

import ray
from ray.exceptions import ObjectLostError, RayError, RayTaskError

from cluster.inference.actor import EngineSettings, own_words
from cluster.inference.engine import Engine, EngineDiedError
from cluster.inference.events import (
    ClusterLostError,
    Done,
    EngineStartError,
    Failed,
    Item,
    ItemFailedError,
    Loading,
    Lost,
    Result,
    Started,
    Tick,
)
from cluster.inference.replicas import Engines, Fallen, Placement

__all__ = [
    "ClusterLostError",
    "Done",
    "EngineSettings",
    "EngineStartError",
    "Failed",
    "ItemFailedError",
    "Loading",
    "Lost",
    "Placement",
    "Pool",
    "Started",
    "Tick",
    "fill",
    "next_engine",
]

TRIES = 3
"""How often the work on an item may fail."""
_DEATHS = 2
"""Engines that may die while they hold an item beside others; after that it is dealt alone."""
_DEATHS_ALONE = 2
"""Engines that may die while they hold an item and nothing else; after that it is given up."""
_TICK_S = 0.5


def fill(max_sequences: int, per_item: int) -> int:
    """How many items keep an engine of `max_sequences` full, with half as many again waiting."""
    return max(2, math.ceil(1.5 * max_sequences / per_item))


def next_engine(loads: Mapping[int, int], limit: int) -> int | None:
    """The engine with the least in flight, the lower number first; None when all are full."""
    if not loads:
        return None
    number = min(loads, key=lambda engine: (loads[engine], engine))
    return number if loads[number] < limit else None


@dataclass
class _Task(Generic[Item]):
    """An item and what has happened to it."""

    item: Item
    failures: int = 0
    deaths: int = 0
    deaths_alone: int = 0
    died_on: int | None = None
    """The engine that died last while it held this."""
    refused_by: int | None = None
    """The engine that said for good that it cannot be done; another one is asked."""


class Pool(Generic[Item, Result]):
    """Items dealt to engines. Use as a context; `run` may be called several times."""

    def __init__(
        self,
        settings: EngineSettings,
        work: Callable[[Engine, Item], Awaitable[Result]],
        placement: Placement,
    ) -> None:
        self._engines = Engines(settings, work, placement)
        self._limit = placement.in_flight
        self._held: dict[Any, tuple[int, _Task[Item]]] = {}
        self._again: deque[_Task[Item]] = deque()
        self._suspects: deque[_Task[Item]] = deque()
        self._alone: int | None = None
        """The engine that is kept for suspects."""
        self._source: Iterator[Item] = iter(())
        self._stop_at: float | None = None

    def __enter__(self) -> Pool[Item, Result]:
        list(self._engines.tend())
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # Without Ray there is nobody to say goodbye to, and its calls would wait for ever.
        if kind is None or not issubclass(kind, ClusterLostError):
            self._engines.close()

    def stop(self, grace_s: float) -> None:
        """Deal nothing more; `run` ends when what is in flight is back, or after `grace_s` seconds."""
        self._stop_at = time.monotonic() + grace_s

    def run(
        self, items: Iterable[Item]
    ) -> Iterator[Loading | Started | Lost | Tick | Done[Item, Result] | Failed[Item]]:
        """Results as they come, in any order: each item exactly once, as Done or as Failed.

        Raises EngineStartError when an engine cannot start, ClusterLostError when Ray is gone.
        """
        self._source = iter(items)
        while not self._over():
            for fallen in self._engines.tend():
                yield from self._lost(fallen)
            self._deal()
            ready = self._ready()
            if not ready:
                yield Tick()
            for ref in ready:
                yield from self._collect(ref)

    def _over(self) -> bool:
        if self._stop_at is not None:
            return not self._held or time.monotonic() > self._stop_at
        return not (self._held or self._suspects or self._owed())

    def _owed(self) -> bool:
        """Whether there is an item to deal; the next one is the first of `_again` then."""
        if not self._again:
            self._again.extend(_Task(item) for item in _first(self._source))
        return bool(self._again)

    def _ready(self) -> list[Any]:
        """Whatever has come, after a moment at most."""
        waited = [*self._engines.awaited(), *self._held]
        if not waited:
            time.sleep(_TICK_S)
            return []
        some, _ = ray.wait(waited, num_returns=1, timeout=_TICK_S)
        if not some:
            return []
        ready, _ = ray.wait(waited, num_returns=len(waited), timeout=0)
        return list(ready)

    def _deal(self) -> None:
        while self._stop_at is None:
            self._deal_alone()
            loads = {number: load for number, load in self._engines.loads().items() if number != self._alone}
            if next_engine(loads, self._limit) is None or not self._owed():
                return
            number = next_engine(_rather_not(loads, self._again[0].refused_by), self._limit)
            if number is None:
                return
            self._give(number, self._again.popleft())

    def _deal_alone(self) -> None:
        """Empty one engine and deal it the suspects one by one, so that only the guilty one dies with it."""
        loads = self._engines.loads()
        if self._suspects and self._alone not in loads:
            # It may be the fault of the engine that died.
            self._alone = next_engine(_rather_not(loads, self._suspects[0].died_on), self._limit + 1)
        if self._alone is None or loads.get(self._alone, 0):
            return
        if self._suspects and self._alone in loads:
            self._give(self._alone, self._suspects.popleft())
        else:
            self._alone = None

    def _give(self, number: int, task: _Task[Item]) -> None:
        self._held[self._engines.do(number, task.item)] = (number, task)

    def _collect(self, ref: Any) -> Iterator[Loading | Started | Lost | Done[Item, Result] | Failed[Item]]:
        if ref not in self._held:
            told = self._engines.heard(ref)
            if isinstance(told, Fallen):
                yield from self._lost(told)
            elif told is not None:
                yield told
            return
        number, task = self._held[ref]
        try:
            result = ray.get(ref)
        except RayError as error:
            of_item = isinstance(error, RayTaskError | ObjectLostError)
            if not of_item or isinstance(getattr(error, "cause", None), EngineDiedError):
                yield from self._lost(self._engines.lose(number, error))
                return
            del self._held[ref]
            self._engines.done(number, useful=False)
            yield from self._failed(task, number, error)
            return
        del self._held[ref]
        self._engines.done(number)
        yield Done(task.item, result)

    def _failed(self, task: _Task[Item], number: int, error: Exception) -> Iterator[Failed[Item]]:
        """The work went wrong over this item: once more, until it has had its tries."""
        cause = getattr(error, "cause", None) or error
        task.failures += 1
        if isinstance(cause, ItemFailedError) and task.refused_by is None and len(self._engines.loads()) > 1:
            task.refused_by = number
            self._again.append(task)
        elif isinstance(cause, ItemFailedError):
            yield Failed(task.item, str(cause), str(error))
        elif task.failures >= TRIES:
            yield Failed(task.item, f"{own_words(cause)} ({TRIES} times)", str(error))
        else:
            self._again.append(task)

    def _lost(self, fallen: Fallen) -> Iterator[Lost | Failed[Item]]:
        """Put the dead engine's items first in line, or apart where they may have killed it."""
        owed = [ref for ref, (holder, _) in self._held.items() if holder == fallen.number]
        tasks = [self._held.pop(ref)[1] for ref in owed]
        yield Lost(fallen.number, fallen.reason, len(tasks))
        for task in reversed(tasks):
            task.died_on = fallen.number
            task.deaths += 1
            task.deaths_alone += len(tasks) == 1
            if task.deaths_alone >= _DEATHS_ALONE and task.deaths > _DEATHS:
                reason = f"engines died over it, {task.deaths} times: {fallen.reason}"
                yield Failed(task.item, reason, reason)
            elif task.deaths >= _DEATHS:
                self._suspects.append(task)
            else:
                self._again.appendleft(task)
        if fallen.number == self._alone:
            self._alone = None


def _rather_not(loads: Mapping[int, int], avoided: int | None) -> Mapping[int, int]:
    """The loads without that engine, unless it is the only one."""
    return {number: load for number, load in loads.items() if number != avoided} or loads


def _first(source: Iterator[Item]) -> list[Item]:
    """The next item, if there is one."""
    for item in source:
        return [item]
    return []
