"""What an engine on the CPU gives alone, and beside processes that are always busy.

    python -m benchmarks.shared_cores [QUESTIONS] [NAME=VALUE]...

One engine of the built-in model in this process on every core; the variables are set for it over those of a run
(`OMP_WAIT_POLICY=ACTIVE`, `GOMP_SPINCOUNT=2000`). Several of these at once show engines that share their cores.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack

from cluster.inference.engine import Engine
from cluster.inference.vllm_settings import VllmSettings
from generation.builtin import MODEL
from generation.placement import CPU_SEQUENCES, cpu_environment
from generation.plan import make_plan
from generation.records import Question
from generation.rollout import Rollout
from generation.settings import Settings

TURNS = 3


async def main(questions: int, variables: dict[str, str]) -> None:
    os.environ.update(cpu_environment(1) | variables)
    plan = make_plan(Settings(questions=questions, rl_questions=0, reflections=0, samples=4))
    settings = VllmSettings(str(MODEL), None, "shared", "", plan.context, gpu=False, max_sequences=CPU_SEQUENCES)
    engine = await settings.start()
    await turn(engine, plan.rollout, plan.questions)
    for busy in (0, 1, 2):
        with ExitStack() as others:
            for _ in range(busy):
                other = others.enter_context(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
                others.callback(other.kill)
            rates = [await turn(engine, plan.rollout, plan.questions) for _ in range(TURNS)]
        print(f"beside {busy} busy processes: {', '.join(f'{rate:,.0f}' for rate in rates)} tokens/s", flush=True)
    await engine.close()


async def turn(engine: Engine, rollout: Rollout, questions: Sequence[Question]) -> float:
    """Ask all questions at once; return the tokens that were written a second."""
    began = time.monotonic()
    rolled = await asyncio.gather(*(rollout(engine, question) for question in questions))
    tokens = sum(attempt.completion.output_tokens for attempts in rolled for attempt in attempts)
    return tokens / (time.monotonic() - began)


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if "=" not in word]
    asyncio.run(main(int(words[0]) if words else 12, dict(w.split("=", 1) for w in sys.argv[1:] if "=" in w)))
