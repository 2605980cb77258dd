"""How full engines are, and how long they idle at the end: the real pool and replicas on engines whose time is reckoned.

    python -m benchmarks.occupancy [QUESTIONS] [ENGINES]...

A step of an engine takes 4 ms and 12 µs for each sequence in it, and gives each a token; it has 1,024 places. A question
has 64 samples (lognormal, 290 tokens on average, some of them 4,096), each with 4 reflections (150). No time passes.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import random
import selectors
import sys
import time
from collections import deque
from collections.abc import Collection, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from cluster.inference.engine import Completion, Engine, EngineInfo, EngineSettings, Request, Sampling
from cluster.inference.pool import Done, Pool, items_begun_early, items_in_flight
from cluster.inference.replica import Replica
from cluster.inference.replicas import Placement, ReplicaSet
from generation.rollout import together

PLACES, SAMPLES, REFLECTIONS = 1024, 64, 4
STEP_S, SEQUENCE_S = 4e-3, 12e-6
MEAN, SPREAD, LOOK, LONGEST = 290, 0.6, 150, 4096  # tokens
LONG = (0.0, 0.002, 0.01, 0.03)  # shares of samples that run to LONGEST


class Clock(asyncio.SelectorEventLoop):
    """An event loop that does not wait: its time jumps to whatever comes next."""

    def __init__(self) -> None:
        super().__init__(_Jump(self))
        self.now = 0.0

    def time(self) -> float:
        return self.now


class _Jump(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> Any:
        found = super().select(0)
        if not found and timeout:
            self._clock.now += timeout
        return found


class TimedEngine:
    """Completes `places` requests at once, first come first served; each takes as many steps as its tokens."""

    def __init__(self, places: int, seed: str) -> None:
        self._places, self._seed = places, seed
        self._loop = asyncio.get_running_loop()
        self._running: list[tuple[float, int, asyncio.Future[None]]] = []  # by the step at which they end
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._count = itertools.count()
        self._steps, self._since = 0.0, self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self.began, self.ended = self._since, None
        self.busy = 0.0  # places × seconds
        self.tokens = 0
        self.info = EngineInfo("timed", "1", "timed", "", 32768)

    async def generate(self, request: Request) -> Completion:
        tokens = request.sampling.max_tokens
        done = self._loop.create_future()
        self._pass()
        self._waiting.append((tokens, done))
        self._go()
        await done
        self.tokens += tokens
        return Completion("", "stop", 0, tokens)

    def _pass(self) -> None:
        """Reckon what has happened until now."""
        now, running = self._loop.time(), len(self._running)
        self.busy += running * (now - self._since)
        self._steps += (now - self._since) / (STEP_S + SEQUENCE_S * running)
        self._since = now
        while self._running and self._running[0][0] <= self._steps + 1e-6:
            *_, done = heapq.heappop(self._running)
            if not done.done():
                done.set_result(None)

    def _go(self) -> None:
        while self._waiting and len(self._running) < self._places:
            tokens, done = self._waiting.popleft()
            heapq.heappush(self._running, (self._steps + tokens, next(self._count), done))
        if self._running:
            step_s = STEP_S + SEQUENCE_S * len(self._running)
            at = self._since + max(0.0, self._running[0][0] - self._steps) * step_s
            if self._timer is None or self._timer.cancelled() or at < self._timer.when():
                if self._timer is not None:
                    self._timer.cancel()
                self._timer = self._loop.call_at(at, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._pass()
        self._go()

    async def close(self) -> None:
        if self.ended is None:
            self._pass()
            self.ended = self._loop.time()


@dataclass(frozen=True)
class TimedSettings(EngineSettings):
    places: int = PLACES
    max_sequences: int = PLACES  # as the replica knows them

    async def start(self) -> TimedEngine:
        engine = TimedEngine(self.places, "")
        ENGINES.append(engine)
        return engine


ENGINES: list[TimedEngine] = []


@dataclass(frozen=True)
class Asked:
    """The work on a question: what it asks, and when, is as of generation.rollout."""

    long: float
    seed: str

    async def __call__(self, engine: Engine, question: int) -> int:
        rng = random.Random(f"{self.seed}/{question}")
        mu = math.log(MEAN) - SPREAD**2 / 2
        draws = [
            LONGEST if rng.random() < self.long else min(LONGEST, max(1, round(rng.lognormvariate(mu, SPREAD))))
            for _ in range(SAMPLES)
        ]
        return sum(await together(self._sample(engine, f"{question}/{number}", n) for number, n in enumerate(draws)))

    async def _sample(self, engine: Engine, key: str, tokens: int) -> int:
        await engine.generate(_request(key, tokens, 0))
        looks = [engine.generate(_request(f"{key}/{number}", LOOK, 1)) for number in range(REFLECTIONS)]
        await together(looks)
        return tokens + LOOK * REFLECTIONS


def _request(key: str, tokens: int, priority: int) -> Request:
    return Request(key, (), Sampling(max_tokens=tokens), 0, priority > 0)


class SimulatedReplicas(ReplicaSet):
    """Engines on one clock; `poll` lets them go on."""

    def __init__(self, placement: Placement, work: Any) -> None:
        super().__init__(placement, work)
        self.clock = Clock()
        self.last_deal: float = 0.0
        self.marks: tuple[float, float] = (0.0, 0.0)
        self.held: dict[int, int] = {}
        self.peak = 0

    def launch(self, number: int, settings: EngineSettings) -> Replica:
        return Replica(settings, self.work)

    def call(self, host: Replica, method: str, *given: Any) -> Future[Any]:
        if method == "do":
            self.marks = self._used()
        future: Future[Any] = asyncio.run_coroutine_threadsafe(getattr(host, method)(*given), self.clock)
        future.add_done_callback(lambda _: self.clock.stop())
        return future

    def _used(self) -> tuple[float, float]:
        for engine in ENGINES:
            if engine.ended is None:
                engine._pass()
                engine._go()
        return sum(one.busy for one in ENGINES), sum((one.ended or self.clock.now) - one.began for one in ENGINES)

    def submit(self, number: int, /, *given: Any, method: str = "do") -> Future[Any]:
        future = super().submit(number, *given, method=method)
        if method == "do":
            self.held[number] = self.held.get(number, 0) + 1
            self.peak = max(self.peak, self.held[number])
            future.add_done_callback(lambda _: self._drop(number))
        return future

    def _drop(self, number: int) -> None:
        self.held[number] -= 1

    def kill(self, host: Replica, running: Collection[Future[Any]]) -> None:
        for future in running:
            future.cancel()
        self.call(host, "close")

    def poll(self, timeout_s: float) -> Iterator[Any]:
        yield from self._reconcile()
        timer = self.clock.call_later(timeout_s, self.clock.stop)
        self.clock.run_forever()
        timer.cancel()
        yield from super().poll(0)

    def close(self) -> None:
        self.clock.run_until_complete(self._end())
        self.clock.close()

    async def _end(self) -> None:
        for number in self.ready():
            await self._members[number].host.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Figures(NamedTuple):
    tokens_s: float
    full: float
    idle: float
    peak: int
    seconds: float


def simulate(long: float, engines: int, questions: int, way: str = "load") -> Figures:
    ENGINES.clear()
    settings = TimedSettings()
    in_flight = items_in_flight(PLACES, SAMPLES)
    count: float = questions
    if way == "count":
        settings, in_flight, count = replace(settings, max_sequences=10**9), 24, math.inf
    if way == "plain":
        count = math.inf
    placement = Placement(settings, engines, in_flight=in_flight, per_item=SAMPLES)
    replicas = SimulatedReplicas(placement, Asked(long, "0"))
    early = 0 if way != "load" else items_begun_early(PLACES, SAMPLES)
    with Pool[int, int](replicas, in_flight, SAMPLES, early) as pool:
        done = sum(isinstance(event, Done) for event in pool.run(range(questions), count))
    assert done == questions
    used, held = replicas.marks
    places = PLACES * sum(one.ended - one.began for one in ENGINES)
    tokens = sum(one.tokens for one in ENGINES)
    seconds = max(one.ended for one in ENGINES)
    busy = sum(one.busy for one in ENGINES)
    idle = ((places - busy) - (held * PLACES - used)) / places
    return Figures(tokens / seconds, used / held / PLACES, idle, replicas.peak, seconds)


if __name__ == "__main__":
    questions, engines = int(sys.argv[1]), int(sys.argv[2])
    for way in sys.argv[3:]:
        for long in LONG:
            t = time.time()
            f = simulate(long, engines, questions, way)
            print(
                way,
                long,
                engines,
                questions,
                f"{f.tokens_s:,.0f} tok/s full {f.full:.3f} idle {f.idle:.3f} peak {f.peak} {f.seconds:.0f} s",
                f"({time.time() - t:.1f} s)",
                flush=True,
            )
