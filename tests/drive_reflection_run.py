"""Reflections added by a scripted engine behind Ray: `python -m tests.drive_reflection_run REPLY FLAGS`.

Nothing but the engine is another than in `python -m reflection.run FLAGS`; shards come fast.
"""

from __future__ import annotations

import sys
from unittest.mock import patch

import tests.scripted_reflections
from cluster.inference.engine import ScriptedSettings
from cluster.inference.ray_replicas import RayFleet
from cluster.jobs import tally
from reflection import run
from reflection.added.plan import AdditionPlan, AdditionSettings
from tests.fleets import on_ray


def main(reply: str, argv: list[str]) -> int:
    def hire_scripted(plan: AdditionPlan, settings: AdditionSettings) -> RayFleet:
        scripted = ScriptedSettings(getattr(tests.scripted_reflections, reply), context=plan.context)
        return on_ray(plan, settings, lambda _: scripted, in_flight=4)

    tally.SHARD_S = 0.3
    with patch("reflection.run.choose_fleet", hire_scripted):
        return run.main(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
