"""The whole job on a scripted engine behind the real pool: `python -m tests.drive_run REPLY FLAGS`.

Nothing but the engine is another than in `python -m generation.run FLAGS`; shards come fast.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from unittest.mock import patch

import tests.scripted
from cluster.inference.engine import Request, ScriptedSettings
from cluster.inference.replicas import Placement
from cluster.session import Resources
from generation import produce as producing
from generation import run
from generation.placement import hire
from generation.plan import Plan
from generation.settings import Settings


def drive(
    reply: Callable[[Request], str | Awaitable[str]], argv: Sequence[str], *, in_flight: int, shard_s: float
) -> int:
    """The job's exit code."""

    def hire_scripted(plan: Plan, settings: Settings, resources: Resources) -> Placement:
        placement = hire(plan, settings, resources)
        print(f"{placement.engines} engines on {len(resources.nodes)} nodes", flush=True)
        engine = ScriptedSettings(reply, context=plan.context)
        return replace(placement, settings=engine, in_flight=in_flight)

    producing.SHARD_S = shard_s
    with patch("generation.stages.hire", hire_scripted):
        return run.main(list(argv))


if __name__ == "__main__":
    sys.exit(drive(getattr(tests.scripted, sys.argv[1]), sys.argv[2:], in_flight=4, shard_s=0.3))
