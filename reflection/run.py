"""Add reflections to an existing RAW_DATA: python -m reflection.run --raw DIR_OR_REPO."""

import sys
from collections.abc import Sequence

from assembly.feasibility import Coverage, why_unusable
from assembly.job import assembling, say_counts
from assembly.reporting.page import leave_report
from assembly.settings import SftSettings
from cluster.flags import parse
from cluster.inference.replicas import Fleet
from cluster.jobs.job import Job
from cluster.jobs.progress import say
from generation.placement import check_engines, choose_fleet
from generation.raw.schema import RAW_DATA
from reflection.added.plan import AdditionSettings, describe_additions, look_at_samples, plan_additions
from reflection.added.rows import write_reflected
from reflection.added.so_far import ReflectionsSoFar


def main(argv: Sequence[str] | None = None, *, fleet: Fleet | None = None) -> int:
    """Return the exit code: 0 done, 1 failed, 75 stopped on request; exit with 2 for invalid input."""
    settings = parse(AdditionSettings, argv)
    with Job(settings) as job:
        wanted = SftSettings(seed=settings.seed)
        plan = plan_additions(settings)
        job.check(plan, [RAW_DATA])
        if job.owed and fleet is None:
            check_engines(settings, plan)
        if job.owed or settings.dry_run:
            plan = look_at_samples(plan)
        plan = plan.with_notes(why_unusable((file.path for file in plan.source.files), wanted))
        if settings.dry_run:
            return job.show(describe_additions(plan))
        if job.owed and fleet is None:
            fleet = choose_fleet(plan, settings)
        job.roll_out(plan, plan.work, fleet, ReflectionsSoFar())
        coverage = Coverage(wanted)
        counts = write_reflected(plan, job, coverage.add, coverage.markdown)
        whole = counts.all()
        done = {"samples": whole.samples, "reflections": whole.reflections, "failed_rows": counts.kept.total()}
        job.set_state("done", counts=done)
        say_counts(counts, coverage)
        job.hand_over([RAW_DATA], stays=", which stay as they were")
        leave_report(plan.out, [RAW_DATA])
        say("next", assembling(plan.out), whole=True)
    return job.code


if __name__ == "__main__":
    sys.exit(main())
