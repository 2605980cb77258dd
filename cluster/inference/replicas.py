"""The engines of a run: started, watched, replaced when they die or fall silent, more of them when there is room.

Placement and processes are Ray's. Knows nothing of the items that engines work on.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import ray
from ray.exceptions import OutOfMemoryError, RayError, RayTaskError

from cluster import QUIET, reaper
from cluster.inference.actor import EngineSettings, Host, own_words
from cluster.inference.engine import Engine, EngineMemoryError
from cluster.inference.events import ClusterLostError, EngineStartError, Loading, Started
from cluster.session import check_alive

_STARTS = 3
"""Failed starts of one engine in a row that end the run."""
_PLACES = 20
"""Processes of one engine in a row that did not even come up."""
_IDLE_DEATHS = 6
"""Deaths of one engine in a row, none of them after a finished item: it is left out, and the last one ends the run."""
_TEND_S = 5.0
_START_S = 3600.0
"""Loading a large model from a slow disk takes long; longer than this is a hang."""
_PLACE_S = 600.0
_RAY_S = 15.0
"""How long Ray's head may be away; after a minute Ray itself would end the process, without a word of ours."""
_GOODBYE_S = 15.0


@dataclass(frozen=True)
class Placement:
    """How many engines, where, and what each takes."""

    engines: int
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


class Fallen(NamedTuple):
    """An engine is no more; another takes its number if there is room."""

    number: int
    reason: str


@dataclass
class _Member:
    host: Any
    load: int = 0
    placed: float | None = None
    """When its process was there."""
    ready: bool = False
    pulse_sent: float | None = None
    """When it was asked for the pulse that it has not given yet."""


