"""The whole job on a scripted engine behind the real pool: `python -m tests.drive_run REPLY FLAGS`.

Nothing but the engine is another than in `python -m generation.run FLAGS`; shards come fast.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from unittest.mock import patch

import tests.scripted
from cluster.engine import ScriptedSettings
from cluster.session import Resources
from generation import produce as producing
from generation import run
from generation.hiring import Crew, hire
from generation.plan import Plan
from generation.settings import Settings


def main(reply: str, argv: list[str]) -> int:
    def hire_scripted(plan: Plan, settings: Settings, resources: Resources) -> Crew:
        crew = hire(plan, settings, resources)
        engine = ScriptedSettings(getattr(tests.scripted, reply), context=plan.context)
        return replace(crew, engine=engine, placement=replace(crew.placement, in_flight=4))

    producing.SHARD_S = 0.3
    with patch("generation.stages.hire", hire_scripted):
        return run.main(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
