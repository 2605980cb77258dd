"""How full engines are, and how long they idle at the end: the real pool and replicas on engines of reckoned time.

    python -m benchmarks.occupancy [QUESTIONS]

One engine and four, questions dealt by count (as before November 29, 2026) and by load. A step of an engine takes 4 ms
and 12 µs for each of up to 1,024 sequences, and gives each a token. No time passes, and no two runs differ.
"""

import asyncio
import heapq
import itertools
import math
import os
import random
import selectors
import statistics
import sys
from collections import deque
from collections.abc import Collection, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cluster.inference.engine import Completion, Engine, EngineInfo, EngineSettings, Request, Sampling
from cluster.inference.pool import Done, Notice, Pool, items_begun_early, items_in_flight
from cluster.inference.replica import Replica, Work
from cluster.inference.replicas import Placement, ReplicaSet
from generation.asking import together

LONG = (0.0, 0.002, 0.01, 0.03)  # shares of samples that run to the longest
_BY_COUNT = 1.5  # times what fills an engine: what it held before, whatever was still asked


@dataclass(frozen=True)
class Shape:
    """An engine, and what is asked of it. Lengths in tokens."""

    places: int = 1024  # sequences in a step
    step_s: float = 4e-3
    sequence_s: float = 12e-6  # of a step, for each sequence in it
    samples: int = 64  # of a question
    reflections: int = 4  # of a sample
    sample: int = 290  # mean of a lognormal
    spread: float = 0.6  # its sigma
    reflection: int = 150
    longest: int = 4096
    long: float = 0.0  # share of samples that run to the longest

    def lengths(self, question: int) -> list[int]:
        """Draw how long the samples of a question are."""
        rng, mean = random.Random(f"occupancy/{question}"), math.log(self.sample) - self.spread**2 / 2
        drawn = [(rng.random() < self.long, rng.lognormvariate(mean, self.spread)) for _ in range(self.samples)]
        return [self.longest if long else max(1, min(self.longest, round(length))) for long, length in drawn]


class Clock(asyncio.SelectorEventLoop):
    """An event loop that never waits: its time jumps to whatever comes next."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(_Jump(self))

    def time(self) -> float:
        return self.now


class _Jump(selectors.SelectSelector):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if not found and timeout:
            self._clock.now += timeout
        return found


class TimedEngine:
    """First come, first served; a request takes as many steps as its `max_tokens`, and its text is when it began."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._loop = asyncio.get_running_loop()
        self._running: list[tuple[float, int, asyncio.Future[None]]] = []  # by the step at which they end
        self._waiting: deque[tuple[int, asyncio.Future[None], asyncio.Future[float]]] = deque()
        self._order = itertools.count()
        self._steps, self._timer = 0.0, self._loop.call_soon(lambda: None)
        self.began = self._reckoned = self._loop.time()
        self.closed = False
        self.busy = 0.0  # places × seconds
        self.tokens = 0
        self.info = EngineInfo("timed", "1", "timed", "", 32768)

    @property
    def held_s(self) -> float:
        return self._reckoned - self.began

    async def generate(self, request: Request) -> Completion:
        done, begun = self._loop.create_future(), self._loop.create_future()
        self._waiting.append((request.sampling.max_tokens, done, begun))
        self.go_on()
        await done
        self.tokens += request.sampling.max_tokens
        return Completion(str(begun.result()), "stop", 0, request.sampling.max_tokens)

    def go_on(self) -> None:
        """Reckon what has happened until now, let in what waits, and wake up when the next one ends."""
        if self.closed:
            return
        shape, now = self._shape, self._loop.time()
        self.busy += len(self._running) * (now - self._reckoned)
        self._steps += (now - self._reckoned) / (shape.step_s + shape.sequence_s * len(self._running))
        self._reckoned = now
        while self._running and self._running[0][0] <= self._steps + 1e-6:
            *_, done = heapq.heappop(self._running)
            done.set_result(None)
        while self._waiting and len(self._running) < shape.places:
            tokens, done, begun = self._waiting.popleft()
            begun.set_result(now)
            heapq.heappush(self._running, (self._steps + tokens, next(self._order), done))
        self._timer.cancel()
        if self._running:
            left = self._running[0][0] - self._steps
            self._timer = self._loop.call_later(
                left * (shape.step_s + shape.sequence_s * len(self._running)), self.go_on
            )

    async def close(self) -> None:
        self.go_on()
        self._timer.cancel()
        self.closed = True


@dataclass(frozen=True)
class TimedSettings(EngineSettings):
    shape: Shape
    max_sequences: int = 0
    made: list[TimedEngine] = field(default_factory=list)

    async def start(self) -> TimedEngine:
        self.made.append(TimedEngine(self.shape))
        return self.made[-1]


