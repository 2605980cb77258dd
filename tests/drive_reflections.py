"""Reflections added by a scripted engine: `python -m tests.drive_reflections REPLY FLAGS`.

Flags and exit codes are those of `python -m reflection.run FLAGS`. The rows are done in this process, one
block after the other, so there is no Ray; shards come fast. What is done already is not done again.
"""

from __future__ import annotations

import asyncio
import sys
from unittest.mock import patch

import tests.scripted_reflections
from cluster.flags import fail, parse
from cluster.inference.engine import ScriptedEngine
from cluster.inference.events import Done, Failed, ItemFailedError
from cluster.jobs.failures import Failures
from cluster.jobs.progress import Progress, failed
from cluster.jobs.run_directory import RunDirectory
from cluster.jobs.stop import Stop
from cluster.session import Node, Resources
from generation.placement import hire_for
from generation.produce import Shelf, Tally
from generation.raw.schema import Rolled
from generation.stages import versions
from reflection.added.settings import AdditionSettings
from reflection.added.source import Block, read_blocks
from reflection.added.stages import Job, need_of, open_store
from reflection.run import decide_all, work


def main(reply: str, argv: list[str]) -> int:
    settings = parse(AdditionSettings, argv)
    try:
        plan = decide_all(settings)
        placement = hire_for(need_of(plan), settings.job, Resources((Node(gpus=0, cores=1, memory=0),)))
    except ValueError as error:
        fail(str(error))
    with RunDirectory(plan.out, plan.configuration, versions()) as directory:
        failures = Failures(plan.out)
        if settings.retry_failed:
            failures.forget(failures.reasons())
        job = Job(plan, placement, directory, open_store(plan.out))
        try:
            with patch("generation.produce.SHARD_ROWS", 40):
                asyncio.run(roll(job, ScriptedEngine(getattr(tests.scripted_reflections, reply))))
            return work(job, settings, Stop())
        except Exception as error:
            return failed(error, plan.out, job.done, job.total, job.unit)


async def roll(job: Job, engine: ScriptedEngine) -> None:
    """What the driver and the pool's actors do."""
    shelf = Shelf(job.store)
    logs = job.plan.out / "logs"
    logs.mkdir(exist_ok=True)
    tally = Tally(Progress(job.total, unit="rows"), Failures(job.plan.out), logs, unit="block")
    settled = job.store.finished() | job.failed.keys()
    for block in read_blocks(job.plan.source, lambda key: key not in settled):
        try:
            rolled = await job.plan.work(engine, block)
        except ItemFailedError as error:
            tally.take(Failed[Block](block, str(error), str(error)))
        else:
            shelf.add(rolled.table)
            shelf.turn()
            tally.take(Done[Block, Rolled](block, rolled))
    shelf.turn(everything=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
