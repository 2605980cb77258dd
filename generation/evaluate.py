"""Evaluate a model, or compare evaluations: python -m generation.evaluate --help."""

import sys
from collections.abc import Sequence

from assembly.reporting.page import leave_report
from cluster.flags import fail, page, parse
from cluster.inference.replicas import Fleet
from cluster.jobs.job import Job
from cluster.jobs.progress import say
from generation.evaluation.averages import PAPER_TASKS
from generation.evaluation.compare_sets import compare_sets
from generation.evaluation.eval_data import write_evaluation
from generation.evaluation.plan import describe_evaluation, look_at_questions, plan_evaluation
from generation.evaluation.schema import EVAL_DATA
from generation.evaluation.settings import PAPER, EvaluateSettings
from generation.evaluation.so_far import RepliesSoFar
from generation.placement import check_engines, choose_fleet
from generation.tasks.registry import listing


def main(argv: Sequence[str] | None = None, *, fleet: Fleet | None = None) -> int:
    """Return the exit code: 0 done, 1 failed, 75 stopped on request; exit with 2 for invalid input."""
    settings = parse(EvaluateSettings, argv)
    if settings.list_tasks:
        asked = sum(PAPER_TASKS.values())
        page(f"{listing()}\n{PAPER}: {len(PAPER_TASKS)} of these, {asked:,} questions, as arXiv 2512.04072 evaluates")
        return 0
    if settings.compare:
        try:
            page(compare_sets(settings.compare, settings.arm, settings.out, settings.seed))
        except ValueError as error:
            fail(str(error))
        return 0
    with Job(settings) as job:
        plan = plan_evaluation(settings)
        job.check(plan, [EVAL_DATA])
        if job.owed and fleet is None:
            check_engines(settings, plan)
        if job.owed or settings.dry_run:
            plan = look_at_questions(plan)
        if settings.dry_run:
            return job.show(describe_evaluation(plan))
        if job.owed and fleet is None:
            fleet = choose_fleet(plan, settings)
        job.roll_out(plan, plan.work, fleet, RepliesSoFar())
        told, lost = write_evaluation(plan, job)
        print(f"\n{told.text()}", flush=True)
        job.set_state("done", counts={"replies": told.evaluation.replies.num_rows, "failed_questions": lost.total()})
        job.hand_over([EVAL_DATA])
        leave_report(plan.out, [EVAL_DATA])
        say("next", f"python -m generation.evaluate --compare {plan.out} OTHER", whole=True)
    return job.code


if __name__ == "__main__":
    sys.exit(main())
