"""The engines of a run: started, health-checked, restarted when they die or hang, scaled with the available resources.

`ray_replicas` launches them on a cluster, `LocalReplicas` on one event loop, in a thread: blocking it blocks all.
"""

import asyncio
import math
import queue
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from cluster.errors import ClusterLostError, EngineDiedError, EngineMemoryError, EngineStartError
from cluster.inference.engine import EngineSettings, error_text
from cluster.inference.limits import Limits
from cluster.inference.pool import Finished, Load, Loading, Lost, Notice, Pool, Started, Tick, Vacant
from cluster.inference.replica import Replica, Work

_BACKOFF_S = 5.0  # between two health checks, and so between two attempts to place an engine
_AWAY_S = 15.0  # how long Ray's head may be unreachable; after a minute Ray would kill this process without a message
_PLACE_S, _GOODBYE_S = 600.0, 15.0


class _Phase(NamedTuple):
    method: str  # called to find out whether the replica has a process, to load the model, or to check its health
    most: int  # consecutive failures of one engine that end the run, or retire the engine
    failed: str
    silent: str = ""


_PLACING = _Phase("report", 20, "found no place{}")
_STARTING = _Phase("start", 3, "did not start{}", "it was not ready after")
_RUNNING = _Phase("report", 6, "died{} and finished nothing", "it gave no sign of life for")


@dataclass(frozen=True)
class Placement:
    """Which engines to run, how many, where, and what each needs."""

    settings: EngineSettings
    engines: int = 1
    build: str = ""  # package and version of what answers, if the same seeds draw other tokens under another
    gpus_each: int = 0
    hosted: bool = False  # True for one engine in this process, without Ray
    in_flight: int = 8  # items that an engine holds at most
    per_item: int = 1  # requests that an item makes at once
    early: int = 0  # items an engine that begin early once no more are left
    logs: Path = Path("logs")
    environment: Mapping[str, str] = field(default_factory=dict)  # set before the engines' processes start
    limits: Limits | None = None  # of each engine, with their reason; None on the CPU
    room: Callable[[], int] | None = None  # returns how many engines fit now; None for a constant `engines`
    silence_s: float = 600.0  # an engine that holds items and answers nothing for longer is treated as dead
    loading_s: float = 3600.0  # an engine that is not ready for longer, too


@dataclass(eq=False)
class _Member:
    number: int
    host: Any  # the replica, as `launch` returned it
    phase: _Phase = _PLACING
    since: float = 0.0
    answer: Future[Any] = field(default_factory=Future)  # the last call of the phase's method
    running: set[Future[Any]] = field(default_factory=set)


