"""How many engines one driver can feed: engines that answer after a drawn delay, the real pool, rollout and shards.

`python -m benchmarks.scale [SHAPE] [ENGINES] [QUESTIONS]`: SHAPE `small` asks one sample a question, so that the driver
has as many questions as can be; `real` asks what the job asks of a full-size model. The engines' processes share the
machine's cores with the driver, so what the driver could do is told from the processor time that it took itself.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from cluster.engine import Completion, Request, ScriptedSettings
from cluster.pool import Placement
from generation.plan import Plan, make_plan
from generation.produce import Stop, produce
from generation.settings import Settings
from generation.stages import open_store

H200_TOKENS_S = 10_000
_ANSWER = "<answer>1 + 1</answer> <verdict>Incorrect</verdict>"


@dataclass(frozen=True)
class Shape:
    """What is asked of a question, and how long the answers are."""

    variants: tuple[str, ...]
    samples: int
    reflections: int
    tokens: int
    """Of each completion."""
    delay_s: tuple[float, float]
    in_flight: int
    questions: int

    @property
    def tokens_each(self) -> int:
        """Written for one question."""
        return len(self.variants) * self.samples * (1 + self.reflections) * self.tokens


PLAIN = ("original", "plan_and_execute", "alternatively", "rephrase")
SHAPES = {
    "small": Shape(("original",), 1, 0, 300, (0.5, 1.5), 16, 100_000),
    "real": Shape(PLAIN, 16, 4, 300, (0.5, 1.5), 4, 640),
}


@dataclass(frozen=True)
class Delayed:
    """Answers with so many words after a delay drawn from the request."""

    tokens: int
    delay_s: tuple[float, float]

    async def __call__(self, request: Request) -> Completion:
        rng = random.Random(f"scale/{request.seed}")
        await asyncio.sleep(rng.uniform(*self.delay_s))
        # Drawn words of four letters, a token each, since real text does not shrink to nothing when packed.
        drawn = rng.randbytes(2 * self.tokens).hex()
        words = " ".join(drawn[place : place + 4] for place in range(0, len(drawn), 4))
        return Completion(f"{words} {_ANSWER}", "stop", 100, self.tokens)


def plan_of(shape: Shape, questions: int, out: str) -> Plan:
    """The plan of a run of this shape on full-size questions."""
    settings = Settings(
        questions=questions,
        rl_questions=0,
        inputs="1-99",
        targets="100-999",
        variants=shape.variants,
        samples=shape.samples,
        reflections=shape.reflections,
        out=out,
    )
    return make_plan(settings)


def measure(shape: Shape, engines: int, questions: int) -> dict[str, Any]:
    """Questions through one driver."""
    with tempfile.TemporaryDirectory(prefix="scale-") as folder:
        plan = plan_of(shape, questions, folder)
        store = open_store(plan.out)
        (plan.out / "logs").mkdir()
        placement = Placement(engines, in_flight=shape.in_flight, logs=plan.out / "logs")
        settings = ScriptedSettings(Delayed(shape.tokens, shape.delay_s))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        began, busy = time.monotonic(), time.process_time()
        produce(plan, store, settings, placement, Stop())
        seconds, busy = time.monotonic() - began, time.process_time() - busy
        assert len(store.finished()) == questions
        shards = sum(path.stat().st_size for path in (plan.out / "shards").glob("*.parquet"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "questions": questions,
        "rows": store.rows(),
        "seconds": seconds,
        "driver_busy_s": busy,
        "shards_mib": shards / 2**20,
        "peak_mib": peak,
        "before_mib": before,
    }


def show(shape: Shape, engines: int, found: dict[str, Any]) -> str:
    """The figures, and what they come to in GPUs."""
    could = found["questions"] / found["driver_busy_s"]
    lines = [
        f"{engines} engines, {found['questions']:,} questions, {found['rows']:,} rows, {found['shards_mib']:.0f} MiB",
        f"seconds           {found['seconds']:.0f} (engines' start in it)",
        f"questions/s       {found['questions'] / found['seconds']:.1f}",
        f"driver busy       {found['driver_busy_s']:.1f} s, {1000 / could:.2f} ms a question",
        f"driver could      {could:.0f} questions/s on a core of its own",
        f"driver memory     {found['peak_mib']:.0f} MiB at most, {found['before_mib']:.0f} MiB at the start",
        f"tokens a question {shape.tokens_each:,}",
        f"H200s             {could * shape.tokens_each / H200_TOKENS_S:.0f} at {H200_TOKENS_S:,} tokens/s each",
    ]
    return "\n".join(lines)


def main(shape: str = "small", engines: str = "64", questions: str | None = None) -> None:
    chosen = SHAPES[shape]
    count = int(questions) if questions else chosen.questions
    environment = {"env_vars": {"PYTHONPATH": os.environ.get("PYTHONPATH", str(Path.cwd()))}}
    ray.init(
        address="local",
        num_cpus=int(engines) + 2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        object_store_memory=1 << 30,
        runtime_env=environment,
    )
    print(show(chosen, int(engines), measure(chosen, int(engines), count)), flush=True)
    ray.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
