"""The scheduler: which replica gets which item, what becomes of those of a dead one, and the events that it tells.

Any async (engine, item) -> result will do; it knows neither questions nor rows, nor where engines run.
"""

import math
import time
import traceback
from collections import defaultdict, deque
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, NamedTuple, Protocol, Self, TypeAlias, TypeVar

from cluster.errors import ClusterLostError, ItemFailedError
from cluster.inference.engine import EngineInfo, own_words

Item = TypeVar("Item")
Result = TypeVar("Result")


class Loading(NamedTuple):
    """An engine has a process, and loads the model."""

    number: int


class Started(NamedTuple):
    """An engine is ready."""

    number: int
    info: EngineInfo


class Lost(NamedTuple):
    """An engine died; the items it held are dealt again."""

    number: int
    reason: str
    again: int = 0


class Tick(NamedTuple):
    """Nothing happened for a moment: time to look at the clock."""


class Done(NamedTuple, Generic[Item, Result]):
    """One item's result."""

    item: Item
    result: Result


class Failed(NamedTuple, Generic[Item]):
    """One item has no result, for a reason of its own; it is not tried again."""

    item: Item
    reason: str
    """One line."""
    story: str
    """The traceback, where there is one."""


Event: TypeAlias = Loading | Started | Lost | Tick | Done[Item, Result] | Failed[Item]


TRIES = 3
"""How often the work on an item may fail."""
_DEATHS = 2
"""Engines that may die while they hold an item beside others; after that it is quarantined."""
_DEATHS_ALONE = 2
"""Engines that may die while they hold an item and nothing else; after that it is given up."""
_TICK_S = 0.5


class Finished(NamedTuple):
    """The work on an item has ended, well or in an error that is not its engine's death."""

    number: int
    ticket: Hashable
    result: Any = None
    error: BaseException | None = None


class Replicas(Protocol):
    """What the scheduler needs of the engines, each known by its number, which its replacements inherit.

    `ready` are those that take items. `submit` begins the work on an item and returns the ticket that its Finished will
    name. `poll` restarts what died and tells what has happened within `timeout_s`, nothing more of a replica that was
    Lost; it raises EngineStartError and ClusterLostError.
    """

    def ready(self) -> Collection[int]: ...
    def submit(self, number: int, item: Any, /) -> Hashable: ...
    def poll(self, timeout_s: float) -> Iterator[Event[Any, Any] | Finished]: ...
    def close(self) -> None: ...


def fill(max_sequences: int, per_item: int) -> int:
    """Return how many items keep an engine of `max_sequences` full, with half as many again waiting."""
    return max(2, math.ceil(1.5 * max_sequences / per_item))


def next_engine(loads: Mapping[int, int], limit: int, avoided: int | None = None) -> int | None:
    """Return the engine with the least in flight, the lower number first; None when all are full.

    One to be avoided is taken only where there is no other.
    """
    others = [engine for engine in loads if engine != avoided] or loads
    number = min(others, key=lambda engine: (loads[engine], engine), default=None)
    return number if number is not None and loads[number] < limit else None


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
    """Items dealt to replicas, `in_flight` to each at most. Use as a context; `run` may be called several times."""

    def __init__(self, replicas: Replicas, in_flight: int) -> None:
        self._replicas = replicas
        self._limit = in_flight
        self._source: Iterator[Item] = iter(())
        self._waiting: deque[_Task[Item]] = deque()
        self._running: dict[int, dict[Hashable, _Task[Item]]] = defaultdict(dict)
        """By replica and ticket."""
        self._quarantine: deque[_Task[Item]] = deque()
        """What may have killed its engines: run alone, so that only the guilty one dies with its engine."""
        self._isolated: int | None = None
        """The replica that is kept for the quarantine."""
        self._stop_at: float | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # Without Ray there is nobody to say goodbye to, and its calls would wait for ever.
        if kind is None or not issubclass(kind, ClusterLostError):
            self._replicas.close()

    def stop(self, grace_s: float) -> None:
        """Deal nothing more; `run` ends when what is running is back, or after `grace_s` seconds."""
        self._stop_at = time.monotonic() + grace_s

    def run(self, items: Iterable[Item]) -> Iterator[Event[Item, Result]]:
        """Yield results as they come, in any order: each item exactly once, as Done or as Failed.

        Raises EngineStartError when an engine cannot start, ClusterLostError when Ray is gone.
        """
        self._source = iter(items)
        while not self._over():
            while self._stop_at is None and (scheduled := self._schedule()):
                number, task = scheduled
                self._running[number][self._replicas.submit(number, task.item)] = task
            told = False
            for event in self._replicas.poll(_TICK_S):
                told = True
                if isinstance(event, Finished):
                    yield from self._finish(event)
                elif isinstance(event, Lost):
                    yield from self._preempt(event)
                else:
                    yield event
            if not told:
                yield Tick()

    def _over(self) -> bool:
        running = any(self._running.values())
        if self._stop_at is not None:
            return not running or time.monotonic() > self._stop_at
        return not (running or self._quarantine or self._owed())

    def _owed(self) -> bool:
        """Return True if there is an item to deal, the first of `_waiting`."""
        if not self._waiting:
            self._waiting.extend(_Task(item) for item in islice(self._source, 1))
        return bool(self._waiting)

    def _schedule(self) -> tuple[int, _Task[Item]] | None:
        """Return which replica gets what next; None when all are full or nothing is owed."""
        loads = {number: len(self._running[number]) for number in self._replicas.ready()}
        if self._quarantine and self._isolated not in loads:
            # It may be the fault of the engine that died.
            self._isolated = next_engine(loads, self._limit + 1, self._quarantine[0].died_on)
        if self._isolated is not None and not loads.get(self._isolated, 0):
            if self._quarantine and self._isolated in loads:
                return self._isolated, self._quarantine.popleft()
            self._isolated = None
        loads = {number: load for number, load in loads.items() if number != self._isolated}
        if next_engine(loads, self._limit) is None or not self._owed():
            return None
        number = next_engine(loads, self._limit, self._waiting[0].refused_by)
        return None if number is None else (number, self._waiting.popleft())

    def _finish(self, event: Finished) -> Iterator[Done[Item, Result] | Failed[Item]]:
        """Tell of an item that came back; one whose work went wrong is tried again until it has had its tries."""
        task, error = self._running[event.number].pop(event.ticket), event.error
        if error is None:
            yield Done(task.item, event.result)
            return
        task.failures += 1
        over, reason = task.failures >= TRIES, f"{own_words(error)} ({TRIES} times)"
        if isinstance(error, ItemFailedError):
            over, reason = task.refused_by is not None or len(self._replicas.ready()) == 1, str(error)
            task.refused_by = event.number
        if over:
            yield Failed(task.item, reason, "".join(traceback.format_exception(error)))
        else:
            self._waiting.append(task)

    def _preempt(self, lost: Lost) -> Iterator[Lost | Failed[Item]]:
        """Put the dead engine's items first in line, or in quarantine where they may have killed it."""
        tasks = list(self._running.pop(lost.number, {}).values())
        yield lost._replace(again=len(tasks))
        for task in reversed(tasks):
            task.died_on = lost.number
            task.deaths += 1
            task.deaths_alone += len(tasks) == 1
            if task.deaths_alone >= _DEATHS_ALONE and task.deaths > _DEATHS:
                reason = f"engines died over it, {task.deaths} times: {lost.reason}"
                yield Failed(task.item, reason, reason)
            elif task.deaths >= _DEATHS:
                self._quarantine.append(task)
            else:
                self._waiting.appendleft(task)
        if lost.number == self._isolated:
            self._isolated = None
