"""A replica: who waits for a place in the engine, in which order, and how many more requests it could take."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cluster.inference.engine import Engine, Request, Sampling, ScriptedSettings
from cluster.inference.replica import Replica, Turns

FULL = 9
"""Requests that a replica lets into an engine of 8 sequences."""


def request(key: str, *, follows: bool = False) -> Request:
    return Request(key, ({"role": "user", "content": key},), Sampling(), 0, follows)


class Held:
    """A reply that waits until it is let go; keeps the keys as they enter the engine."""

    def __init__(self) -> None:
        self.entered: list[str] = []
        self._answers: dict[str, asyncio.Future[str]] = {}

    async def __call__(self, request: Request) -> str:
        self.entered.append(request.key)
        self._answers[request.key] = asyncio.get_running_loop().create_future()
        return await self._answers[request.key]

    def answer(self, key: str) -> None:
        self._answers[key].set_result(key)

    async def end(self, *keys: str) -> None:
        for key in keys:
            self.answer(key)
        await settled()


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def ask(engine: Engine, requests: list[Request]) -> list[str]:
    return [one.text for one in await asyncio.gather(*map(engine.generate, requests))]


def on_a_replica(test: Callable[[Replica, Held], Awaitable[None]]) -> None:
    async def run() -> None:
        held = Held()
        replica = Replica(ScriptedSettings(held, max_sequences=8), ask)
        await replica.start()
        await test(replica, held)
        for task in (tasks := asyncio.all_tasks() - {asyncio.current_task()}):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(run())


def begin(replica: Replica, *requests: Request) -> asyncio.Task[Any]:
    return asyncio.ensure_future(replica.do(list(requests)))


def watch(replica: Replica, items: int, *, early: bool = False) -> asyncio.Task[int]:
    return asyncio.ensure_future(replica.vacancies(items, 4, early))


FIRST = [str(number) for number in range(FULL)]
WAITING = [request("sample"), request("look", follows=True), request("sample 2"), request("look 2", follows=True)]


@pytest.mark.parametrize(
    ("early", "order"),
    [
        (False, ["look", "look 2", "sample", "sample 2"]),  # while their prefixes are cached
        (True, ["sample", "sample 2", "look", "look 2"]),  # long samples begin before the end
    ],
)
def test_those_that_wait_enter_in_order(early: bool, order: list[str]) -> None:
    async def test(replica: Replica, held: Held) -> None:
        watch(replica, 0, early=early)
        begin(replica, *map(request, FIRST))
        begin(replica, *WAITING)
        await settled()
        assert held.entered == FIRST
        await held.end(*FIRST[:4])
        assert held.entered == [*FIRST, *order]

    on_a_replica(test)


def test_what_is_cancelled_leaves_its_place_to_others() -> None:
    """As when an item fails."""

    async def test(replica: Replica, held: Held) -> None:
        inside, waiting = begin(replica, *map(request, FIRST)), begin(replica, request("gone"))
        await settled()
        for cancelled in (waiting, inside):
            cancelled.cancel()
            await settled()
        begin(replica, *(request(f"{key} again") for key in FIRST))
        await settled()
        assert held.entered == [*FIRST, *(f"{key} again" for key in FIRST)]

    on_a_replica(test)


def test_what_is_cancelled_just_as_its_turn_comes_passes_it_on() -> None:
    async def test() -> None:
        turns = Turns(1)
        await turns.enter(False)
        first, second = (asyncio.ensure_future(turns.enter(False)) for _ in range(2))
        await settled()
        turns.leave()
        first.cancel()
        await settled()
        assert (first.cancelled(), second.done()) == (True, True)

    asyncio.run(test())


def test_how_many_more_requests_it_could_take() -> None:
    async def test(replica: Replica, held: Held) -> None:
        assert await watch(replica, 0) == FULL
        assert await watch(replica, 1) == FULL - 4, "one that is on its way counts as 4"
        begin(replica, *map(request, FIRST[:2]))
        await settled()
        assert await watch(replica, 1) == FULL - 2, "it has asked"
        begin(replica)
        await settled()
        assert await watch(replica, 2) == FULL - 2, "it has ended without"
        begin(replica, *map(request, FIRST[2:]), *WAITING)
        await settled()
        full, early = watch(replica, 3), watch(replica, 3, early=True)
        await settled()
        await held.end(*FIRST[:2])
        assert (full.done(), early.done()) == (False, False), "9 fresh ones and 2 that follow"
        await held.end(FIRST[2])
        assert (full.done(), early.result()) == (False, 1)
        await held.end(*FIRST[3:5])
        assert full.result() == 1

    on_a_replica(test)


def test_a_replica_reports_its_load() -> None:
    """Requests in the engine, those that wait for a place, and the tokens of those that were completed."""

    async def test(replica: Replica, held: Held) -> None:
        idle = await replica.report()
        assert idle == (0.0, 0, 0, 0, 0, 0)
        requests = [request(f"two words {number}") for number in range(12)]
        working = asyncio.ensure_future(replica.do(requests))
        await settled()
        assert (await replica.report())[1:] == (8, 4, 0, 0, 0)
        await held.end("two words 0", "two words 1")
        assert (await replica.report())[1:] == (8, 2, 6, 0, 6)
        assert (await replica.report()).stalled_s < 5
        working.cancel()

    on_a_replica(test)
