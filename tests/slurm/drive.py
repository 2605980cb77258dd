"""The whole job on scripted engines, on a cluster that runs: `python -m tests.slurm.drive FLAGS`, those of the job.

Only the engine is another than in `python -m generation.run`, and holds one question at a time. In the first start
of a Slurm job its answers take SKILLFACTORY_TEST_SLOWNESS seconds or up to twice that.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from dataclasses import replace
from unittest.mock import patch

from cluster.engine import Request, ScriptedSettings
from cluster.session import Resources
from generation import produce as producing
from generation import run
from generation.hiring import Crew, hire
from generation.plan import Plan
from generation.settings import Settings
from tests.scripted import reply


async def slow_reply(request: Request) -> str:
    first = os.environ.get("SLURM_RESTART_COUNT", "0") == "0"
    slowness = float(os.environ.get("SKILLFACTORY_TEST_SLOWNESS", "0")) if first else 0
    await asyncio.sleep(slowness * (1 + random.Random(f"delay/{request.seed}").random()))
    return reply(request)


def hire_scripted(plan: Plan, settings: Settings, resources: Resources) -> Crew:
    crew = hire(plan, settings, resources)
    print(f"{crew.placement.engines} engines on {len(resources.nodes)} nodes", flush=True)
    engine = ScriptedSettings(slow_reply, context=plan.context)
    return replace(crew, engine=engine, placement=replace(crew.placement, in_flight=1))


def main() -> int:
    producing.SHARD_S = 1.0
    with patch("generation.stages.hire", hire_scripted):
        return run.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
