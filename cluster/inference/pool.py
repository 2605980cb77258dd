"""The scheduler: which replica gets which item, what happens to the items of a dead one, and the events it yields."""

import math
import time
import traceback
from collections import defaultdict, deque
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, NamedTuple, Protocol, Self, TypeAlias, TypeVar

from cluster.errors import ClusterLostError, ItemFailedError
from cluster.inference.engine import EngineInfo, error_text

Item = TypeVar("Item")
Result = TypeVar("Result")


class Loading(NamedTuple):
    """An engine has its process and is loading the model."""

    number: int
    words: str = "loading the model"


class Started(NamedTuple):
    """An engine is ready."""

    number: int
    info: EngineInfo


class Lost(NamedTuple):
    """An engine died; the items it held are requeued."""

    number: int
    reason: str
    again: int = 0


class Tick(NamedTuple):
    """Nothing has happened for a moment: time to check the clock."""


class Done(NamedTuple, Generic[Item, Result]):
    item: Item
    result: Result


class Failed(NamedTuple, Generic[Item]):
    """An item has no result and is not retried."""

    item: Item
    reason: str  # one line
    story: str  # the traceback, if there is one


Event: TypeAlias = Loading | Started | Lost | Tick | Done[Item, Result] | Failed[Item]

TRIES = 3  # attempts at an item whose work raises
_DEATHS = 2  # engine deaths after which an item is quarantined, that is, run alone
_DEATHS_ALONE = 2  # deaths of engines that held an item alone, after which it has failed
_TICK_S = 0.5


class Finished(NamedTuple):
    """The work on an item has returned, or raised an error other than its engine's death."""

    number: int
    ticket: Hashable
    result: Any = None
    error: BaseException | None = None


class Replicas(Protocol):
    """What the scheduler needs of the engines, each identified by a number, which its replacements inherit.

    `ready` are those that take items. `submit` begins the work on an item and returns the ticket that its Finished will
    carry. `poll` restarts what died and yields what happens within `timeout_s`, nothing from a replica after its Lost;
    it raises EngineStartError and ClusterLostError.
    """

    def ready(self) -> Collection[int]: ...
    def submit(self, number: int, item: Any, /) -> Hashable: ...
    def poll(self, timeout_s: float) -> Iterator[Event[Any, Any] | Finished]: ...
    def close(self) -> None: ...


def items_in_flight(max_sequences: int, per_item: int) -> int:
    """Return how many items fill an engine of `max_sequences`, plus half as many in its queue."""
    return max(2, math.ceil(1.5 * max_sequences / per_item))


def next_engine(loads: Mapping[int, int], limit: int, avoided: int | None = None) -> int | None:
    """Return the least loaded engine, the first of equals, `avoided` only if it is the only one; None if it is full."""
    others = [engine for engine in loads if engine != avoided] or loads
    number = min(others, key=lambda engine: (loads[engine], engine), default=None)
    return number if number is not None and loads[number] < limit else None


@dataclass
class _Task(Generic[Item]):
    item: Item
    failures: int = 0
    deaths: int = 0
    deaths_alone: int = 0
    died_on: int | None = None  # the last engine that died while it held this item
    refused_by: int | None = None  # the engine on which the work raised ItemFailedError; it is retried once on another


class Pool(Generic[Item, Result]):
    """Gives items to replicas, at most `in_flight` to each. A context manager; `run` may be called several times."""

    def __init__(self, replicas: Replicas, in_flight: int) -> None:
        self._replicas, self._limit = replicas, in_flight
        self._source: Iterator[Item] = iter(())
        self._waiting: deque[_Task[Item]] = deque()
        self._running: dict[int, dict[Hashable, _Task[Item]]] = defaultdict(dict)  # by replica and ticket
        self._quarantine: deque[_Task[Item]] = deque()  # items that may have killed engines: each runs alone
        self._isolated: int | None = None  # the replica reserved for the quarantine
        self._stop_at: float | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # Without Ray nothing can be closed, and calls would wait forever.
        if kind is None or not issubclass(kind, ClusterLostError):
            self._replicas.close()

    def stop(self, grace_s: float) -> None:
        """Submit nothing more; `run` ends when the running items have returned, or after `grace_s` seconds."""
        self._stop_at = time.monotonic() + grace_s

    def run(self, items: Iterable[Item]) -> Iterator[Event[Item, Result]]:
        """Yield events, each item once, as Done or Failed, in any order. Raises EngineStartError, ClusterLostError."""
        self._source = iter(items)
        while not self._over():
            while self._stop_at is None and (scheduled := self._schedule()):
                number, task = scheduled
                self._running[number][self._replicas.submit(number, task.item)] = task
            for event in self._replicas.poll(_TICK_S):
                if isinstance(event, Finished):
                    yield from self._finish(event)
                elif isinstance(event, Lost):
                    yield from self._preempt(event)
                else:
                    yield event

    def _over(self) -> bool:
        running = any(self._running.values())
        if self._stop_at is not None:
            return not running or time.monotonic() > self._stop_at
        return not (running or self._quarantine or self._has_next())

    def _has_next(self) -> bool:
        """Return True if an item is left to submit, which is then the first of `_waiting`."""
        if not self._waiting:
            self._waiting.extend(_Task(item) for item in islice(self._source, 1))
        return bool(self._waiting)

    def _schedule(self) -> tuple[int, _Task[Item]] | None:
        """Return which replica gets which item next; None if all are full or no item is left."""
        loads = {number: len(self._running[number]) for number in self._replicas.ready()}
        if self._quarantine and self._isolated not in loads:
            # Not the engine that died, which may be at fault itself.
            self._isolated = next_engine(loads, self._limit + 1, self._quarantine[0].died_on)
        if self._isolated is not None and not loads.get(self._isolated, 0):
            if self._quarantine and self._isolated in loads:
                return self._isolated, self._quarantine.popleft()
            self._isolated = None
        loads = {number: load for number, load in loads.items() if number != self._isolated}
        if next_engine(loads, self._limit) is None or not self._has_next():
            return None
        number = next_engine(loads, self._limit, self._waiting[0].refused_by)
        return None if number is None else (number, self._waiting.popleft())

    def _finish(self, event: Finished) -> Iterator[Done[Item, Result] | Failed[Item]]:
        """Yield an item's outcome; if the work raised, it is retried, up to TRIES in all."""
        task, error = self._running[event.number].pop(event.ticket), event.error
        if error is None:
            yield Done(task.item, event.result)
            return
        task.failures += 1
        over, reason = task.failures >= TRIES, f"{error_text(error)} ({TRIES} times)"
        if isinstance(error, ItemFailedError):
            over, reason = task.refused_by is not None or len(self._replicas.ready()) == 1, str(error)
            task.refused_by = event.number
        if over:
            yield Failed(task.item, reason, "".join(traceback.format_exception(error)))
        else:
            self._waiting.append(task)

    def _preempt(self, lost: Lost) -> Iterator[Lost | Failed[Item]]:
        """Requeue a dead engine's items at the front, or in quarantine if they may have killed it."""
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