class ReplicaSet(ABC):
    """All engines, each identified by a number, which its replacements inherit."""

    def __init__(self, placement: Placement, work: Work) -> None:
        self.placement, self.work = placement, work
        self._settings: dict[int, EngineSettings] = {}
        self._members: dict[int, _Member] = {}
        self._replies: queue.SimpleQueue[tuple[_Member, str, Future[Any]]] = queue.SimpleQueue()
        self._failures = Counter[tuple[int, _Phase]]()  # consecutive ones; a finished item resets those of _RUNNING
        self._released = set[int]()
        self._reconciled = -math.inf
        self._placed = self._alive = time.monotonic()

    @abstractmethod
    def launch(self, number: int, settings: EngineSettings) -> Any:
        """Start a Replica and return the handle that `call` and `kill` take."""

    @abstractmethod
    def call(self, host: Any, method: str, *given: Any) -> Future[Any]:
        """Call a method of the replica."""

    @abstractmethod
    def kill(self, host: Any, running: Collection[Future[Any]]) -> None:
        """End the replica, if it is still alive, and the calls running on it."""

    def check_place(self) -> None:  # noqa: B027 - nothing to check in this process
        """Raise ClusterLostError if the cluster does not answer."""

    def log_of(self, number: int) -> Path | None:
        """Return the replica's log file; None if it has none of its own."""
        return None

    def own_error(self, error: BaseException | None) -> BaseException | None:
        """Return what the replica raised, given the error of a call; EngineDiedError if the replica is gone."""
        return error

    def ready(self) -> list[int]:
        return [number for number, member in self._members.items() if member.phase is _RUNNING]

    def _holding_places(self) -> list[int]:
        return [number for number, member in self._members.items() if member.phase is not _PLACING]

    def submit(self, number: int, /, *given: Any, method: str = "do") -> Future[Any]:
        """Call the replica's method; `poll` reports the outcome."""
        member = self._members[number]
        future = self.call(member.host, method, *given)
        member.running.add(future)
        future.add_done_callback(member.running.discard)
        future.add_done_callback(lambda future: self._replies.put((member, method, future)))
        return future

    def watch(self, number: int, items: int, per_item: int, early: bool) -> None:
        """Have `poll` tell when the replica could take more requests."""
        self.submit(number, items, per_item, early, method="vacancies")

    def release(self, number: int) -> None:
        """End a replica that holds nothing. None takes its place while others are left."""
        self._released.add(number)
        self._kill(number)

    def poll(self, timeout_s: float) -> Iterator[Notice]:
        """Yield what has happened. Raises EngineStartError, ClusterLostError."""
        yield from self._reconcile()
        while True:
            try:
                member, method, future = self._replies.get(timeout=timeout_s)
            except queue.Empty:
                if timeout_s:
                    yield Tick()
                return
            timeout_s = 0
            # Late answers from a lost replica are dropped.
            if self._members.get(member.number) is member:
                yield from self._handle(member, method, future)

    def close(self) -> None:
        """Ask every engine to close, then kill what is left."""
        wait([self.call(self._members[number].host, "close") for number in self.ready()], _GOODBYE_S)
        for number in list(self._members):
            self._kill(number)

    def _reconcile(self) -> Iterator[Lost]:
        """Every few seconds, scale to the available resources, end what hangs, and check the health of the rest."""
        now, placement = time.monotonic(), self.placement
        if now - self._reconciled < min(_BACKOFF_S, placement.silence_s / 4):
            return
        self._reconciled = now
        try:
            self.check_place()
        except ClusterLostError:
            if now - self._alive > _AWAY_S:
                raise
            return  # it may come back, and until then calls would hang
        self._alive = now
        self._scale(placement.room() if placement.room else placement.engines)
        if self._holding_places():
            self._placed = now
        elif now - self._placed > _PLACE_S:
            raise EngineStartError(f"no engine has found a place in the Ray cluster for {_PLACE_S:.0f} s")
        longest_s = {_PLACING: math.inf, _STARTING: placement.loading_s, _RUNNING: placement.silence_s}
        for member in list(self._members.values()):
            phase, waited = member.phase, now - member.since
            # If this process was suspended, the answer may have come in the meantime.
            if member.answer.done():
                if phase is _RUNNING:
                    self._ask(member, _RUNNING)
            elif waited > longest_s[phase]:
                yield from self._terminate(member, TimeoutError(f"{phase.silent} {waited:.0f} s"))

    def _scale(self, wanted: int) -> None:
        """Launch replicas up to the number wanted, or drop superfluous ones that are not placed yet."""
        lasting = [number for number in range(wanted) if self._failures[number, _RUNNING] < _RUNNING.most]
        numbers = [number for number in lasting if number not in self._released]
        # A released engine is better than none, and so is a retired one.
        numbers = numbers or lasting or [*range(wanted)]
        lacking = len(numbers) - len(self._members)
        for number in [number for number in numbers if number not in self._members][: max(0, lacking)]:
            settings = self._settings.setdefault(number, self.placement.settings.of(number))
            self._members[number] = _Member(number, self.launch(number, settings))
            self._ask(self._members[number], _PLACING)
        for number in sorted(self._members.keys() - self._holding_places(), reverse=True)[: max(0, -lacking)]:
            self._kill(number)

    def _handle(self, member: _Member, method: str, future: Future[Any]) -> Iterator[Notice]:
        """Act on an answer and yield what it means. Raises EngineStartError."""
        number, error = member.number, self.own_error(future.exception())
        result: Any = None if error else future.result()
        if method == "do" and not isinstance(error, EngineDiedError):
            if error is None:
                del self._failures[number, _RUNNING]
            yield Finished(number, future, result, error)
        elif error is not None:
            yield from self._terminate(member, error)
        elif method == "vacancies":
            yield Vacant(number, result)
        elif (phase := member.phase) is not _RUNNING:
            del self._failures[number, phase]
            self._ask(member, _STARTING if phase is _PLACING else _RUNNING)
            yield Loading(number, self._settings[number].loading()) if phase is _PLACING else Started(number, result)
        elif result.stalled_s > self.placement.silence_s:
            yield from self._terminate(member, TimeoutError(f"it answered nothing for {result.stalled_s:.0f} s"))
        else:
            yield Load(number, result)

    def _terminate(self, member: _Member, error: BaseException) -> Iterator[Lost]:
        """End the replica; `_reconcile` replaces it. Raises EngineStartError after too many failures in a row."""
        number, phase, reason = member.number, member.phase, error_text(error)
        settings, lacking = self._settings[number], isinstance(error, EngineMemoryError)
        smaller = settings.smaller(reason) if lacking and phase is not _PLACING else settings
        self._kill(number)
        times = self._failures[number, phase] = self._failures[number, phase] + 1
        others = self.ready() if phase is _RUNNING else self._holding_places()
        row = f"{phase.failed.format(f' {times} times in a row' if times > 1 else '')}: {reason}"
        if (times >= phase.most or smaller is None) and (phase is _STARTING or not others):
            log = None if phase is _PLACING else self.log_of(number)
            told = [row, settings.remedy(reason) if lacking else "", f"see {log}" if log else ""]
            raise EngineStartError(f"engine {number} {'; '.join(filter(None, told))}")
        if phase is _PLACING:
            if times == 1:  # of many; and the next attempt waits, as a node may just have died
                yield Lost(number, reason)
            return
        self._reconciled = -math.inf
        if times >= phase.most:
            reason = f"{row}; it is left out from now on"
        elif smaller is not None and smaller != settings:
            reason += f"; it comes back with {smaller.limits()}"
            self._settings[number] = smaller
        yield Lost(number, reason)

    def _ask(self, member: _Member, phase: _Phase) -> None:
        member.phase, member.since = phase, time.monotonic()
        member.answer = self.submit(member.number, method=phase.method)

    def _kill(self, number: int) -> None:
        member = self._members.pop(number)
        self.kill(member.host, member.running.copy())


