"""An evaluation on a slow scripted engine in this process: `python -m tests.drive_evaluation FLAGS`."""

from __future__ import annotations

import asyncio
import random
import sys

from cluster.inference.engine import Completion, Request, ScriptedSettings
from cluster.inference.replicas import Fleet
from cluster.jobs import tally
from generation import evaluate
from tests import scripted_evaluations

_LONGEST_S = 0.5


async def slow_reply(request: Request) -> str | Completion:
    """As the scripted model, after a time drawn from the request."""
    await asyncio.sleep(random.Random(f"delay/{request.key}").random() * _LONGEST_S)
    return scripted_evaluations.reply(request)


if __name__ == "__main__":
    tally.SHARD_S = 0.1  # many shards, so that there is something to lose
    sys.exit(evaluate.main(sys.argv[1:], fleet=Fleet(ScriptedSettings(slow_reply, max_sequences=16))))
