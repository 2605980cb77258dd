"""Ways in which an engine falls silent, or dies; each once, where a bait lies, or always."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import NamedTuple

from cluster.errors import EngineDiedError, EngineMemoryError
from cluster.inference.engine import Engine, Request, Sampling, ScriptedEngine, ScriptedSettings
from cluster.inference.pool import Finished, Lost
from cluster.inference.replicas import ReplicaSet


class Item(NamedTuple):
    """What is asked, and what becomes of the engine over it."""

    number: int
    way: str = ""
    bait: str = ""
    """A file that the first one takes; "" for every time."""


async def ask(engine: Engine, item: Item) -> int:
    """The work: one request, or none where a grader hangs."""
    if item.way == "grader" and _takes(item):
        await asyncio.sleep(1000)
    chat = ({"role": "user", "content": repr(tuple(item))},)
    completion = await engine.generate(Request(str(item.number), chat, Sampling(), 0))  # type: ignore[arg-type]
    return int(completion.text)


async def reply(request: Request) -> str:
    item = Item(*eval(request.messages[0]["content"]))
    if item.way and item.way != "grader" and _takes(item):
        await _end(item.way)
    await asyncio.sleep(0.02)
    return str(item.number)


async def _end(way: str) -> None:
    if way == "reply":
        await asyncio.sleep(1000)
    elif way == "loop":
        time.sleep(1000)
    elif way == "pause":
        time.sleep(4)
    elif way == "death":
        raise EngineDiedError("told to")
    elif way == "memory":
        raise EngineMemoryError("no room for keys and values")
    else:
        os.kill(os.getpid(), {"stop": signal.SIGSTOP, "kill": signal.SIGKILL}[way])
        await asyncio.sleep(1000)


def _takes(item: Item) -> bool:
    if not item.bait:
        return True
    try:
        Path(item.bait).unlink()
    except FileNotFoundError:
        return False
    return True


class Roomy(ScriptedSettings):
    """An engine that has limits, and does not start with more than it has room for: `context` is the limit."""

    room = 8

    async def start(self) -> ScriptedEngine:
        if self.context > self.room:
            raise EngineMemoryError(f"no room for {self.context}")
        return await super().start()

    def smaller(self, reason: str) -> Roomy | None:
        return type(self)(self.reply, self.context // 2)

    def limits(self) -> str:
        return f"a limit of {self.context}"


class Narrow(Roomy):
    """There is room for nothing."""

    room = 0


class Hopeless(Roomy):
    """No limits would help."""

    def smaller(self, reason: str) -> None:
        return None

    def remedy(self, reason: str) -> str:
        return "ask for less"


async def obey(engine: Engine, item: str) -> str:
    if item == "die":
        raise EngineDiedError("gone")
    return item


def outcome(replicas: ReplicaSet, number: int, item: str) -> Lost | Finished:
    """What becomes of an item, once the engine is ready."""
    while number not in replicas.ready():
        list(replicas.poll(0.1))
    replicas.submit(number, item)
    while True:
        for event in replicas.poll(0.1):
            if isinstance(event, Lost | Finished):
                return event
