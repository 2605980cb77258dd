"""A replica: an engine, the work done on it, and who of those that ask it waits for a place."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from cluster.errors import EngineDiedError, EngineMemoryError
from cluster.inference.engine import Completion, Engine, EngineInfo, EngineSettings, Request, error_text

_FULL = 1.125  # requests in the engine, per one that it completes at once: the others take the places that fall free
_ROOM = 1 / 32  # told from so many requests on, likewise: items of one request are not dealt one by one
_TAIL_BYTES = 200_000
_COUNTED = ("prompt_tokens", "cached_tokens", "output_tokens")
Work = Callable[[Engine, Any], Awaitable[Any]]


class Report(NamedTuple):
    """How an engine is doing; tokens are those of the requests that it has completed since its start."""

    stalled_s: float  # since the last request or item returned; 0 if no item is running
    running: int  # requests in the engine
    waiting: int  # requests that wait for a place in it
    prompt_tokens: int
    cached_tokens: int  # of these found in the prefix cache
    output_tokens: int


class Turns:
    """Lets so many requests in at once; the others wait, those that follow an answer apart from the fresh ones.

    Following ones go first, while their prefix is still cached; with `fresh_first` the others, since nobody knows how
    long those will run.
    """

    def __init__(self, most: int) -> None:
        self.fresh_first = False
        self.inside = 0
        self._most = most
        self._waiting: dict[bool, deque[asyncio.Future[None]]] = {False: deque(), True: deque()}

    async def enter(self, follows: bool) -> None:
        if self.inside < self._most:
            self.inside += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[follows].append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # its turn had just come
                self.leave()
            raise

    def leave(self) -> None:
        for follows in (not self.fresh_first, self.fresh_first):
            waiting = self._waiting[follows]
            while waiting:
                if not (turn := waiting.popleft()).done():
                    turn.set_result(None)
                    return
        self.inside -= 1


class Replica:
    """An engine and the work done on it, which asks the engine through it."""

    def __init__(self, settings: EngineSettings, work: Work, log: Path | None = None) -> None:
        self._settings, self._work, self._log = settings, work, log
        self._log_began = log.stat().st_size if log else 0
        self._memory_kills = memory_kills()
        self._full = max(1, round(_FULL * settings.max_sequences))
        self._room = max(1, round(_ROOM * settings.max_sequences))
        self._turns = Turns(self._full)
        self._running = 0
        self._begun = 0  # items that have asked something, or ended without
        self._asked = Counter[bool]()  # requests not answered yet, those that follow an answer apart
        self._eased = asyncio.Event()
        self._moved = time.monotonic()
        self._tokens = Counter[str]()

    async def start(self) -> EngineInfo:
        """Start the engine. Raises EngineDiedError with the engine's own message."""
        try:
            self._engine: Engine = await self._settings.start()
        except Exception as error:
            raise self._death(error) from error
        self.info = self._engine.info
        return self.info

    async def do(self, item: Any) -> Any:
        """Do the work on an item. Raises what it raises, but EngineDiedError with the engine's own message."""
        self._moved = self._moved if self._running else time.monotonic()
        self._running += 1
        asking = _Asking(self)
        try:
            return await self._work(asking, item)
        except EngineDiedError as error:
            raise self._death(error) from error
        finally:
            asking.begin()
            self._running -= 1
            self._moved = time.monotonic()

    async def generate(self, request: Request) -> Completion:
        self._asked[request.follows] += 1
        try:
            await self._turns.enter(request.follows)
            try:
                completion = await self._engine.generate(request)
            finally:
                self._turns.leave()
        finally:
            self._asked[request.follows] -= 1
            self._eased.set()
        self._moved = time.monotonic()
        self._tokens.update({name: getattr(completion, name) for name in _COUNTED})
        return completion

    async def vacancies(self, items: int, per_item: int, early: bool) -> int:
        """Wait until the engine could take a few more requests, and return how many.

        Each of the `items` sent so far counts as `per_item` requests until it asks. With `early`, fresh requests go
        first, and they alone count: what they leave undone fills the engine later.
        """
        self._turns.fresh_first = early
        while (vacant := self._vacant(items, per_item, early)) < self._room:
            self._eased.clear()
            await self._eased.wait()
        return vacant

    def _vacant(self, items: int, per_item: int, early: bool) -> int:
        asked = self._asked[False] if early else self._asked.total()
        return self._full - asked - per_item * max(0, items - self._begun)

    def began(self) -> None:
        """Count an item that has asked something, or ended without."""
        self._begun += 1
        self._eased.set()

    async def report(self) -> Report:
        stalled_s = time.monotonic() - self._moved if self._running else 0.0
        inside = min(self._turns.inside, self._settings.max_sequences)
        return Report(stalled_s, inside, self._asked.total() - inside, *(self._tokens[name] for name in _COUNTED))

    async def close(self) -> None:
        await self._engine.close()

    def _death(self, error: Exception) -> EngineDiedError:
        """Return the error as the log or the kernel explains it."""
        log = ""
        if self._log is not None:
            with self._log.open("rb") as file:
                file.seek(max(self._log_began, self._log.stat().st_size - _TAIL_BYTES))
                log = file.read().decode(errors="replace")
        cause, killed = self._settings.cause(log), memory_kills() > self._memory_kills
        words = error_text(cause or error) + " (the kernel killed a process for lack of memory)" * killed
        short = killed or any(isinstance(one, MemoryError | EngineMemoryError) for one in (error, cause))
        return EngineMemoryError(words) if short else EngineDiedError(words)


class _Asking:
    """The engine as the work on one item sees it: the replica, which learns when the item first asks."""

    def __init__(self, replica: Replica) -> None:
        self._replica, self._begun = replica, False
        self.info = replica.info

    async def generate(self, request: Request) -> Completion:
        self.begin()
        return await self._replica.generate(request)

    def begin(self) -> None:
        if not self._begun:
            self._begun = True
            self._replica.began()

    async def close(self) -> None:
        """Do nothing: the engine is the replica's."""


def memory_kills() -> int:
    """Return the kernel's count of out-of-memory kills, on this machine and in this container."""
    kills = 0
    for path in ("/proc/vmstat", "/sys/fs/cgroup/memory.events"):
        with suppress(OSError):
            kills += sum(int(line.split()[1]) for line in Path(path).read_text().splitlines() if "oom_kill " in line)
    return kills
