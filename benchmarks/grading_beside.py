"""Whether grading holds up the engine: an engine that is always full, graded and not graded in turns of a few seconds.

    python -m benchmarks.grading_beside [PAIRS] [SECONDS] [apart]

One engine of the built-in model in this process, as a run has it in its actor. Countdown questions, graded as such,
and once as mathematics, where a worker process compares every answer. No reflections, so that both turns ask the same;
new samples all the time. Which turn of a pair is graded is drawn; the ratio is of all tokens that ended in each kind,
its error from pairs drawn again (bootstrap).

`apart` gives the model's computations the first core for themselves, and all else (prompts, tokens, grading) the
others: as on a GPU, whose engine takes no core from the graders.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import os
import random
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cluster.inference.engine import Completion, Engine, EngineInfo, Request
from cluster.inference.vllm_settings import VllmSettings
from generation import rollout as rolling
from generation.builtin import MODEL
from generation.grading import grade, mathematics
from generation.placement import CPU_SEQUENCES, cpu_environment
from generation.plan import make_plan
from generation.records import Grade, Question
from generation.settings import Settings
from tests import family

_FULL = 1.5  # requests, per one that the engine completes at once
NOT_GRADED = Grade("wrong", "not graded")


def _not_graded(*_: object) -> Grade:
    return NOT_GRADED


class Load:
    """Questions without end, as many at once as keep the engine full; the tokens of all samples that have ended."""

    def __init__(self, engine: Engine, roll: rolling.Rollout, questions: Sequence[Question]) -> None:
        self.tokens = 0
        self._engine = engine
        self._source = ((replace(roll, seed=seed), one) for seed in itertools.count() for one in questions)
        self._tasks = [
            asyncio.ensure_future(self._ask())
            for _ in range(math.ceil(_FULL * CPU_SEQUENCES / (len(roll.variants) * roll.samples)))
        ]

    async def _ask(self) -> None:
        for roll, question in self._source:
            await roll(self, question)

    @property
    def info(self) -> EngineInfo:
        return self._engine.info

    async def generate(self, request: Request) -> Completion:
        completion = await self._engine.generate(request)
        self.tokens += completion.output_tokens
        return completion

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    async def turn(self, seconds: float, *, graded: bool) -> int:
        """Tokens of so many seconds."""
        mathematics.compare.cache_clear()
        rolling.grade = grade if graded else _not_graded  # type: ignore[attr-defined]
        began = self.tokens
        ended, _ = await asyncio.wait(self._tasks, timeout=seconds)
        for task in ended:
            task.result()
        return self.tokens - began


async def compare(load: Load, pairs: int, seconds: float) -> list[tuple[int, int]]:
    """Tokens graded and not graded, of each pair."""
    draw = random.Random("beside")
    await load.turn(10, graded=True)
    told = []
    for _ in range(pairs):
        tokens: dict[bool, int] = {}
        for graded in draw.sample((True, False), 2):
            tokens[graded] = await load.turn(seconds, graded=graded)
        told.append((tokens[True], tokens[False]))
    return told


def ratio(pairs: Sequence[tuple[int, int]]) -> float:
    return sum(graded for graded, _ in pairs) / sum(plain for _, plain in pairs)


def set_apart() -> None:
    """The model's worker on the first core, every other process on the rest."""
    first, *others = sorted(os.sched_getaffinity(0))
    everyone = {os.getpid(): "", **{pid: process.line for pid, process in family.descendants().items()}}
    for pid, line in everyone.items():
        for thread in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), [first] if "VLLM::Worker" in line else others)


async def main(pairs: int, seconds: int, *, apart: bool) -> None:
    os.environ.update(cpu_environment(1) | ({"OMP_NUM_THREADS": "1"} if apart else {}))
    plan = make_plan(Settings(questions=64, rl_questions=0, reflections=0, samples=4))
    engine = await VllmSettings(
        str(MODEL), None, "beside", "", plan.context, gpu=False, max_sequences=CPU_SEQUENCES
    ).start()
    if apart:
        set_apart()
    as_mathematics = [replace(one, grader="math", facts={}) for one in plan.questions]
    for name, asked in (("countdown", plan.questions), ("math", as_mathematics)):
        load = Load(engine, plan.rollout, asked)
        await load.turn(20, graded=True)
        told = await compare(load, pairs, seconds)
        await load.close()
        again = random.Random("bootstrap")
        drawn = sorted(ratio(again.choices(told, k=pairs)) for _ in range(2000))
        rate = sum(plain for _, plain in told) / (pairs * seconds)
        print(
            f"{name}: graded over not graded {ratio(told):.4f}, 95% between {drawn[50]:.4f} and {drawn[-51]:.4f}; "
            f"{pairs} pairs of {seconds} s, {rate:,.0f} tokens/s not graded",
            flush=True,
        )
    await engine.close()


if __name__ == "__main__":
    apart = sys.argv[-1] == "apart"
    numbers = [int(word) for word in sys.argv[1 : len(sys.argv) - apart]]
    asyncio.run(main(*(numbers + [100, 4][len(numbers) :]), apart=apart))
