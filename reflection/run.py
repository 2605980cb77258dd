"""More reflections for a RAW_DATA that is there: python -m reflection.run --raw DIR_OR_REPO."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from assembly.job import sft_settings
from assembly.next_steps import assembling
from assembly.outlook import hopeless
from assembly.serving import Serving, serving_text
from cluster.flags import parse
from cluster.inference.replicas import Fleet
from cluster.jobs.job import Job
from cluster.jobs.progress import say
from generation.placement import hire
from generation.raw.report import summary
from generation.raw.schema import RAW_DATA
from generation.settings import Settings
from reflection.added.card import write_reflected
from reflection.added.plan import describe_additions, look_at_samples, plan_additions
from reflection.added.settings import AdditionSettings


def main(argv: Sequence[str] | None = None, *, fleet: Fleet | None = None) -> int:
    """Exit code: 0 done, 1 failed, 2 wrong input, 75 stopped on request."""
    settings = parse(AdditionSettings, argv)
    wanted = sft_settings(Settings(seed=settings.seed))
    with Job(settings) as job:
        plan = plan_additions(settings)
        job.check(plan, [RAW_DATA])
        if job.owed:
            fleet = fleet or hire(plan, settings)
            plan = look_at_samples(plan)
        plan = plan.noting(hopeless((file.path for file in plan.source.files), wanted))
        if settings.dry_run:
            return job.show(describe_additions(plan))
        job.deal(plan, plan.work, fleet)
        serving = Serving(wanted)
        counts = write_reflected(plan, job, serving.add, serving.markdown)
        whole = counts.all()
        told = {"samples": whole.samples, "reflections": whole.reflections, "failed_rows": counts.kept.total()}
        job.tell("done", counts=told)
        print(f"\n{summary(counts)}\n\n{serving_text(serving, counts)}\n")
        job.hand_over([RAW_DATA], ", which stay as they were")
        say("next", assembling(plan.out), whole=True)
    return job.code


if __name__ == "__main__":
    sys.exit(main())
