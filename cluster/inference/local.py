"""Engines and the work done on them: one replica, wherever it lives, and replicas that live in this process.

Knows no Ray. What lives here shares one event loop in a thread of its own, so work that blocks it blocks all.
"""

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cluster.errors import EngineDiedError, EngineMemoryError
from cluster.inference.engine import Completion, Engine, EngineInfo, EngineSettings, Request, own_words
from cluster.inference.pool import Pool
from cluster.inference.replicas import Placement, ReplicaSet, Work

_TAIL_BYTES = 200_000
_LONGEST = 400
_GOODBYE_S = 15.0


class Replica:
    """One engine and the work done on it; to that work it is the engine, and notes when the engine last moved."""

    def __init__(self, settings: EngineSettings, work: Work, log: Path | None = None) -> None:
        self._settings = settings
        self._work = work
        self._log = log
        self._log_began = log.stat().st_size if log else 0
        self._memory_kills = memory_kills()
        self._running = 0
        self._moved = time.monotonic()

    async def hello(self) -> None:
        """Answers as soon as the replica's process is there."""

    async def start(self) -> EngineInfo:
        """Load the model. Raises EngineDiedError, in the engine's own words."""
        try:
            self._engine: Engine = await self._settings.start()
        except Exception as error:
            raise self._death(error) from error
        self._moved = time.monotonic()
        self.info = self._engine.info
        return self.info

    async def do(self, item: Any) -> Any:
        """Return the result of the work. Raises EngineDiedError in the engine's own words, else what it raises."""
        if not self._running:
            self._moved = time.monotonic()
        self._running += 1
        try:
            return await self._work(self, item)
        except EngineDiedError as error:
            raise self._death(error) from error
        finally:
            self._running -= 1
            self._moved = time.monotonic()

    async def generate(self, request: Request) -> Completion:
        completion = await self._engine.generate(request)
        self._moved = time.monotonic()
        return completion

    async def stalled_s(self) -> float:
        """Return for how many seconds nothing was answered and no item came back, though some are running."""
        return time.monotonic() - self._moved if self._running else 0.0

    async def close(self) -> None:
        await self._engine.close()

    def _death(self, error: Exception) -> EngineDiedError:
        """Return the error with what the engine's other processes and the kernel said of it."""
        log = ""
        if self._log is not None:
            with self._log.open("rb") as file:
                file.seek(max(self._log_began, self._log.stat().st_size - _TAIL_BYTES))
                log = file.read().decode(errors="replace")
        words = (self._settings.cause(log) or own_words(error))[:_LONGEST]
        killed = memory_kills() > self._memory_kills
        if killed:
            words = f"{words} (the kernel killed a process for lack of memory)"
        short = killed or isinstance(error, MemoryError | EngineMemoryError) or self._settings.lacked_memory(log)
        return EngineMemoryError(words) if short else EngineDiedError(words)


def memory_kills() -> int:
    """Return how often the kernel has killed for lack of memory, on this machine and in this container."""
    kills = 0
    for path in ("/proc/vmstat", "/sys/fs/cgroup/memory.events"):
        with suppress(OSError):
            kills += sum(int(line.split()[1]) for line in Path(path).read_text().splitlines() if "oom_kill " in line)
    return kills


class LocalReplicas(ReplicaSet):
    """Engines in this process. Their deaths are those that they tell; a killed process is this one."""

    def __init__(self, placement: Placement, work: Work) -> None:
        super().__init__(placement, work)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="engines", daemon=True)
        self._thread.start()

    def launch(self, number: int, settings: EngineSettings) -> Replica:
        return Replica(settings, self.work)

    def call(self, host: Replica, method: str, *given: Any) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(getattr(host, method)(*given), self._loop)

    def kill(self, host: Replica) -> None:
        self.call(host, "close")

    def close(self) -> None:
        super().close()

        async def end() -> None:
            await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)
            self._loop.stop()

        asyncio.run_coroutine_threadsafe(end(), self._loop)
        self._thread.join(_GOODBYE_S)
        if not self._thread.is_alive():
            self._loop.close()


class LocalFleet:
    """Engines in this process, for tests and for who embeds a job."""

    def __init__(self, settings: EngineSettings, engines: int = 1, in_flight: int = 4) -> None:
        self.placement = Placement(settings, engines, in_flight=in_flight)

    @contextmanager
    def open(self, work: Work) -> Iterator[Pool[Any, Any]]:
        with Pool[Any, Any](LocalReplicas(self.placement, work), self.placement.in_flight) as pool:
            yield pool
