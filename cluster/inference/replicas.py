"""The engines of a run: started, checked, restarted when they die or fall silent, more of them when there is room.

Knows nothing of the items that engines work on, nor where they run: `local` and `ray_replicas` launch them.
"""

from __future__ import annotations

import math
import queue
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from cluster.inference.engine import Engine, EngineDiedError, EngineMemoryError, EngineSettings, own_words
from cluster.inference.events import ClusterLostError, EngineStartError, Loading, Lost, Started
from cluster.inference.pool import Finished, Pool

_STARTS = 3
"""Failed starts of one engine in a row that end the run."""
_PLACES = 20
"""Processes of one engine in a row that did not even come up."""
_IDLE_DEATHS = 6
"""Deaths of one engine in a row, none of them after a finished item: it is left out, and the last one ends the run."""
_BACKOFF_S = 5.0
"""Between two looks at the replicas, and so between two tries to find a place."""
_START_S = 3600.0
"""Loading a large model from a slow disk takes long; longer than this is a hang."""
_PLACE_S = 600.0
_AWAY_S = 15.0
"""How long Ray's head may be away; after a minute Ray itself would end the process, without a word of ours."""
_GOODBYE_S = 15.0

Work = Callable[[Engine, Any], Awaitable[Any]]


@dataclass(frozen=True)
class Placement:
    """Which engines, how many, where, and what each takes."""

    settings: EngineSettings
    engines: int = 1
    gpus_each: int = 0
    in_flight: int = 8
    """Items an engine holds at once."""
    logs: Path = Path("logs")
    environment: Mapping[str, str] = field(default_factory=dict)
    """For the engines' processes, set before they start."""
    room: Callable[[], int] | None = None
    """How many engines there is room for now, asked again and again; None for always `engines`."""
    silence_s: float = 600.0
    """An engine that holds items and answers nothing for so long is taken for dead."""


class Fleet(Protocol):
    """How a job gets its engines: opened only when something is owed."""

    @property
    def placement(self) -> Placement:
        """What was placed, once it is open."""
        ...

    def open(self, work: Work) -> AbstractContextManager[Pool[Any, Any]]:
        """Start what engines need, and deal to them until the context ends. Raises ValueError for wrong input."""
        ...


class Handle(Protocol):
    """A replica from afar."""

    def call(self, method: str, *given: Any) -> Future[Any]:
        """Call a method of `local.Replica` there; the future raises EngineDiedError where the replica is gone."""
        ...

    def kill(self) -> None: ...


@dataclass(eq=False)
class _Member:
    number: int
    handle: Handle
    placed: float | None = None
    """When its process was there."""
    ready: bool = False
    checked: float = 0.0
    """When it was asked how it is."""
    check: Future[Any] | None = None
    """The answer to that, which has not been heard yet."""


class _Reply(NamedTuple):
    member: _Member
    method: str
    future: Future[Any]


