"""The scheduler: which replica gets which item, what happens to the items of a dead one, and the events it yields."""

import math
import time
import traceback
from collections import defaultdict, deque
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Generic, NamedTuple, Protocol, Self, TypeAlias, TypeVar

from cluster.errors import ClusterLostError, ItemFailedError
from cluster.inference.engine import EngineInfo, error_text
from cluster.inference.replica import Report

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


class Load(NamedTuple):
    """How a ready engine is doing, every few seconds."""

    number: int
    report: Report
    items: int = 0  # that it holds


class Released(NamedTuple):
    """An engine was given back, since nothing is left for it."""

    number: int


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


Event: TypeAlias = Loading | Started | Lost | Load | Released | Tick | Done[Item, Result] | Failed[Item]

TRIES = 3  # attempts at an item whose work raises
_DEATHS = 2  # engine deaths after which an item is quarantined, that is, run alone
_DEATHS_ALONE = 2  # deaths of engines that held an item alone, after which it has failed
_TICK_S = 0.5
_HELD = 8  # the most items that an engine holds, in times what fills it
_EARLY = 2  # items that begin early, likewise; benchmarks/occupancy.py has what it brings
_KEPT = 2  # engines that are never given back: one takes the other's items if it dies or refuses them


class Finished(NamedTuple):
    """The work on an item has returned, or raised an error other than its engine's death."""

    number: int
    ticket: Hashable
    result: Any = None
    error: BaseException | None = None


class Vacant(NamedTuple):
    """An engine could take so many more requests."""

    number: int
    requests: int


Notice: TypeAlias = Event[Any, Any] | Finished | Vacant


class Replicas(Protocol):
    """What the scheduler needs of the engines, each identified by a number, which its replacements inherit.

    `ready` are those that take items. `submit` begins the work on an item and returns the ticket that its Finished will
    carry. `watch` asks for a Vacant, as `Replica.vacancies` tells it. `release` gives an engine back for good. `poll`
    restarts what died and yields what happens within `timeout_s`, nothing from a replica after its Lost; it raises
    EngineStartError and ClusterLostError.
    """

    def ready(self) -> Collection[int]: ...
    def submit(self, number: int, item: Any, /) -> Hashable: ...
    def watch(self, number: int, items: int, per_item: int, early: bool) -> None: ...
    def release(self, number: int) -> None: ...
    def poll(self, timeout_s: float) -> Iterator[Notice]: ...
    def close(self) -> None: ...


def items_in_flight(max_sequences: int, per_item: int) -> int:
    """Return how many items an engine of `max_sequences` may hold at most: 8 times as many as fill it."""
    return max(2, math.ceil(_HELD * max_sequences / per_item))


def next_engine(vacant: Mapping[int, int], avoided: int | None = None) -> int | None:
    """Return the engine with the most room, the first of equals, `avoided` only if alone; None if it has no room."""
    others = [engine for engine in vacant if engine != avoided] or vacant
    number = max(others, key=lambda engine: (vacant[engine], -engine), default=None)
    return number if number is not None and vacant[number] > 0 else None


def items_begun_early(max_sequences: int, per_item: int) -> int:
    """Return how many items an engine of `max_sequences` should begin at the end before it has room for them."""
    return math.ceil(_EARLY * max_sequences / per_item)


@dataclass
class _Task(Generic[Item]):
    item: Item
    failures: int = 0
    deaths: int = 0
    deaths_alone: int = 0
    died_on: int | None = None  # the last engine that died while it held this item
    refused_by: int | None = None  # the engine on which the work raised ItemFailedError; it is retried once on another


@dataclass
class _Share(Generic[Item]):
    """What an engine has of the work."""

    tasks: dict[Hashable, _Task[Item]] = field(default_factory=dict)  # by ticket
    dealt: int = 0  # items since the engine started
    vacant: int = 0  # requests that it could take, as far as known
    watched: bool | None = None  # whether the Vacant that was asked for is an early one; None if none was


