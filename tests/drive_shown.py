"""The whole job on a scripted engine that takes its time: `python -m tests.drive_shown REPLY FLAGS`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable

from cluster.errors import EngineDiedError
from cluster.inference.engine import Request, ScriptedSettings
from cluster.inference.replicas import Fleet
from generation import run
from tests.scripted import reply, slow_reply


async def lasting(request: Request) -> str:
    """Half a second for each request: a question takes one, its reflections too."""
    await asyncio.sleep(0.5)
    return reply(request)


async def endless(request: Request) -> str:
    """Some questions never end."""
    await asyncio.sleep(1000 if request.seed % 20 == 0 else 0.02)
    return reply(request)


class Dying:
    """The engine dies once."""

    def __init__(self) -> None:
        self._asked = 0

    async def __call__(self, request: Request) -> str:
        self._asked += 1
        if self._asked == 100:
            raise EngineDiedError("told to")
        return await slow_reply(request)


REPLIES: dict[str, Callable[[Request], Awaitable[str]]] = {
    "lasting": lasting,
    "endless": endless,
    "slow": slow_reply,
    "dying": Dying(),
}


if __name__ == "__main__":
    sys.exit(run.main(sys.argv[2:], fleet=Fleet(ScriptedSettings(REPLIES[sys.argv[1]]), in_flight=4)))