class ReplicaSet(ABC):
    """Every engine by its number, which its replacements inherit. All of them end with `close`."""

    where = "this process"
    """What a person reads of the place for engines."""

    def __init__(self, placement: Placement) -> None:
        self._placement = placement
        self._settings: dict[int, EngineSettings] = {}
        self._members: dict[int, _Member] = {}
        self._replies: queue.SimpleQueue[_Reply] = queue.SimpleQueue()
        self._failed_starts = Counter[int]()
        self._failed_places = Counter[int]()
        self._idle_deaths = Counter[int]()
        self._left_out = set[int]()
        self._reconciled = -math.inf
        self._placed = self._alive = time.monotonic()

    @abstractmethod
    def launch(self, number: int, settings: EngineSettings) -> Handle:
        """Begin a replica."""

    @abstractmethod
    def check_place(self) -> None:
        """Raise ClusterLostError where the place of all replicas does not answer."""

    def log_of(self, number: int) -> str:
        """Return where to read on, as the end of a sentence."""
        return ""

    def ready(self) -> list[int]:
        return [number for number, member in self._members.items() if member.ready]

    def submit(self, number: int, item: Any) -> Future[Any]:
        return self._call(self._members[number], "do", item)

    def poll(self, timeout_s: float) -> Iterator[Loading | Started | Lost | Finished]:
        """Tell what has happened. Raises EngineStartError, ClusterLostError."""
        yield from self._reconcile()
        wait_s = timeout_s
        while True:
            try:
                reply = self._replies.get(timeout=wait_s)
            except queue.Empty:
                return
            wait_s = 0
            # Nothing is heard of one that was lost a moment ago.
            if self._members.get(reply.member.number) is reply.member:
                yield from self._hear(*reply)

    def close(self) -> None:
        """End every engine, politely and then not."""
        wait([member.handle.call("close") for member in self._members.values() if member.ready], _GOODBYE_S)
        for number in list(self._members):
            self._kill(number)

    def _reconcile(self) -> Iterator[Lost]:
        """Now and then: as many replicas as there is room for, none of them silent, each asked how it is."""
        now = time.monotonic()
        if now - self._reconciled < min(_BACKOFF_S, self._placement.silence_s / 4):
            return
        self._reconciled = now
        if not self._place_lives(now):
            return
        self._scale(self._placement.room() if self._placement.room else self._placement.engines)
        if any(member.placed for member in self._members.values()):
            self._placed = now
        elif now - self._placed > _PLACE_S:
            raise EngineStartError(f"no engine has found a place in {self.where} for {_PLACE_S:.0f} s")
        for number, reason in [*self._silent(now)]:
            yield self._lose(number, TimeoutError(reason))
        for member in self._members.values():
            if member.ready and member.check is None:
                member.checked, member.check = now, self._call(member, "stalled_s")

    def _place_lives(self, now: float) -> bool:
        """Return False while the place does not answer: calls would hang. Raises ClusterLostError when that lasts."""
        try:
            self.check_place()
        except ClusterLostError:
            if now - self._alive > _AWAY_S:
                raise
            return False
        self._alive = now
        return True

    def _scale(self, wanted: int) -> None:
        """More replicas where there is room; fewer of those that no machine has taken where there is not."""
        numbers = [number for number in range(wanted) if number not in self._left_out]
        numbers = numbers or [*range(wanted)]  # rather one that died before than none
        for number in numbers:
            if len(self._members) < len(numbers) and number not in self._members:
                settings = self._settings.setdefault(number, self._placement.settings)
                self._members[number] = _Member(number, self.launch(number, settings))
                self._call(self._members[number], "hello")
        unplaced = [number for number, member in self._members.items() if member.placed is None]
        for number in sorted(unplaced)[::-1][: max(0, len(self._members) - len(numbers))]:
            self._kill(number)

    def _silent(self, now: float) -> Iterator[tuple[int, str]]:
        """Those that have owed the answer to a health check, or a start, for too long."""
        for number, member in self._members.items():
            if member.check is not None and now - member.checked > self._placement.silence_s:
                # It may have come while this process itself was stopped.
                if not member.check.done():
                    yield number, f"it gave no sign of life for {now - member.checked:.0f} s"
            elif not member.ready and member.placed is not None and now - member.placed > _START_S:
                yield number, f"it was not ready after {now - member.placed:.0f} s"

    def _hear(self, member: _Member, method: str, future: Future[Any]) -> Iterator[Loading | Started | Lost | Finished]:
        """Tell what a reply means. Raises EngineStartError."""
        number, error = member.number, future.exception()
        if method == "do" and not isinstance(error, EngineDiedError):
            if error is None:
                del self._idle_deaths[number]
            yield Finished(number, future, None if error else future.result(), error)
        elif error is not None:
            lost = self._lose(number, error)
            # Of many tries to find a place the first is worth a word.
            if self._failed_places[number] <= 1:
                yield lost
        elif method == "hello":
            member.placed = time.monotonic()
            del self._failed_places[number]
            self._call(member, "start")
            yield Loading(number)
        elif method == "start":
            member.ready = True
            del self._failed_starts[number]
            yield Started(number, future.result())
        elif future.result() > self._placement.silence_s:
            yield self._lose(number, TimeoutError(f"it answered nothing for {future.result():.0f} s"))
        else:
            member.check = None

    def _lose(self, number: int, error: BaseException) -> Lost:
        """End what is left of it; `_reconcile` starts another in its place, where the place lives.

        Raises EngineStartError when it is time to give up.
        """
        member, reason, log = self._members[number], own_words(error), self.log_of(number)
        self._kill(number)
        if member.placed is None:
            return self._lose_unplaced(number, reason)
        count = self._idle_deaths if member.ready else self._failed_starts
        count[number] += 1
        if self._failed_starts[number] >= _STARTS:
            raise EngineStartError(f"engine {number} did not start {_STARTS} times in a row: {reason}{log}")
        if self._idle_deaths[number] >= _IDLE_DEATHS:
            words = f"died {_IDLE_DEATHS} times in a row and finished nothing: {reason}"
            if not self.ready():
                raise EngineStartError(f"engine {number} {words}{log}")
            self._left_out.add(number)
            return Lost(number, f"{words}; it is left out from now on")
        if isinstance(error, EngineMemoryError):
            smaller = self._settings[number].smaller()
            if smaller != self._settings[number]:
                reason += f"; it comes back with {smaller.limits()}"
            self._settings[number] = smaller
        self._reconciled = -math.inf
        return Lost(number, reason)

    def _lose_unplaced(self, number: int, reason: str) -> Lost:
        """Its process never came up: the node may have died just now, so it is tried again, after a while.

        While others have a place the run goes on without it.
        """
        self._failed_places[number] += 1
        if self._failed_places[number] >= _PLACES and not any(member.placed for member in self._members.values()):
            raise EngineStartError(f"engine {number} found no place {_PLACES} times in a row: {reason}")
        return Lost(number, reason)

    def _call(self, member: _Member, method: str, *given: Any) -> Future[Any]:
        future = member.handle.call(method, *given)
        future.add_done_callback(lambda done: self._replies.put(_Reply(member, method, done)))
        return future

    def _kill(self, number: int) -> None:
        self._members.pop(number).handle.kill()
