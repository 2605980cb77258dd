"""The job up to RAW_DATA, for the crash test: `python -m tests.crash_job FOLDER QUESTIONS ENGINE ENGINES [ADDRESS]`.

The stages are those of `generation.run`; ENGINE is `scripted` or `vllm`. FOLDER holds the run and the
files through which the test reaches in (see crash_engine).
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from cluster.inference.engine import EngineSettings, ScriptedSettings
from cluster.inference.replicas import Placement
from cluster.inference.vllm_engine import VllmSettings
from cluster.jobs.progress import failed
from cluster.jobs.stop import Stop
from generation import produce as producing
from generation.plan import make_plan
from generation.settings import Settings
from generation.stages import open_job, roll_out, write_raw_data
from tests.crash_engine import FAULT, HURRY, Paced, Tallied, die_at_a_rename

_LONGEST_S = 0.4
_IN_FLIGHT = 3
_REAL_TOKENS = 48
"""Longest sample of the real engine: short, as many kills are to be seen in a minute."""


def main(folder: str, questions: str, engine: str, engines: str, address: str | None = None) -> int:
    die_at_a_rename(Path(folder, FAULT))
    settings = Settings(
        questions=int(questions),
        rl_questions=0,
        variants=("original",),
        samples=2,
        reflections=1,
        max_tokens=_REAL_TOKENS if engine == "vllm" else None,
        engines=int(engines),
        retry_failed=True,
        address=address,
        out=str(Path(folder, "run")),
    )
    plan = make_plan(settings)
    producing.SHARD_S = 0.5  # many shards, so that there is something to lose
    stop = Stop()
    with ExitStack() as opened:
        job = open_job(plan, settings, opened)
        job = replace(job, placement=tallied(job.placement, folder, engine))
        stop.listen()
        try:
            if not roll_out(job, stop):
                return 75
            write_raw_data(plan, job.store)
            job.directory.update(state="done")
            return 1 if job.failed() else 0
        except Exception as error:
            return failed(error, plan.out, job.done, len(plan.questions))


def tallied(placement: Placement, folder: str, engine: str) -> Placement:
    """The placement with its engines tallied; scripted ones are paced."""
    inner: EngineSettings = ScriptedSettings(Paced(str(Path(folder, HURRY)), _LONGEST_S))
    if engine == "vllm":
        assert isinstance(placement.settings, VllmSettings)
        inner = replace(placement.settings, max_sequences=1)  # a batch of one: what others ask for changes no float
    return replace(placement, settings=Tallied(inner, folder, "/original/0/sample"), in_flight=_IN_FLIGHT)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
