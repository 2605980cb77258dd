"""The whole job on scripted engines, on a cluster that runs: `python -m tests.slurm.drive FLAGS`, those of the job.

Each engine holds one question at a time. In the first SKILLFACTORY_TEST_SLOW_STARTS starts of a Slurm job, one
by itself, its answers take SKILLFACTORY_TEST_SLOWNESS seconds or up to twice that.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys

from cluster.inference.engine import Request
from tests.drive_run import drive
from tests.scripted import reply


async def slow_reply(request: Request) -> str:
    slow = int(os.environ.get("SLURM_RESTART_COUNT", "0")) < int(os.environ.get("SKILLFACTORY_TEST_SLOW_STARTS", "1"))
    slowness = float(os.environ.get("SKILLFACTORY_TEST_SLOWNESS", "0")) if slow else 0
    await asyncio.sleep(slowness * (1 + random.Random(f"delay/{request.seed}").random()))
    return reply(request)


if __name__ == "__main__":
    sys.exit(drive(slow_reply, sys.argv[1:], in_flight=1, shard_s=1.0))
