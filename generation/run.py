"""The whole job: questions to RAW_DATA to traces. `python -m generation.run --help`"""

import sys
from collections.abc import Sequence

from assembly.enough import traces_goal
from assembly.expected import expected, with_room
from assembly.feasibility import Coverage
from assembly.job import all_made, make_sets, say_counts, say_next, sets_of, sft_settings, with_traces
from assembly.reporting.page import leave_report
from assembly.so_far import RolloutSoFar
from cluster.flags import page, parse
from cluster.inference.replicas import Fleet
from cluster.jobs.job import Job
from generation.placement import check_engines, choose_fleet
from generation.plan import describe, look_at_prompts, make_plan
from generation.preview import previewed
from generation.raw.report import write_raw_data
from generation.rollout import Work
from generation.settings import Settings
from generation.text_files import at_once


def main(argv: Sequence[str] | None = None, *, fleet: Fleet | None = None) -> int:
    """Run the whole job; return the exit code: 0 done, 1 failed, 75 stopped on request. Exits with 2 on wrong input."""
    settings = parse(Settings, argv)
    if told := at_once(settings):
        page(told)
        return 0
    with Job(settings) as job:
        wanted = sft_settings(settings)
        plan = previewed(make_plan(settings), settings.preview)
        job.check(plan, sets_of(settings), traces_goal(wanted, settings.traces))
        if job.owed and fleet is None:
            check_engines(settings, plan)
        if job.owed or settings.only_planned or plan.previewed:
            plan = look_at_prompts(plan)
        plan = with_room(with_traces(plan, wanted, settings), job.owed)
        if settings.only_planned:
            return job.show(describe(plan, expected(plan, settings, wanted, job.owed, fleet)))
        if job.owed and fleet is None:
            fleet = choose_fleet(plan, settings)
        job.roll_out(plan, Work(plan.rollout, plan.task_config), fleet, RolloutSoFar(wanted))
        coverage = Coverage(wanted)
        most = plan.each if settings.enough else None
        counts = write_raw_data(plan, job, coverage.add, coverage.markdown, most=most)
        say_counts(counts, coverage)
        made, traces = make_sets(job, plan, wanted, settings)
        done = {"samples": counts.all().samples, "traces": traces, "failed_questions": counts.lost.total()}
        job.set_state("done", counts=done)
        job.hand_over(made, failed=not all_made(plan, made))
        leave_report(plan.out, made)
        say_next(plan, wanted, traces, coverage.served())
    return job.code


if __name__ == "__main__":
    sys.exit(main())
