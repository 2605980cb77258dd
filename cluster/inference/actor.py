"""One engine in a process of its own, and the work done on it: what a Ray actor runs.

Knows no Ray and no pool. Tells when its engine last moved, and in whose words it ended.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

from cluster import reaper
from cluster.inference.engine import Completion, Engine, EngineDiedError, EngineInfo, EngineMemoryError, Request

_TAIL_BYTES = 200_000
_LONGEST = 400


class EngineSettings(Protocol):
    """How to start an engine, picklable: all that a host needs to know of it."""

    async def start(self) -> Engine: ...

    def smaller(self) -> EngineSettings:
        """For an engine that ran out of memory: the same with lower limits, or itself where none can be."""
        ...

    def limits(self) -> str:
        """The limits that `smaller` lowers, for a person."""
        ...

    def cause(self, log: str) -> str | None:
        """What the engine's processes said of their end in their log; None where they said nothing."""
        ...

    def lacked_memory(self, log: str) -> bool:
        """The log tells that memory was short."""
        ...


class Host:
    """The actor: one engine, and the work done on it."""

    def __init__(self, settings: EngineSettings, work: Callable[[Engine, Any], Awaitable[Any]], log: str, mark: str):
        self._settings = settings
        self._work = work
        self._log = _write_output_to(Path(log))
        self._log_began = self._log.stat().st_size
        self._memory_kills = memory_kills()
        self._held = 0
        # In /tmp whatever TMPDIR says: the path of a Unix socket in it ends at 107 bytes.
        folder = f"/tmp/skillfactory-engine-{uuid.uuid4().hex[:12]}"
        # First who removes it, then the folder: whenever this process is killed, nothing stays.
        self._reaper = reaper.start(mark, folder, apart=True)
        _take_temporary_folder(folder)

    async def hello(self) -> None:
        """Answers as soon as the process is there."""

    async def start(self) -> EngineInfo:
        """Raises EngineDiedError, in the engine's own words."""
        try:
            self._engine = Watched(await self._settings.start())
        except Exception as error:
            raise self._end(error) from error
        return self._engine.info

    async def do(self, item: Any) -> Any:
        self._engine.move(idle=self._held == 0)
        self._held += 1
        try:
            return await self._work(self._engine, item)
        except EngineDiedError as error:
            raise self._end(error) from error
        finally:
            self._held -= 1
            self._engine.move()

    async def pulse(self) -> float:
        """Seconds for which nothing was answered and no item came back, though some are held."""
        return time.monotonic() - self._engine.moved if self._held else 0.0

    async def close(self) -> None:
        await self._engine.close()

    def _end(self, error: Exception) -> EngineDiedError:
        """The error with what the engine's other processes and the kernel said of it."""
        with self._log.open("rb") as file:
            file.seek(max(self._log_began, self._log.stat().st_size - _TAIL_BYTES))
            log = file.read().decode(errors="replace")
        words = (self._settings.cause(log) or own_words(error))[:_LONGEST]
        killed = memory_kills() > self._memory_kills
        if killed:
            words = f"{words} (the kernel killed a process for lack of memory)"
        short = killed or isinstance(error, MemoryError | EngineMemoryError) or self._settings.lacked_memory(log)
        return EngineMemoryError(words) if short else EngineDiedError(words)


class Watched:
    """The engine, and when it last moved."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.info = engine.info
        self.moved = time.monotonic()

    async def generate(self, request: Request) -> Completion:
        completion = await self._engine.generate(request)
        self.move()
        return completion

    async def close(self) -> None:
        await self._engine.close()

    def move(self, *, idle: bool = True) -> None:
        if idle:
            self.moved = time.monotonic()


def own_words(error: BaseException) -> str:
    """The error's kind and what it says, on one line; an engine's end has words enough without its kind."""
    said = " ".join(str(error).split())
    return (said if isinstance(error, EngineDiedError) and said else f"{type(error).__name__}: {said}")[:_LONGEST]


def memory_kills() -> int:
    """How often the kernel has killed for lack of memory, on this machine and in this container."""
    kills = 0
    for path in ("/proc/vmstat", "/sys/fs/cgroup/memory.events"):
        with contextlib.suppress(OSError):
            kills += sum(int(line.split()[1]) for line in Path(path).read_text().splitlines() if "oom_kill " in line)
    return kills


def _take_temporary_folder(folder: str) -> None:
    """All temporary files of this process and of those it starts lie there: vLLM leaves a socket behind each time."""
    # What torch compiles is worth keeping for the next engine.
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(Path(tempfile.gettempdir(), f"torchinductor-{os.getuid()}")))
    os.mkdir(folder, 0o700)
    tempfile.tempdir = os.environ["TMPDIR"] = folder


def _write_output_to(log: Path) -> Path:
    """Engine and worker lines go to a file of the run, not to the terminal; where it is.

    A machine that does not see the run's folder keeps it among its temporary files. The folder is not
    made here: a run directory that was removed must not come back half.
    """
    if not log.parent.is_dir():
        log = Path(tempfile.mkdtemp(prefix="skillfactory-logs-"), log.name)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
    return log
