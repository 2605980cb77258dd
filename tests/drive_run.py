"""The whole job on a scripted engine behind Ray: `python -m tests.drive_run REPLY FLAGS`.

Nothing but the engine is another than in `python -m generation.run FLAGS`; shards come fast.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from unittest.mock import patch

import tests.scripted
from cluster.inference.engine import Request, ScriptedSettings
from cluster.inference.ray_replicas import RayFleet
from cluster.inference.replicas import Placement
from cluster.jobs import tally
from cluster.session import Resources
from generation import run
from generation.plan import Plan
from generation.settings import Settings
from tests.fleets import on_ray


def drive(
    reply: Callable[[Request], str | Awaitable[str]], argv: Sequence[str], *, in_flight: int, shard_s: float
) -> int:
    """The job's exit code."""

    def tell(placement: Placement, resources: Resources) -> None:
        print(f"{placement.engines} engines on {len(resources.nodes)} nodes", flush=True)

    def hire_scripted(plan: Plan, settings: Settings) -> RayFleet:
        scripted = ScriptedSettings(reply, context=plan.context)
        return on_ray(plan, settings, lambda _: scripted, in_flight=in_flight, tell=tell)

    tally.SHARD_S = shard_s
    with patch("generation.run.choose_fleet", hire_scripted):
        return run.main(list(argv))


if __name__ == "__main__":
    sys.exit(drive(getattr(tests.scripted, sys.argv[1]), sys.argv[2:], in_flight=4, shard_s=0.3))
