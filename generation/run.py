"""The whole job: questions to RAW_DATA to traces. `python -m generation.run --help`"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict

from assembly.feasibility import Outlook
from assembly.job import foreseen, make_sets, say_next, sft_settings
from assembly.serving import Serving, serving_text
from assembly.traces import load_phrases
from cluster.flags import page, parse
from cluster.jobs.job import carry_out, say_stopped
from cluster.jobs.stop import Stop
from generation.plan import Plan, describe
from generation.raw.report import summary
from generation.raw.schema import RAW_DATA
from generation.settings import Settings
from generation.stages import Job, decide, introduce, open_job, publish, roll_out, write_raw_data
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
    sft_settings(settings)  # refuses what cannot be assembled before anything is looked for
    return foreseen(decide(settings), settings)


def work(job: Job, settings: Settings, stop: Stop) -> int:
    plan, wanted = job.plan, sft_settings(settings)
    introduce(job)
    job.directory.update(texts={**plan.texts, "phrases": asdict(load_phrases())})
    if not roll_out(job, stop, Outlook(wanted)):
        return say_stopped(job, plan.out)
    with stop.leaving():  # from here on the same command does it again
        serving = Serving(wanted)
        counts = write_raw_data(plan, job.store, look=serving.add, served=serving.markdown, record=job.directory.record)
        print(f"\n{summary(counts)}\n\n{serving_text(serving, counts)}\n", flush=True)
        made = make_sets(plan, settings, job.start.all())
        tally = {"samples": counts.all().samples, "traces": made.traces}
        job.tell(state="done", counts={**tally, "failed_questions": counts.lost.total()})
        code = publish(job, settings, [RAW_DATA, *made.names])
        say_next(plan.out, made, settings, serving.served())
        return made.code(code)


if __name__ == "__main__":
    sys.exit(main())
