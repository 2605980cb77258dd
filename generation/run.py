"""The whole job: questions to RAW_DATA to traces. `python -m generation.run --help`"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack

from assembly.assemble import assemble, check_settings
from assembly.rl import rl_data
from assembly.settings import SftSettings
from assembly.summary import summary_text
from cluster.flags import fail, parse
from generation.plan import describe
from generation.produce import Stop
from generation.settings import Settings
from generation.stages import Job, decide, introduce, open_job, publish, roll_out, summary, write_raw_data
from generation.terminal import failed, stopped


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 done, 1 failed, 2 wrong input, 75 stopped on request."""
    settings = parse(Settings, argv)
    stop = Stop(settings.grace_s)
    stop.listen()
    with ExitStack() as opened:
        try:
            check_settings(sft_settings(settings))
            plan = decide(settings)
            if settings.dry_run:
                print(describe(plan))
                return 0
        except ValueError as error:
            fail(str(error))
        job = None
        try:
            job = open_job(plan, settings, opened)
            stop.listen()  # once more: Ray replaces handlers
            return work(job, settings, stop)
        except Exception as error:
            if job is None and isinstance(error, ValueError):
                fail(str(error))
            return failed(error, plan.out, job.done if job else None, len(plan.questions))


def sft_settings(settings: Settings) -> SftSettings:
    return SftSettings(settings.formats, settings.attempts, settings.seed)


def work(job: Job, settings: Settings, stop: Stop) -> int:
    plan = job.plan
    introduce(job)
    if not roll_out(job, stop):
        return stopped(plan.out, job.done, len(plan.questions))
    counts = write_raw_data(plan, job.store)
    made = assemble(plan.raw_data, plan.out / "SFT_DATA", sft_settings(settings))
    if plan.rl_questions:
        rl_data(plan.rl_questions, plan.out / "RL_DATA", plan.configuration)
    tally = {"samples": counts.samples, "traces": made.traces.total(), "failed_questions": counts.lost.total()}
    job.directory.update(state="done", counts=tally)
    print(f"\n{summary(counts)}\n\n{summary_text(made)}\n")
    return publish(job, settings, stop)


if __name__ == "__main__":
    sys.exit(main())
