"""The job from the end of its rollout on: `python -m tests.drive_job FLAGS`, flags and exit codes those of the job.

The questions are rolled in this process on the scripted engine, so there is no Ray, and no wait is longer
than a moment. What is done already is not done again, as in the job.
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import ExitStack
from unittest.mock import patch

from cluster.flags import parse
from cluster.inference.engine import ScriptedEngine
from cluster.jobs.job import carry_out
from cluster.jobs.run_directory import RunDirectory
from cluster.jobs.store import ShardStore
from cluster.session import Node, Resources
from generation.placement import hire
from generation.plan import Plan, describe
from generation.produce import Item, Work
from generation.run import decide_all, work
from generation.settings import Settings
from generation.stages import Job, open_store, versions
from tests.scripted import knowing

_MOMENT_S = 0.02


def main(argv: list[str]) -> int:
    sleep = time.sleep
    with patch("time.sleep", lambda seconds: sleep(min(seconds, _MOMENT_S))):
        return carry_out(parse(Settings, argv), decide_all, describe, open_job, work)


def open_job(plan: Plan, settings: Settings, opened: ExitStack) -> Job:
    """With every question rolled."""
    placement = hire(plan, settings, Resources((Node(gpus=0, cores=1, memory=0),)))
    directory = opened.enter_context(RunDirectory(plan.out, plan.configuration, versions()))
    job = Job(plan, placement, directory, open_store(plan.out))
    asyncio.run(roll(plan, job.store))
    return job


async def roll(plan: Plan, store: ShardStore) -> None:
    """What the pool's actors do, one question after the other."""
    engine = ScriptedEngine(knowing(plan.questions))
    deal = Work(plan.rollout, plan.task_config)
    for place, question in enumerate(plan.questions):
        if question.key not in store.finished():
            store.write_shard((await deal(engine, Item(place, question))).table)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
