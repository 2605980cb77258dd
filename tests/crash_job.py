"""The job up to RAW_DATA, for the crash test: `python -m tests.crash_job FOLDER QUESTIONS ENGINE ENGINES [ADDRESS]`.

The stages are those of `generation.run`; ENGINE is `scripted`, `vllm`, an engine on Ray
with a worker apart, or `hosted`, one in the driver's process. FOLDER holds the run and the
files through which the test reaches in (see crash_engine).
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from cluster.inference.engine import EngineSettings, ScriptedSettings
from cluster.inference.hosted import HostedFleet
from cluster.inference.replicas import Fleet
from cluster.inference.vllm_settings import VllmSettings
from cluster.jobs import tally
from cluster.session import local_resources
from generation.placement import place
from generation.plan import Plan
from generation.settings import Settings
from tests.crash_engine import FAULT, HURRY, SMALL, Paced, Tallied, die_at_a_rename
from tests.fleets import on_ray, roll

_LONGEST_S = 0.4
_IN_FLIGHT = 3
_REAL_TOKENS = 48
"""Longest sample of the real engine: short, as many kills are to be seen in a minute."""


def main(folder: str, questions: str, engine: str, engines: str, address: str | None = None) -> int:
    die_at_a_rename(Path(folder, FAULT))
    small = Path(folder, SMALL).exists()
    settings = Settings(
        questions=int(questions) // (2 if small else 1),
        rl_questions=0,
        variants=("original",),
        samples=1 if small else 2,
        reflections=0 if small else 1,
        max_tokens=None if engine == "scripted" else _REAL_TOKENS,
        engines=int(engines),
        retry_failed=True,
        address=address,
        out=str(Path(folder, "run")),
    )

    def tallied(real: EngineSettings) -> EngineSettings:
        """The engine tallied; a scripted one is paced."""
        inner: EngineSettings = ScriptedSettings(Paced(str(Path(folder, HURRY)), _LONGEST_S))
        if engine != "scripted":
            assert isinstance(real, VllmSettings)
            # A worker apart, as where there are several. A batch of one: what others ask for changes no float.
            more = {"distributed_executor_backend": "mp"} if engine == "vllm" else {}
            inner = replace(real, max_sequences=1, more=more)
        return Tallied(inner, folder, tuple(f"/original/{index}/sample" for index in range(2)))

    tally.SHARD_S = 0.5  # many shards, so that there is something to lose

    def fleet(plan: Plan) -> Fleet:
        if engine != "hosted":
            return on_ray(plan, settings, tallied, in_flight=_IN_FLIGHT)
        placed = place(plan, settings, local_resources())
        changed = replace(placed, settings=tallied(placed.settings), in_flight=_IN_FLIGHT, hosted=True)
        return HostedFleet(lambda: changed)

    job = roll(settings, fleet)
    return job.code or (1 if job.failed else 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