class LocalReplicas(ReplicaSet):
    """Engines in this process; they can only die by raising EngineDiedError."""

    def __init__(self, placement: Placement, work: Work) -> None:
        super().__init__(placement, work)
        self._runner = asyncio.Runner()
        self._loop = self._runner.get_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="engines", daemon=True)
        self._thread.start()

    def launch(self, number: int, settings: EngineSettings) -> Replica:
        return Replica(settings, self.work)

    def call(self, host: Replica, method: str, *given: Any) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(getattr(host, method)(*given), self._loop)

    def kill(self, host: Replica, running: Collection[Future[Any]]) -> None:
        for future in running:
            future.cancel()
        self.call(host, "close")

    def close(self) -> None:
        super().close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_GOODBYE_S)
        if not self._thread.is_alive():
            self._runner.close()


def pool_of(replicas: ReplicaSet) -> Pool[Any, Any]:
    """Return a scheduler for these replicas, as their placement says."""
    placement = replicas.placement
    return Pool(replicas, placement.in_flight, placement.per_item, placement.early)


class Fleet:
    """How a job gets its engines, opened only if an item is owed. These run in this process; see also RayFleet."""

    def __init__(self, settings: EngineSettings, engines: int = 1, in_flight: int = 4, per_item: int = 1) -> None:
        self.placement = Placement(settings, engines, in_flight=in_flight, per_item=per_item)

    def open(self, work: Work) -> AbstractContextManager[Pool[Any, Any]]:
        """Start what engines need, and stop it when the context ends. Raises ValueError for invalid input."""
        return pool_of(LocalReplicas(self.placement, work))
