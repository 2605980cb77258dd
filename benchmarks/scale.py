"""How many engines one driver can feed: engines that answer after a drawn delay, the real pool, rollout and shards.

`python -m benchmarks.scale [SHAPE] [ENGINES] [QUESTIONS] [SECONDS]`: SHAPE `small` asks one sample a question, so that
the driver has as many questions as can be; `real` asks what the job asks of a full-size model. Engines share the cores
with the driver, so what the driver could do is told from the processor time that it took itself.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import resource
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
import ray

from cluster.inference.engine import Completion, Engine, Request, ScriptedSettings
from cluster.inference.pool import Pool
from cluster.inference.ray_replicas import RayReplicas
from cluster.inference.replica import Work as EngineWork
from cluster.inference.replicas import Fleet, Placement, pool_of
from cluster.jobs.job import Job
from cluster.jobs.store import ShardStore
from generation.plan import make_plan
from generation.raw.schema import Rolled, to_table
from generation.records import Attempt, Grade, Question
from generation.rollout import Work
from generation.settings import Settings

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


def settings_of(shape: Shape, questions: int, out: str) -> Settings:
    """A run of this shape on full-size questions."""
    return Settings(
        questions=questions,
        rl_questions=0,
        inputs="1-99",
        targets="100-999",
        variants=shape.variants,
        samples=shape.samples,
        reflections=shape.reflections,
        out=out,
    )


@dataclass(frozen=True)
class Light(Work):
    """One completion a question, not graded: the engines take little of the cores that they share with the driver."""

    async def __call__(self, engine: Engine, question: Question) -> Rolled:
        variant = self.rollout.variants[0]
        request = self.rollout.sample_request(question, variant, 0)
        completion = await engine.generate(request)
        grade = Grade("unknown", "not graded")
        attempt = Attempt(question, variant.name, 0, request.messages, completion, request.seed, grade, False, ())
        table = to_table([attempt], engine.info, self.rollout.sampling, self.task_config)
        return Rolled(table, completion.output_tokens)


class Noted(ShardStore):
    """Notes when how many questions were safe, and what the driver had worked by then."""

    def __init__(self, folder: Path, **how: Any) -> None:
        super().__init__(folder, **how)
        self.points: list[tuple[float, float, int]] = []

    def write_shard(self, table: pa.Table) -> Path:
        shard = super().write_shard(table)
        self.points.append((time.monotonic(), time.process_time(), len(self.finished())))
        return shard


class Connected(Fleet):
    """Scripted engines on the Ray that this process is connected to."""

    def __init__(self, placement: Placement) -> None:
        self.placement = placement

    @contextmanager
    def open(self, work: EngineWork) -> Iterator[Pool[Any, Any]]:
        with pool_of(RayReplicas(self.placement, work)) as pool:
            yield pool


def measure(shape: Shape, engines: int, questions: int, longest_s: float) -> dict[str, Any]:
    """Questions through one driver until they are done or the time is up; rates are those between two shards."""
    before = _peak_mib()
    with tempfile.TemporaryDirectory(prefix="scale-") as folder:
        settings = settings_of(shape, questions, folder)
        scripted = ScriptedSettings(Delayed(shape.tokens, shape.delay_s))
        placement = Placement(scripted, engines, in_flight=shape.in_flight, logs=Path(folder, "logs"))
        timer = threading.Timer(longest_s, signal.raise_signal, (signal.SIGUSR1,))
        timer.daemon = True
        with patch("cluster.jobs.job.ShardStore", Noted), Job(settings) as job:
            plan = make_plan(settings)
            job.check(plan, ["RAW_DATA"])
            timer.start()
            work = (Light if shape is SHAPES["small"] else Work)(plan.rollout, plan.task_config)
            job.roll_out(plan, work, Connected(placement))
        timer.cancel()
        noted = job.store
        assert isinstance(noted, Noted)
        files = [*Path(folder, "shards").glob("*.parquet")]
        shards, rows = sum(path.stat().st_size for path in files), sum(map(_rows, files))
    if len(noted.points) < 2:
        raise SystemExit("error: all came in one shard, which has no rate: give more questions")
    # The first shard ends the engines' start, the last is what was left over.
    (began, busy_before, first), (ended, busy, last) = noted.points[0], noted.points[-1]
    return {
        "questions": last,
        "rows": rows,
        "rate": (last - first) / (ended - began),
        "busy": (busy - busy_before) / (last - first),
        "share": (busy - busy_before) / (ended - began),
        "shards_mib": shards / 2**20,
        "peak_mib": _peak_mib(),
        "before_mib": before,
    }


def _rows(shard: Path) -> int:
    return int(pq.read_metadata(shard).num_rows)


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def show(shape: Shape, engines: int, found: dict[str, Any]) -> str:
    """The figures, and what they come to in GPUs."""
    could = 1 / found["busy"]
    lines = [
        f"{engines} engines, {found['questions']:,} questions, {found['rows']:,} rows, {found['shards_mib']:.0f} MiB",
        f"questions/s       {found['rate']:.1f}, from the first shard to the last",
        f"driver            {1000 * found['busy']:.2f} ms of a core a question, {found['share']:.0%} of a core",
        f"driver could      {could:.0f} questions/s on a core of its own",
        f"driver memory     {found['peak_mib']:.0f} MiB at most, {found['before_mib']:.0f} MiB at the start",
        f"tokens a question {shape.tokens_each:,}",
        f"H200s             {could * shape.tokens_each / H200_TOKENS_S:.0f} at {H200_TOKENS_S:,} tokens/s each",
    ]
    return "\n".join(lines)


def main(shape: str = "small", engines: str = "64", questions: str | None = None, seconds: str = "1e6") -> None:
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
    print(show(chosen, int(engines), measure(chosen, int(engines), count, float(seconds))), flush=True)
    ray.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
