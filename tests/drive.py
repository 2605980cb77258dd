"""The job on a scripted engine, as a process that tests can kill: `python -m tests.drive OUT QUESTIONS REPLY`.

The stages are those of `generation.run`; only the engine is another.
"""

from __future__ import annotations

import sys

import tests.scripted
from cluster.inference.engine import ScriptedSettings
from cluster.jobs import tally
from generation.settings import Settings
from tests.fleets import on_ray, roll


def main(out: str, questions: str, reply: str) -> int:
    settings = Settings(questions=int(questions), rl_questions=0, variants=("all",), engines=2, out=out)
    tally.SHARD_S = 0.5  # many shards, so that there is something to lose
    scripted = ScriptedSettings(getattr(tests.scripted, reply))
    job = roll(settings, lambda plan: on_ray(plan, settings, lambda _: scripted, in_flight=4))
    if job.code == 0:
        print(f"done, {job.starts[-1].get('done_again', 0)} questions again")
    return job.code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
