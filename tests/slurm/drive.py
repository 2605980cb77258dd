"""The job on a scripted engine, on a cluster that runs: `python -m tests.slurm.drive --out RUN --address ADDRESS`.

The stages are those of `generation.run`; only the engine is another, one for each node. In the
first start of a Slurm job its answers take SKILLFACTORY_TEST_SLOWNESS seconds or up to twice that.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from dataclasses import dataclass, replace

from cluster.engine import Request, ScriptedSettings
from cluster.flags import parse
from cluster.run_directory import RunDirectory
from cluster.session import session
from generation import produce as producing
from generation.hiring import hire
from generation.plan import make_plan
from generation.produce import Stop, produce
from generation.settings import Settings
from generation.stages import open_store, versions, write_raw_data
from tests.scripted import reply


@dataclass(frozen=True)
class Config:
    """What to ask, and where."""

    out: str
    address: str
    grace_s: int
    questions: int = 40


async def slow_reply(request: Request) -> str:
    first = os.environ.get("SLURM_RESTART_COUNT", "0") == "0"
    slowness = float(os.environ.get("SKILLFACTORY_TEST_SLOWNESS", "0")) if first else 0
    await asyncio.sleep(slowness * (1 + random.Random(f"delay/{request.seed}").random()))
    return reply(request)


def main() -> int:
    config = parse(Config)
    settings = Settings(questions=config.questions, rl_questions=0, out=config.out, address=config.address)
    plan = make_plan(settings)
    producing.SHARD_S = 1.0
    stop = Stop(config.grace_s)
    with session(config.address) as resources, RunDirectory(plan.out, plan.configuration, versions()):
        store = open_store(plan.out)
        stop.listen()
        crew = hire(plan, settings, resources)
        print(f"{crew.placement.engines} engines on {len(resources.nodes)} nodes", flush=True)
        placement = replace(crew.placement, in_flight=1)
        produce(plan, store, ScriptedSettings(slow_reply), placement, stop)
        print(f"{len(store.finished())} of {len(plan.questions)} questions are safe", flush=True)
        if len(store.finished()) < len(plan.questions):
            return 75
        write_raw_data(plan, store)
    return 0


if __name__ == "__main__":
    sys.exit(main())