class Pool(Generic[Item, Result]):
    """Gives items to replicas while they have room for requests. A context manager; `run` may be called several times.

    An item makes about `per_item` requests at once, and an engine holds `in_flight` items at most. Once no more than
    `early` items an engine are left to deal, they begin early.
    """

    def __init__(self, replicas: Replicas, in_flight: int, per_item: int = 1, early: int = 0) -> None:
        self._replicas, self._limit, self._per_item, self._early = replicas, in_flight, per_item, early
        self._source: Iterator[Item] = iter(())
        self._unread = math.inf  # items of the source not read yet, as far as known
        self._waiting: deque[_Task[Item]] = deque()
        self._shares: dict[int, _Share[Item]] = defaultdict(_Share)
        self._loading = set[int]()  # replicas that will be ready soon
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

    def run(self, items: Iterable[Item], count: float = math.inf) -> Iterator[Event[Item, Result]]:
        """Yield events, each of `count` items once as Done or Failed. Raises EngineStartError, ClusterLostError."""
        self._source, self._unread = iter(items), count
        while not self._over():
            if self._stop_at is None:
                yield from self._deal()
            for event in self._replicas.poll(_TICK_S):
                if isinstance(event, Finished):
                    yield from self._finish(event)
                elif isinstance(event, Vacant):
                    share = self._shares[event.number]
                    share.vacant, share.watched = event.requests, None
                elif isinstance(event, Lost):
                    yield from self._preempt(event)
                elif isinstance(event, Load):
                    yield event._replace(items=len(self._shares[event.number].tasks))
                else:
                    if isinstance(event, Loading):
                        self._loading.add(event.number)
                    elif isinstance(event, Started):
                        self._loading.discard(event.number)
                    yield event

    def _over(self) -> bool:
        running = any(share.tasks for share in self._shares.values())
        if self._stop_at is not None:
            return not running or time.monotonic() > self._stop_at
        return not (running or self._quarantine or self._has_next())

    def _has_next(self) -> bool:
        """Return True if an item is left to submit, which is then the first of `_waiting`."""
        if not self._waiting:
            self._waiting.extend(_Task(item) for item in islice(self._source, 1))
            self._unread = max(0, self._unread - 1) if self._waiting else 0
        return bool(self._waiting)

    def _deal(self) -> Iterator[Released]:
        """Submit what there is room for, watch the engines that have none, release those for which nothing is left."""
        while scheduled := self._schedule():
            number, task = scheduled
            share = self._shares[number]
            share.tasks[self._replicas.submit(number, task.item)] = task
            share.dealt += 1
            share.vacant -= self._per_item
        ready = self._replicas.ready()
        # Not while another engine loads, which would find nothing left.
        early = not self._loading and self._unread + len(self._waiting) <= self._early * len(ready)
        for number in ready:
            share = self._shares[number]
            if (share.vacant <= 0 and share.watched is None) or (early and share.watched is False):
                share.watched = early
                self._replicas.watch(number, share.dealt, self._per_item, early)
        if not (self._waiting or self._quarantine or self._unread):
            idle = [number for number in ready if not self._shares[number].tasks]
            for number in idle[: max(0, len(ready) - _KEPT)]:
                self._replicas.release(number)
                # If it has to come back after all, it begins with nothing.
                del self._shares[number]
                yield Released(number)

    def _schedule(self) -> tuple[int, _Task[Item]] | None:
        """Return which replica gets which item next; None if all are full or no item is left."""
        shares = {number: self._shares[number] for number in self._replicas.ready()}
        if self._quarantine and self._isolated not in shares:
            # Not the engine that died, which may be at fault itself.
            free = {number: 1 + self._limit - len(share.tasks) for number, share in shares.items()}
            self._isolated = next_engine(free, self._quarantine[0].died_on)
        if self._isolated is not None and not (self._isolated in shares and shares[self._isolated].tasks):
            if self._quarantine and self._isolated in shares:
                return self._isolated, self._quarantine.popleft()
            self._isolated = None
        vacant = {
            number: share.vacant if len(share.tasks) < self._limit else 0
            for number, share in shares.items()
            if number != self._isolated
        }
        if next_engine(vacant) is None or not self._has_next():
            return None
        number = next_engine(vacant, self._waiting[0].refused_by)
        return None if number is None else (number, self._waiting.popleft())

    def _finish(self, event: Finished) -> Iterator[Done[Item, Result] | Failed[Item]]:
        """Yield an item's outcome; if the work raised, it is retried, up to TRIES in all."""
        task, error = self._shares[event.number].tasks.pop(event.ticket), event.error
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
        self._loading.discard(lost.number)
        tasks = list(self._shares.pop(lost.number, _Share[Item]()).tasks.values())
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
        self._isolated = None if lost.number == self._isolated else self._isolated
