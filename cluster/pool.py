"""Work dealt to Ray actors that each host an engine, and dealt again when one dies.

Any async (engine, item) -> result will do; the pool knows neither questions nor rows. Placement,
processes and object transfer are Ray's; which engine gets what, and what a dead engine still owed,
is decided here.
"""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import ray
from ray.exceptions import RayActorError, RayTaskError

from cluster import QUIET, reaper
from cluster.engine import Engine, EngineDiedError, EngineInfo

Item = TypeVar("Item")
Result = TypeVar("Result")

_TICK_S = 0.5
_STARTS = 3
_GOODBYE_S = 15.0


class EngineSettings(Protocol):
    """How to start an engine, picklable: all that a host needs to know of it."""

    async def start(self) -> Engine: ...


class EngineStartError(RuntimeError):
    """An engine did not start, several times in a row; the message is its own."""


@dataclass(frozen=True)
class Started:
    """An engine is ready."""

    number: int
    info: EngineInfo


@dataclass(frozen=True)
class Lost:
    """An engine died; the items it held are dealt again."""

    number: int
    reason: str
    again: int


@dataclass(frozen=True)
class Tick:
    """Nothing happened for a moment: time to look at the clock."""


@dataclass(frozen=True)
class Done(Generic[Item, Result]):
    """One item's result."""

    item: Item
    result: Result


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


def fill(max_sequences: int, per_item: int) -> int:
    """How many items keep an engine of `max_sequences` full, with half as many again waiting."""
    return max(2, math.ceil(1.5 * max_sequences / per_item))


def next_engine(loads: Mapping[int, int], limit: int) -> int | None:
    """The engine with the least in flight, the lower number first; None when all are full."""
    if not loads:
        return None
    number = min(loads, key=lambda engine: (loads[engine], engine))
    return number if loads[number] < limit else None


class Host:
    """The actor: one engine, and the work done on it."""

    def __init__(self, settings: EngineSettings, work: Callable[[Engine, Any], Awaitable[Any]], log: str, mark: str):
        self._settings = settings
        self._work = work
        _write_output_to(Path(log))
        self._reaper = reaper.start(mark)

    async def start(self) -> EngineInfo:
        self._engine = await self._settings.start()
        return self._engine.info

    async def do(self, item: Any) -> Any:
        return await self._work(self._engine, item)

    async def close(self) -> None:
        await self._engine.close()


def _write_output_to(log: Path) -> None:
    """Engine and worker lines go to a file of the run, not to the terminal."""
    log.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)


class Pool(Generic[Item, Result]):
    """Hosts and what each of them holds. Use as a context; `run` may be called several times."""

    def __init__(
        self,
        settings: EngineSettings,
        work: Callable[[Engine, Item], Awaitable[Result]],
        placement: Placement,
    ) -> None:
        self._settings = settings
        self._work = work
        self._placement = placement
        self._hosts: dict[int, Any] = {}
        self._starting: dict[Any, int] = {}
        self._held: dict[Any, tuple[int, Item]] = {}
        self._loads: dict[int, int] = {}
        self._failed_starts = 0
        self._stop_at: float | None = None

    def __enter__(self) -> Pool[Item, Result]:
        for number in range(self._placement.engines):
            self._launch(number)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def stop(self, grace_s: float) -> None:
        """Deal nothing more; `run` ends when what is in flight is back, or after `grace_s` seconds."""
        self._stop_at = time.monotonic() + grace_s

    def run(self, items: Iterable[Item]) -> Iterator[Started | Lost | Tick | Done[Item, Result]]:
        """Results as they come, in any order, each item exactly once, with what happened between.

        Raises EngineStartError when an engine cannot start; what `work` raises, save EngineDiedError.
        """
        again: deque[Item] = deque()
        source = iter(items)
        while True:
            self._deal(again, source)
            if not self._held and (self._stop_at is not None or not self._starting):
                return
            if self._stop_at is not None and time.monotonic() > self._stop_at:
                return
            waited = [*self._starting, *self._held]
            ready, _ = ray.wait(waited, num_returns=1, timeout=_TICK_S)
            if not ready:
                yield Tick()
            for ref in ready:
                yield from self._collect(ref, again)

    def close(self) -> None:
        """End every engine, politely and then not."""
        goodbyes = [host.close.remote() for number, host in self._hosts.items() if number in self._loads]
        if goodbyes:
            ray.wait(goodbyes, num_returns=len(goodbyes), timeout=_GOODBYE_S)
        for host in self._hosts.values():
            ray.kill(host)
        self._hosts.clear()

    def _launch(self, number: int) -> None:
        mark = reaper.new_mark()
        environment = {**QUIET, **self._placement.environment, mark: "1"}
        actor = ray.remote(Host).options(
            num_cpus=1,
            num_gpus=self._placement.gpus_each,
            max_concurrency=self._placement.in_flight + 2,
            scheduling_strategy="SPREAD",
            runtime_env={"env_vars": environment},
        )
        log = self._placement.logs / f"engine-{number}.log"
        host: Any = actor.remote(self._settings, self._work, str(log.resolve()), mark)
        self._hosts[number] = host
        self._starting[host.start.remote()] = number

    def _deal(self, again: deque[Item], source: Iterator[Item]) -> None:
        while self._stop_at is None:
            number = next_engine(self._loads, self._placement.in_flight)
            if number is None:
                return
            if again:
                item = again.popleft()
            else:
                try:
                    item = next(source)
                except StopIteration:
                    return
            self._held[self._hosts[number].do.remote(item)] = (number, item)
            self._loads[number] += 1

    def _collect(self, ref: Any, again: deque[Item]) -> Iterator[Started | Lost | Done[Item, Result]]:
        if ref in self._starting:
            yield self._collect_start(ref)
            return
        if ref not in self._held:
            return  # its engine was lost a moment ago
        number, item = self._held[ref]
        try:
            result = ray.get(ref)
        except (RayActorError, RayTaskError) as error:
            if not _is_death(error):
                raise
            yield self._replace(number, error, again)
            return
        del self._held[ref]
        self._loads[number] -= 1
        self._failed_starts = 0
        yield Done(item, result)

    def _collect_start(self, ref: Any) -> Started | Lost:
        number = self._starting.pop(ref)
        try:
            info = ray.get(ref)
        except (RayActorError, RayTaskError) as error:
            self._failed_starts += 1
            if self._failed_starts >= _STARTS:
                raise EngineStartError(_own_words(error)) from error
            return self._replace(number, error, deque())
        self._loads[number] = 0
        return Started(number, info)

    def _replace(self, number: int, error: Exception, again: deque[Item]) -> Lost:
        """Forget the dead engine's promises, put its items first in line, start another."""
        owed = [ref for ref, (holder, _) in self._held.items() if holder == number]
        items = [self._held.pop(ref)[1] for ref in owed]
        again.extendleft(reversed(items))
        self._loads.pop(number, None)
        ray.kill(self._hosts[number])
        self._launch(number)
        return Lost(number, _own_words(error), len(items))


def _is_death(error: Exception) -> bool:
    return isinstance(error, RayActorError) or isinstance(getattr(error, "cause", None), EngineDiedError)


def _own_words(error: Exception) -> str:
    """The error's own message without Ray's frame around it: one line."""
    cause = getattr(error, "cause", None) or error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return f"{type(cause).__name__}: {lines[-1] if lines else ''}"[:400]
