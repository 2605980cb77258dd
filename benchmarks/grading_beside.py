"""Whether grading holds up the engine: the same samples drawn with and without it, in turn, on the real engine.

    python -m benchmarks.grading_beside [QUESTIONS] [PAIRS] [apart]

One engine of the built-in model in this process, as a run has it in its actor. Countdown questions, graded as such,
and once as mathematics, where a worker process compares every answer. No reflections, so that both turns ask the same.

`apart` gives the model's computations the first core for themselves, and all else (prompts, tokens, grading) the
others: as on a GPU, whose engine takes no core from the graders.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cluster.engine import Engine
from cluster.pool import fill
from cluster.vllm_engine import VllmSettings
from generation import rollout as rolling
from generation.builtin import MODEL
from generation.grading import grade, mathematics
from generation.hiring import CPU_SEQUENCES, cpu_environment
from generation.plan import make_plan
from generation.records import Grade, Question
from generation.settings import Settings
from tests import family

NOT_GRADED = Grade("wrong", "not graded")


def _not_graded(*_: object) -> Grade:
    return NOT_GRADED


async def turn(engine: Engine, roll: rolling.Rollout, questions: Sequence[Question]) -> float:
    """Tokens a second over all questions, as many at once as a pool deals."""
    mathematics._compared.cache_clear()
    room = asyncio.Semaphore(fill(CPU_SEQUENCES, roll.requests))
    started = time.perf_counter()

    async def one(question: Question) -> int:
        async with room:
            return sum(attempt.completion.output_tokens for attempt in await roll(engine, question))

    tokens = sum(await asyncio.gather(*map(one, questions)))
    return tokens / (time.perf_counter() - started)


def set_apart() -> None:
    """The model's worker on the first core, every other process on the rest."""
    first, *others = sorted(os.sched_getaffinity(0))
    everyone = {os.getpid(): "", **{pid: process.line for pid, process in family.descendants().items()}}
    for pid, line in everyone.items():
        for thread in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), [first] if "VLLM::Worker" in line else others)


async def main(questions: int, pairs: int, *, apart: bool) -> None:
    os.environ.update(cpu_environment(1) | ({"OMP_NUM_THREADS": "1"} if apart else {}))
    plan = make_plan(Settings(questions=questions, rl_questions=0, reflections=0, samples=4))
    engine = await VllmSettings(
        str(MODEL), None, "beside", "", plan.context, gpu=False, max_sequences=CPU_SEQUENCES
    ).start()
    if apart:
        set_apart()
    as_mathematics = [replace(one, grader="math", facts={}) for one in plan.questions]
    await turn(engine, plan.rollout, plan.questions)
    await turn(engine, plan.rollout, as_mathematics)
    for name, asked in (("countdown", plan.questions), ("math", as_mathematics)):
        ratios = []
        for pair in range(pairs):
            rates = {}
            for graded in (pair % 2 == 0, pair % 2 == 1):
                rolling.grade = grade if graded else _not_graded  # type: ignore[attr-defined]
                rates[graded] = await turn(engine, plan.rollout, asked)
            ratios.append(rates[True] / rates[False])
            print(f"{name}: {rates[True]:,.0f} tokens/s graded, {rates[False]:,.0f} not graded", flush=True)
        told = " ".join(f"{ratio:.3f}" for ratio in sorted(ratios))
        print(f"{name}: graded over not graded {statistics.median(ratios):.3f}, the median of {told}", flush=True)
    await engine.close()


if __name__ == "__main__":
    apart = sys.argv[-1] == "apart"
    numbers = [int(word) for word in sys.argv[1 : len(sys.argv) - apart]]
    asyncio.run(main(*(numbers + [32, 5][len(numbers) :]), apart=apart))
