"""Reflections added by a scripted engine behind the real pool: `python -m tests.drive_reflection_run REPLY FLAGS`.

Nothing but the engine is another than in `python -m reflection.run FLAGS`; shards come fast.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from unittest.mock import patch

import tests.scripted_reflections
from cluster.inference.engine import ScriptedSettings
from cluster.inference.replicas import Placement
from cluster.session import Resources
from generation import produce as producing
from generation.placement import Need, hire_for
from generation.settings import Settings
from reflection import run


def main(reply: str, argv: list[str]) -> int:
    def hire_scripted(need: Need, settings: Settings, resources: Resources) -> Placement:
        engine = ScriptedSettings(getattr(tests.scripted_reflections, reply), context=need.context)
        return replace(hire_for(need, settings, resources), settings=engine, in_flight=4)

    producing.SHARD_S = 0.3
    with patch("reflection.added.stages.hire_for", hire_scripted):
        return run.main(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
