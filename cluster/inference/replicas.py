"""The engines of a run: started, checked, restarted when they die or fall silent, more of them when there is room.

Knows nothing of the items that engines work on, nor where they run: `local` and `ray_replicas` launch them.
"""

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
from typing import Any, Protocol

from cluster.errors import ClusterLostError, EngineDiedError, EngineMemoryError, EngineStartError
from cluster.inference.engine import Engine, EngineSettings, own_words
from cluster.inference.pool import Event, Finished, Loading, Lost, Pool, Started

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

    def open(self, work: Work) -> AbstractContextManager[Pool[Any, Any]]:
        """Start what engines need, and deal to them until the context ends. Raises ValueError for wrong input."""


@dataclass(eq=False)
class _Member:
    number: int
    host: Any
    """The replica, as `launch` returned it."""
    asked: str = ""
    since: float = 0.0
    answer: Future[Any] = field(default_factory=Future)
    """The last call to place, start or check it."""
    placed: bool = False
    """Its process was there."""
    ready: bool = False
    running: set[Future[Any]] = field(default_factory=set)


class ReplicaSet(ABC):
    """Every engine by its number, which its replacements inherit. All of them end with `close`."""

    where = "this process"
    """What a person reads of the place for engines."""

    def __init__(self, placement: Placement, work: Work) -> None:
        self.placement = placement
        self.work = work
        self._settings: dict[int, EngineSettings] = {}
        self._members: dict[int, _Member] = {}
        self._replies: queue.SimpleQueue[tuple[_Member, str, Future[Any]]] = queue.SimpleQueue()
        self._failed_starts = Counter[int]()
        self._failed_places = Counter[int]()
        self._idle_deaths = Counter[int]()
        self._retired = set[int]()
        self._reconciled = -math.inf
        self._placed = self._alive = time.monotonic()

    @abstractmethod
    def launch(self, number: int, settings: EngineSettings) -> Any:
        """Begin a `local.Replica`; return what `call` and `kill` take for it."""

    @abstractmethod
    def call(self, host: Any, method: str, *given: Any) -> Future[Any]:
        """Call a method of the replica. The future raises EngineDiedError where it is gone."""

    @abstractmethod
    def kill(self, host: Any) -> None:
        """End what is left of the replica."""

    def check_place(self) -> None:
        """Raise ClusterLostError where the place of all replicas does not answer."""
        return

    def log_of(self, number: int) -> Path | None:
        """Return where the replica writes its output, if it is apart from this process's."""
        return None

    def ready(self) -> list[int]:
        return [number for number, member in self._members.items() if member.ready]

    def submit(self, number: int, /, *given: Any, method: str = "do") -> Future[Any]:
        """Call the replica's method; `poll` will tell what comes of it."""
        member = self._members[number]
        future = self.call(member.host, method, *given)
        member.running.add(future)

        def answered(future: Future[Any]) -> None:
            member.running.discard(future)
            self._replies.put((member, method, future))

        future.add_done_callback(answered)
        return future

    def poll(self, timeout_s: float) -> Iterator[Event[Any, Any] | Finished]:
        """Tell what has happened. Raises EngineStartError, ClusterLostError."""
        yield from self._reconcile()
        while True:
            try:
                member, method, future = self._replies.get(timeout=timeout_s)
            except queue.Empty:
                return
            timeout_s = 0
            # Nothing is told of one that was lost a moment ago.
            if self._members.get(member.number) is member:
                yield from self._handle(member, method, future)

    def close(self) -> None:
        """End every engine, politely and then not."""
        wait([self.call(member.host, "close") for member in self._members.values() if member.ready], _GOODBYE_S)
        for number in list(self._members):
            self._kill(number)

    def _reconcile(self) -> Iterator[Lost]:
        """Now and then: as many replicas as there is room for, none of them silent, each asked how it is."""
        now, placement = time.monotonic(), self.placement
        if now - self._reconciled < min(_BACKOFF_S, placement.silence_s / 4):
            return
        self._reconciled = now
        try:
            self.check_place()
        except ClusterLostError:
            if now - self._alive > _AWAY_S:
                raise
            return  # it may come back; calls would hang meanwhile
        self._alive = now
        self._scale(placement.room() if placement.room else placement.engines)
        if any(member.placed for member in self._members.values()):
            self._placed = now
        elif now - self._placed > _PLACE_S:
            raise EngineStartError(f"no engine has found a place in {self.where} for {_PLACE_S:.0f} s")
        limits = {
            "hello": (math.inf, ""),
            "start": (_START_S, "it was not ready after"),
            "stalled_s": (placement.silence_s, "it gave no sign of life for"),
        }
        for member in list(self._members.values()):
            (limit, told), waited = limits[member.asked], now - member.since
            # An answer may have come while this process itself was stopped.
            if waited > limit and not member.answer.done():
                yield self._terminate(member.number, TimeoutError(f"{told} {waited:.0f} s"))
            elif member.ready and member.answer.done():
                self._ask(member, "stalled_s")

    def _scale(self, wanted: int) -> None:
        """More replicas where there is room; fewer of those that no machine has taken where there is not."""
        numbers = [number for number in range(wanted) if number not in self._retired]
        numbers = numbers or [*range(wanted)]  # rather one that died before than none
        for number in numbers:
            if len(self._members) < len(numbers) and number not in self._members:
                settings = self._settings.setdefault(number, self.placement.settings)
                self._members[number] = _Member(number, self.launch(number, settings))
                self._ask(self._members[number], "hello")
        unplaced = [number for number, member in self._members.items() if not member.placed]
        for number in sorted(unplaced)[::-1][: max(0, len(self._members) - len(numbers))]:
            self._kill(number)

    def _handle(self, member: _Member, method: str, future: Future[Any]) -> Iterator[Event[Any, Any] | Finished]:
        """Tell what an answer means. Raises EngineStartError."""
        number, error = member.number, future.exception()
        result: Any = None if error else future.result()
        if method == "do" and not isinstance(error, EngineDiedError):
            if error is None:
                del self._idle_deaths[number]
            yield Finished(number, future, result, error)
        elif error is not None:
            lost = self._terminate(number, error)
            # Of many tries to find a place the first is worth a word.
            if self._failed_places[number] <= 1:
                yield lost
        elif method == "hello":
            member.placed = True
            del self._failed_places[number]
            self._ask(member, "start")
            yield Loading(number)
        elif method == "start":
            member.ready = True
            del self._failed_starts[number]
            yield Started(number, result)
        elif result > self.placement.silence_s:
            yield self._terminate(number, TimeoutError(f"it answered nothing for {result:.0f} s"))

    def _terminate(self, number: int, error: BaseException) -> Lost:
        """End what is left of it; `_reconcile` starts another in its place, where the place lives.

        Raises EngineStartError when it is time to give up.
        """
        member, reason, log = self._members[number], own_words(error), self.log_of(number)
        see = f"; see {log}" if log else ""
        self._kill(number)
        if not member.placed:
            # The node may have died just now, so another is tried after a while; with others the run goes on without.
            self._failed_places[number] += 1
            if self._failed_places[number] >= _PLACES and not any(other.placed for other in self._members.values()):
                raise EngineStartError(f"engine {number} found no place {_PLACES} times in a row: {reason}")
            return Lost(number, reason)
        count = self._idle_deaths if member.ready else self._failed_starts
        count[number] += 1
        if self._failed_starts[number] >= _STARTS:
            raise EngineStartError(f"engine {number} did not start {_STARTS} times in a row: {reason}{see}")
        if self._idle_deaths[number] >= _IDLE_DEATHS:
            words = f"died {_IDLE_DEATHS} times in a row and finished nothing: {reason}"
            if not self.ready():
                raise EngineStartError(f"engine {number} {words}{see}")
            self._retired.add(number)
            return Lost(number, f"{words}; it is left out from now on")
        if isinstance(error, EngineMemoryError):
            smaller = self._settings[number].smaller()
            if smaller != self._settings[number]:
                reason += f"; it comes back with {smaller.limits()}"
            self._settings[number] = smaller
        self._reconciled = -math.inf
        return Lost(number, reason)

    def _ask(self, member: _Member, method: str) -> None:
        member.asked, member.since = method, time.monotonic()
        member.answer = self.submit(member.number, method=method)

    def _kill(self, number: int) -> None:
        member = self._members.pop(number)
        for future in member.running.copy():
            future.cancel()
        self.kill(member.host)
