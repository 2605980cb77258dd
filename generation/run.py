"""The whole job: questions to RAW_DATA to traces. `python -m generation.run --help`"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from assembly.assemble import assemble, check_settings
from assembly.rl import rl_data
from assembly.serving import Serving, serving_text
from assembly.settings import SftSettings
from assembly.summary import summary_text
from cluster.flags import page, parse
from generation.command import carry_out, say_stopped
from generation.plan import Plan, describe
from generation.raw_summary import summary
from generation.settings import Settings
from generation.stages import Job, decide, introduce, open_job, publish, roll_out, write_raw_data
from generation.stop import Stop
from generation.tasks.registry import listing


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 done, 1 failed, 2 wrong input, 75 stopped on request."""
    settings = parse(Settings, argv)
    if settings.list_tasks:
        page(listing())
        return 0
    return carry_out(settings, decide_all, describe, open_job, work)


def decide_all(settings: Settings) -> Plan:
    """What will be done, and that its traces can be made. Raises ValueError."""
    check_settings(sft_settings(settings))
    return decide(settings)


def sft_settings(settings: Settings) -> SftSettings:
    return SftSettings(settings.formats, settings.attempts, settings.seed)


def work(job: Job, settings: Settings, stop: Stop) -> int:
    plan, serving = job.plan, Serving(sft_settings(settings))
    introduce(job)
    if not roll_out(job, stop):
        return say_stopped(job, plan.out)
    with stop.leaving():  # from here on the same command does it again
        counts = write_raw_data(plan, job.store, serving)
        made = assemble(plan.raw_data, plan.out / "SFT_DATA", sft_settings(settings))
        if plan.rl_questions:
            rl_data(plan.rl_questions, plan.out / "RL_DATA", plan.configuration)
        tally = {"samples": counts.all().samples, "traces": made.traces.total()}
        job.directory.update(state="done", counts={**tally, "failed_questions": counts.lost.total()})
        print(f"\n{summary(counts)}\n\n{serving_text(serving, counts)}\n\n{summary_text(made)}\n")
        return publish(job, settings)


if __name__ == "__main__":
    sys.exit(main())