@dataclass(frozen=True)
class Asking:
    """The work on a question: asks what `generation.rollout` does, and when; tells how long reflections waited."""

    shape: Shape

    async def __call__(self, engine: Engine, question: int) -> list[float]:
        lengths = enumerate(self.shape.lengths(question))
        waited = await together(self._sample(engine, f"{question}/{number}", tokens) for number, tokens in lengths)
        return [seconds for one in waited for seconds in one]

    async def _sample(self, engine: Engine, key: str, tokens: int) -> list[float]:
        await engine.generate(Request(key, (), Sampling(max_tokens=tokens), 0))
        asked, look = asyncio.get_running_loop().time(), Sampling(max_tokens=self.shape.reflection)
        requests = [Request(f"{key}/{number}", (), look, 0, follows=True) for number in range(self.shape.reflections)]
        return [float(one.text) - asked for one in await together(map(engine.generate, requests))]


class Use(NamedTuple):
    """What engines were used for until now."""

    busy: float  # places × seconds
    held: float  # likewise


class TimedReplicas(ReplicaSet):
    """Engines on one clock, which goes on while `poll` waits. They neither die nor fall silent."""

    def __init__(self, placement: Placement, work: Work, settings: TimedSettings) -> None:
        super().__init__(placement, work)
        self._clock, self._timed = Clock(), settings
        self._held: dict[int, set[Future[Any]]] = {}
        self.peak = 0  # items that one engine held at most
        self.dealt = Use(0.0, 0.0)  # when the last item was dealt

    def use(self) -> Use:
        for engine in self._timed.made:
            engine.go_on()
        held_s = sum(engine.held_s for engine in self._timed.made)
        return Use(sum(engine.busy for engine in self._timed.made), held_s * self._timed.shape.places)

    def launch(self, number: int, settings: EngineSettings) -> Replica:
        return Replica(settings, self.work)

    def call(self, host: Replica, method: str, *given: Any) -> Future[Any]:
        future: Future[Any] = asyncio.run_coroutine_threadsafe(getattr(host, method)(*given), self._clock)
        future.add_done_callback(lambda _: self._clock.stop())
        return future

    def kill(self, host: Replica, running: Collection[Future[Any]]) -> None:
        for future in running:
            future.cancel()
        self.call(host, "close")

    def submit(self, number: int, /, *given: Any, method: str = "do") -> Future[Any]:
        future = super().submit(number, *given, method=method)
        if method == "do":
            self.dealt = self.use()
            held = self._held.setdefault(number, set())
            held.add(future)
            future.add_done_callback(held.discard)
            self.peak = max(self.peak, len(held))
        return future

    def poll(self, timeout_s: float) -> Iterator[Notice]:
        yield from self._reconcile()
        timer = self._clock.call_later(timeout_s, self._clock.stop)
        self._clock.run_forever()
        timer.cancel()
        yield from super().poll(0)

    def close(self) -> None:
        self._clock.run_until_complete(self._end())
        self._clock.close()

    async def _end(self) -> None:
        for engine in self._timed.made:
            await engine.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Figures(NamedTuple):
    tokens_s: float
    full: float  # share of the places in use until the last question was dealt
    idle: float  # share of all places, while engines were held, that were free after that
    peak: int  # questions that one engine held at most
    waited_s: float  # median of a reflection's wait for its place
    seconds: float


def simulate(shape: Shape, engines: int, questions: int, *, by_load: bool = True) -> Figures:
    """Deal the questions to engines of this shape."""
    fills = shape.places, shape.samples
    most = items_in_flight(*fills) if by_load else math.ceil(_BY_COUNT * shape.places / shape.samples)
    # By count: the replica lets everything in, and there is always room.
    settings = TimedSettings(shape, shape.places if by_load else questions * shape.samples * (1 + shape.reflections))
    early = items_begun_early(*fills) if by_load else 0
    placement = Placement(settings, engines, in_flight=most, per_item=shape.samples, early=early)
    replicas = TimedReplicas(placement, Asking(shape), settings)
    with Pool[int, list[float]](replicas, most, shape.samples, early) as pool:
        waited = [event.result for event in pool.run(range(questions), questions) if isinstance(event, Done)]
    assert len(waited) == questions
    seconds = max(engine.began + engine.held_s for engine in settings.made)
    whole, dealt = replicas.use(), replicas.dealt
    return Figures(
        sum(engine.tokens for engine in settings.made) / seconds,
        dealt.busy / dealt.held if dealt.held else 1.0,
        ((whole.held - whole.busy) - (dealt.held - dealt.busy)) / whole.held,
        replicas.peak,
        statistics.median(itertools.chain.from_iterable(waited)),
        seconds,
    )


def _row(engines: int, long: float, by_load: bool, questions: int) -> str:
    one = simulate(Shape(long=long), engines, questions, by_load=by_load)
    told = (
        f"{one.tokens_s:,.0f} | {one.full:.3f} | {one.idle:.1%} | {one.peak} | {one.waited_s:.1f} | {one.seconds:.0f}"
    )
    return f"| {engines} | {long:.1%} | {'load' if by_load else 'count'} | {told} |"


def main(questions: int = 500) -> None:
    print(f"{questions} questions")
    print("| engines | long samples | dealt by | tokens/s | full | idle at the end | held | reflections wait, s | s |")
    print(f"| ---: | ---: | --- |{' ---: |' * 6}")
    asked = itertools.product((1, 4), LONG, (False, True))
    with ProcessPoolExecutor(os.cpu_count()) as processes:
        for row in processes.map(_row, *zip(*asked, strict=True), itertools.repeat(questions)):
            print(row, flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
