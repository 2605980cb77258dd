"""The job from the end of its rollout on: `python -m tests.drive_job FLAGS`, flags and exit codes those of the job.

The questions are rolled in this process on the scripted engine, so there is no Ray, and no wait is longer
than a moment. What is done already is not done again, as in the job.
"""

from __future__ import annotations

import asyncio
import sys
import time
from unittest.mock import patch

from cluster.engine import ScriptedEngine
from cluster.flags import fail, parse
from cluster.run_directory import RunDirectory
from cluster.session import Node, Resources
from cluster.store import ShardStore
from generation.hiring import hire
from generation.plan import Plan
from generation.produce import Item, Stop, Work
from generation.run import work
from generation.settings import Settings
from generation.stages import Job, decide, open_store, versions
from generation.terminal import failed
from tests.scripted import knowing

_MOMENT_S = 0.02


def main(argv: list[str]) -> int:
    settings = parse(Settings, argv)
    stop = Stop()
    try:
        plan = decide(settings)
        crew = hire(plan, settings, Resources((Node(gpus=0, cores=1, memory=0),)))
    except ValueError as error:
        fail(str(error))
    with RunDirectory(plan.out, plan.configuration, versions()) as directory:
        job = Job(plan, crew, directory, open_store(plan.out))
        asyncio.run(roll(plan, job.store))
        stop.listen()
        sleep = time.sleep
        with patch("time.sleep", lambda seconds: sleep(min(seconds, _MOMENT_S))):
            try:
                return work(job, settings, stop)
            except Exception as error:
                return failed(error, plan.out, job.done, len(plan.questions))


async def roll(plan: Plan, store: ShardStore) -> None:
    """What the pool's actors do, one question after the other."""
    engine = ScriptedEngine(knowing(plan.questions))
    deal = Work(plan.rollout, plan.task_config)
    for place, question in enumerate(plan.questions):
        if question.key not in store.finished():
            store.write_shard((await deal(engine, Item(place, question))).table)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