class Engines:
    """Every engine by its number, which its replacements inherit. All of them end with `close`."""

    def __init__(
        self, settings: EngineSettings, work: Callable[[Engine, Any], Awaitable[Any]], placement: Placement
    ) -> None:
        self._work = work
        self._first = settings
        self._settings: dict[int, EngineSettings] = {}
        self._placement = placement
        self._members: dict[int, _Member] = {}
        self._awaited: dict[Any, tuple[str, int]] = {}
        self._failed_starts = Counter[int]()
        self._failed_places = Counter[int]()
        self._idle_deaths = Counter[int]()
        self._left_out = set[int]()
        self._tended = -math.inf
        self._placed = self._ray_lived = time.monotonic()

    def loads(self) -> dict[int, int]:
        """What each engine that is ready holds."""
        return {number: member.load for number, member in self._members.items() if member.ready}

    def awaited(self) -> list[Any]:
        """What to wait for beside items; `heard` takes it."""
        return list(self._awaited)

    def do(self, number: int, item: Any) -> Any:
        """Deal the item to this engine; the reference to its result."""
        member = self._members[number]
        member.load += 1
        return member.host.do.remote(item)

    def done(self, number: int, *, useful: bool = True) -> None:
        """An item came back."""
        self._members[number].load -= 1
        if useful:
            del self._idle_deaths[number]

    def tend(self) -> Iterator[Fallen]:
        """Look after all of them, now and then: as many as there is room for, none of them silent.

        Raises EngineStartError, ClusterLostError.
        """
        now = time.monotonic()
        if now - self._tended < min(_TEND_S, self._placement.silence_s / 4):
            return
        self._tended = now
        if not self._ray_lives(now):
            return
        self._fit(self._placement.room() if self._placement.room else self._placement.engines)
        if any(member.placed for member in self._members.values()):
            self._placed = now
        elif now - self._placed > _PLACE_S:
            raise EngineStartError(f"no engine has found a place in the Ray cluster for {_PLACE_S:.0f} s")
        for number, reason in [*self._silent(now)]:
            yield self.lose(number, TimeoutError(reason))
        for number, member in self._members.items():
            if member.ready and member.pulse_sent is None:
                member.pulse_sent = now
                self._await("pulse", number, member.host.pulse.remote())

    def heard(self, ref: Any) -> Loading | Started | Fallen | None:
        """What one of those awaited says. Raises EngineStartError."""
        kind, number = self._awaited.pop(ref, ("", -1))
        if not kind:
            return None  # its engine fell a moment ago
        member = self._members[number]
        try:
            told = ray.get(ref)
        except RayError as error:
            fallen = self.lose(number, error)
            # Of many tries to find a place the first is worth a word.
            return None if self._failed_places[number] > 1 else fallen
        if kind == "hello":
            member.placed = time.monotonic()
            del self._failed_places[number]
            self._await("start", number, member.host.start.remote())
            return Loading(number)
        if kind == "start":
            member.ready = True
            del self._failed_starts[number]
            return Started(number, told)
        if told > self._placement.silence_s:
            return self.lose(number, TimeoutError(f"it answered nothing for {told:.0f} s"))
        member.pulse_sent = None
        return None

    def lose(self, number: int, error: Exception) -> Fallen:
        """End what is left of it; `tend` starts another in its place, if Ray lives: asked to, a dead one would hang.

        Raises EngineStartError when it is time to give up.
        """
        member = self._members[number]
        self._forget(number)
        cause = (error.cause if isinstance(error, RayTaskError) else None) or error
        reason = _last_line(error) if cause is error and isinstance(error, RayError) else own_words(cause)
        if member.placed is None:
            return self._unplaced(number, reason)
        count = self._idle_deaths if member.ready else self._failed_starts
        count[number] += 1
        log = self._placement.logs / f"engine-{number}.log"
        if self._failed_starts[number] >= _STARTS:
            raise EngineStartError(f"engine {number} did not start {_STARTS} times in a row: {reason}; see {log}")
        if self._idle_deaths[number] >= _IDLE_DEATHS:
            words = f"died {_IDLE_DEATHS} times in a row and finished nothing: {reason}"
            if not any(other.ready for other in self._members.values()):
                raise EngineStartError(f"engine {number} {words}; see {log}")
            self._left_out.add(number)
            return Fallen(number, f"{words}; it is left out from now on")
        if isinstance(cause, EngineMemoryError | OutOfMemoryError):
            smaller = self._settings[number].smaller()
            if smaller != self._settings[number]:
                reason += f"; it comes back with {smaller.limits()}"
            self._settings[number] = smaller
        self._tended = -math.inf
        return Fallen(number, reason)

    def _unplaced(self, number: int, reason: str) -> Fallen:
        """Its process never came up: the node may have died just now, so `tend` tries again, after a while.

        While others have a place the run goes on without it.
        """
        self._failed_places[number] += 1
        placed = any(member.placed for member in self._members.values())
        if self._failed_places[number] >= _PLACES and not placed:
            raise EngineStartError(f"engine {number} found no place {_PLACES} times in a row: {reason}")
        return Fallen(number, reason)

    def close(self, *, polite: bool = True) -> None:
        """End every engine, politely and then not."""
        goodbyes = [member.host.close.remote() for member in self._members.values() if member.ready and polite]
        if goodbyes:
            ray.wait(goodbyes, num_returns=len(goodbyes), timeout=_GOODBYE_S)
        for number in list(self._members):
            self._forget(number)

    def _ray_lives(self, now: float) -> bool:
        """False while Ray does not answer; its calls would hang. Raises ClusterLostError when that lasts."""
        try:
            check_alive()
        except ClusterLostError:
            if now - self._ray_lived > _RAY_S:
                raise
            return False
        self._ray_lived = now
        return True

    def _fit(self, wanted: int) -> None:
        """More engines where there is room; fewer of those that no machine has taken where there is not."""
        numbers = [number for number in range(wanted) if number not in self._left_out]
        numbers = numbers or [*range(wanted)]  # rather one that died before than none
        for number in numbers:
            if len(self._members) < len(numbers) and number not in self._members:
                self._launch(number)
        unplaced = [number for number, member in self._members.items() if member.placed is None]
        for number in sorted(unplaced)[::-1][: max(0, len(self._members) - len(numbers))]:
            self._forget(number)

    def _launch(self, number: int) -> None:
        mark = reaper.new_mark()
        environment = {**QUIET, **self._placement.environment, mark: "1"}
        actor = ray.remote(Host).options(
            # An allocation may hold fewer cores than GPUs, and Ray would leave the rest of these idle.
            num_cpus=0 if self._placement.gpus_each else 1,
            num_gpus=self._placement.gpus_each,
            max_concurrency=self._placement.in_flight + 4,
            runtime_env={"env_vars": environment},
            scheduling_strategy="SPREAD",
        )
        log = self._placement.logs / f"engine-{number}.log"
        settings = self._settings.setdefault(number, self._first)
        member = _Member(actor.remote(settings, self._work, str(log.resolve()), mark))
        self._members[number] = member
        self._await("hello", number, member.host.hello.remote())

    def _await(self, kind: str, number: int, ref: Any) -> None:
        self._awaited[ref] = (kind, number)

    def _forget(self, number: int) -> None:
        self._awaited = {ref: what for ref, what in self._awaited.items() if what[1] != number}
        ray.kill(self._members.pop(number).host)

    def _silent(self, now: float) -> Iterator[tuple[int, str]]:
        """Those that have owed a pulse, or a start, for too long."""
        for number, member in self._members.items():
            if member.pulse_sent is not None and now - member.pulse_sent > self._placement.silence_s:
                # It may have come while this process itself was stopped.
                owed = [ref for ref, what in self._awaited.items() if what == ("pulse", number)]
                if not ray.wait(owed, timeout=0)[0]:
                    yield number, f"it gave no sign of life for {now - member.pulse_sent:.0f} s"
            elif not member.ready and member.placed is not None and now - member.placed > _START_S:
                yield number, f"it was not ready after {now - member.placed:.0f} s"


def _last_line(error: RayError) -> str:
    """Ray's story of a dead actor ends with the reason."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {(lines or [''])[-1]}"[:400]
