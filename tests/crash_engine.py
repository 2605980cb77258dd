"""How the crash test reaches into the job: a tally of questions begun, a pace, and a rename that kills."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cluster.errors import EngineDiedError
from cluster.inference.engine import Completion, Engine, EngineInfo, EngineSettings, Request
from tests.scripted import reply

TALLY, HURRY, FAULT, SMALL = "tally", "hurry", "fault", "small"
"""Files of the crash test's own folder: a line for each question begun; no delays while it is there; who is to die;
less is asked while it is there."""


@dataclass(frozen=True)
class Tallied:
    """Starts another engine, which then notes each question that is begun on it."""

    inner: EngineSettings
    folder: str
    first: tuple[str, ...]
    """How the key of a question's first request ends, and of that which it lacked."""

    @property
    def max_sequences(self) -> int:
        return self.inner.max_sequences

    async def start(self) -> TallyingEngine:
        return TallyingEngine(await self.inner.start(), self)

    def of(self, number: int) -> Tallied:
        return replace(self, inner=self.inner.of(number))

    def place(self, logs: Path) -> str:
        return self.inner.place(logs)

    def loading(self) -> str:
        return self.inner.loading()

    def smaller(self, reason: str) -> Tallied | None:
        inner = self.inner.smaller(reason)
        return None if inner is None else replace(self, inner=inner)

    def remedy(self, reason: str) -> str:
        return self.inner.remedy(reason)

    def limits(self) -> str:
        return self.inner.limits()

    def cause(self, log: str) -> EngineDiedError | None:
        return self.inner.cause(log)


class TallyingEngine:
    """An engine that answers as the one inside it."""

    def __init__(self, inner: Engine, settings: Tallied) -> None:
        self._inner = inner
        self._first = settings.first
        self._tally = os.open(Path(settings.folder, TALLY), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    @property
    def info(self) -> EngineInfo:
        return self._inner.info

    async def generate(self, request: Request) -> Completion:
        if request.key.endswith(self._first):
            # One small write in append mode: whole, whoever else writes.
            os.write(self._tally, f"{request.key}\n".encode())
        return await self._inner.generate(request)

    async def close(self) -> None:
        await self._inner.close()


@dataclass(frozen=True)
class Paced:
    """The scripted reply after up to `longest` seconds drawn from the request, at once where `hurry` lies."""

    hurry: str
    longest: float

    async def __call__(self, request: Request) -> str:
        if not os.path.exists(self.hurry):
            await asyncio.sleep(random.Random(f"pace/{request.seed}").random() * self.longest)
        return reply(request)


def die_at_a_rename(fault: Path) -> None:
    """Kill this process just before a rename, once `fault` says to which path and at which time.

    It holds "PART COUNT CUT": the COUNTth rename to a path with PART in it, its file cut short before if CUT is 1.
    """
    seen = 0

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if event != "os.rename" or not fault.exists():
            return
        part, count, cut = fault.read_text().split()
        source, destination = (os.fsdecode(path) for path in arguments[:2])
        if part not in destination:
            return
        seen += 1
        if seen >= int(count):
            if cut == "1" and os.path.isfile(source):
                os.truncate(source, os.path.getsize(source) // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
