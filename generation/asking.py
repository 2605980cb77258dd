"""Requests to an engine: asked again where they are refused, together, and for reflections."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from cluster.inference.engine import Completion, Engine, Request
from generation.records import Reflection
from reflection.verdict import parse_verdict

TRIES = 3  # attempts at a request that the engine refuses
T = TypeVar("T")


async def reflect(engine: Engine, asked: Iterable[tuple[str, Request]], is_correct: bool | None) -> list[Reflection]:
    """Request reflections on a sample of this correctness; each request comes with the name of its prompt."""

    async def one(name: str, request: Request) -> Reflection:
        completion = await ask(engine, request)
        verdict = parse_verdict(completion.text)
        return Reflection(name, completion, request.seed, verdict, verdict is not None and verdict == is_correct)

    return await together(one(name, request) for name, request in asked)


async def ask(engine: Engine, request: Request) -> Completion:
    """Return the completion, or the last of TRIES refusals if the engine refuses every time, or the first final one."""
    for _ in range(TRIES):
        completion = await engine.generate(request)
        if completion.finish_reason != "error" or completion.final:
            break
    return completion


async def together(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Gather all results in order; if one fails, cancel the others so that no request is left running."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
