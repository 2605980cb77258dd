"""More reflections for a RAW_DATA that is there: python -m reflection.run --raw DIR_OR_REPO."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

from assembly.feasibility import hopeless
from assembly.job import assembling, sft_settings
from assembly.serving import Serving, serving_text
from cluster.flags import parse
from cluster.jobs.job import carry_out, say_stopped
from cluster.jobs.progress import say
from cluster.jobs.stop import Stop
from generation.raw.report import summary
from reflection import prompts
from reflection.added.plan import AdditionPlan, describe
from reflection.added.settings import AdditionSettings
from reflection.added.stages import Job, decide, introduce, open_job, publish, roll_out, write_raw_data


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 done, 1 failed, 2 wrong input, 75 stopped on request."""
    return carry_out(parse(AdditionSettings, argv), decide_all, describe, open_job, work)


def decide_all(settings: AdditionSettings) -> AdditionPlan:
    """Plan the run, with a note if no trace can come of it. Raises ValueError for wrong input."""
    plan = decide(settings)
    told = hopeless((file.path for file in plan.source.files), sft_settings(settings.job))
    return replace(plan, notes=(*plan.notes, told)) if told else plan


def work(job: Job, settings: AdditionSettings, stop: Stop) -> int:
    introduce(job)
    job.directory.update(texts={"reflections": prompts.PROMPTS})
    if not roll_out(job, stop):
        return say_stopped(job, job.plan.out)
    with stop.leaving():  # from here on the same command does it again
        serving = Serving(sft_settings(settings.job))
        counts = write_raw_data(job, serving.add, serving.markdown)
        whole = counts.all()
        told = {"samples": whole.samples, "reflections": whole.reflections, "failed_rows": counts.kept.total()}
        job.tell(state="done", counts=told)
        print(f"\n{summary(counts)}\n\n{serving_text(serving, counts)}\n")
        code = publish(job, settings)
        say("next", assembling(job.plan.out), whole=True)
        return code


if __name__ == "__main__":
    sys.exit(main())
