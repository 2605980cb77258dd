"""The job on a scripted engine, as a process that tests can kill: `python -m tests.drive OUT QUESTIONS REPLY`.

The stages are those of `generation.run`; only the engine is another.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import tests.scripted
from cluster.inference.engine import ScriptedSettings
from cluster.jobs.run_directory import RunDirectory
from cluster.jobs.stop import Stop
from cluster.session import session
from generation import produce as producing
from generation.placement import hire
from generation.plan import make_plan
from generation.produce import produce
from generation.settings import Settings
from generation.stages import open_store, versions, write_raw_data


def main(out: str, questions: str, reply: str) -> int:
    settings = Settings(questions=int(questions), rl_questions=0, variants=("all",), engines=2, out=out)
    plan = make_plan(settings)
    producing.SHARD_S = 0.5  # many shards, so that there is something to lose
    stop = Stop()
    with session(None) as resources, RunDirectory(plan.out, plan.configuration, versions()):
        store = open_store(plan.out)
        stop.listen()
        engine = ScriptedSettings(getattr(tests.scripted, reply))
        placement = replace(hire(plan, settings, resources), settings=engine, in_flight=4)
        again = produce(plan, store, placement, stop)
        if len(store.finished()) < len(plan.questions):
            return 75
        write_raw_data(plan, store)
        print(f"done, {again} questions again")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
