"""The whole job: questions to RAW_DATA to traces. `python -m generation.run --help`"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from assembly.assemble import check_settings
from assembly.job import SFT_DATA, foreseen, make_traces, sft_settings
from assembly.next_steps import assembling_more, training
from assembly.outlook import Outlook
from assembly.rl import RL_DATA, rl_data
from assembly.serving import Serving, serving_text
from assembly.summary import summary_text
from cluster.flags import parse
from generation.command import carry_out, say_stopped
from generation.plan import Plan, describe
from generation.raw_data import RAW_DATA
from generation.raw_summary import summary
from generation.settings import Settings
from generation.stages import Job, decide, introduce, open_job, publish, roll_out, write_raw_data
from generation.stop import Stop
from generation.tasks.registry import listing
from generation.terminal import FAILED, say


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 done, 1 failed, 2 wrong input, 75 stopped on request."""
    settings = parse(Settings, argv)
    if settings.list_tasks:
        print(listing())
        return 0
    return carry_out(settings, decide_all, describe, open_job, work)


def decide_all(settings: Settings) -> Plan:
    """What will be done, and that its traces can be made. Raises ValueError."""
    check_settings(sft_settings(settings))
    return foreseen(decide(settings), settings)


def work(job: Job, settings: Settings, stop: Stop) -> int:
    plan, wanted = job.plan, sft_settings(settings)
    serving = Serving(wanted)
    introduce(job)
    if not roll_out(job, stop, Outlook(wanted)):
        return say_stopped(job, plan.out)
    with stop.leaving():  # from here on the same command does it again
        counts = write_raw_data(plan, job.store, serving)
        print(f"\n{summary(counts)}\n\n{serving_text(serving, counts)}\n", flush=True)
        made = make_traces(plan, settings)
        if plan.rl_questions:
            rl_data(plan.rl_questions, plan.out / RL_DATA, plan.configuration, plan.license)
        traces = made.traces.total() if made else 0
        tally = {"samples": counts.all().samples, "traces": traces, "failed_questions": counts.lost.total()}
        job.directory.update(state="done", counts=tally)
        if made:
            print(f"{summary_text(made)}\n")
        names = [RAW_DATA, *([SFT_DATA] if made else []), *([RL_DATA] if plan.rl_questions else [])]
        code = publish(job, settings, names)
        if made:
            say("next", training(plan.out / SFT_DATA))
        if other := assembling_more(plan.out, settings.formats, serving.served()):
            say("next", other)
        return code if made else code or FAILED


if __name__ == "__main__":
    sys.exit(main())
