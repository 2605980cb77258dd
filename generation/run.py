"""The whole job: questions to RAW_DATA to traces. `python -m generation.run --help`"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence

from assembly.assemble import assemble
from assembly.exports import rl_data
from assembly.formats import choose_formats
from assembly.summary import SftSettings, summary_text
from cluster.flags import fail, parse
from cluster.hub import check_push
from cluster.run_directory import RunDirectory, check_run
from generation.plan import Plan, describe, make_plan
from generation.produce import Stop
from generation.settings import Settings
from generation.stages import check_engine_package, introduce, open_store, roll, summary, versions, write_raw_data
from generation.terminal import say

STOPPED = 75


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 done, 1 failed, 2 wrong input, 75 stopped on request; see the README."""
    settings = parse(Settings, argv)
    try:
        choose_formats(settings.formats, settings.attempts)
        plan = make_plan(settings)
        check_run(plan.out, plan.configuration)
        check_engine_package(settings)
        if settings.push_to:
            check_push(settings.push_to)
    except ValueError as error:
        fail(str(error))
    if settings.dry_run:
        print(describe(plan))
        return 0
    return run(plan, settings)


def run(plan: Plan, settings: Settings) -> int:
    stop = Stop()
    stop.listen()
    introduce(plan)
    with RunDirectory(plan.out, plan.configuration, versions()) as directory:
        store = open_store(plan.out)
        directory.update(state="rolling out")
        try:
            again = roll(plan, settings, store, stop)
        except Exception:
            say("failed", f"{len(store.finished())} of {len(plan.questions)} questions are safe in {plan.out}")
            traceback.print_exc()
            return 1
        if len(store.finished()) < len(plan.questions):
            directory.update(state="stopped")
            say("stopped", f"{len(store.finished())} of {len(plan.questions)} questions are safe in {plan.out}")
            return STOPPED
        counts = write_raw_data(plan, store)
        made = assemble(
            plan.out / "RAW_DATA",
            plan.out / "SFT_DATA",
            SftSettings(settings.formats, settings.attempts, settings.seed),
        )
        rl_data(plan.rl_questions, plan.out / "RL_DATA")
        directory.update(
            state="done", counts={"samples": counts.samples, "traces": made.traces.total(), "again": again}
        )
    print(summary(counts))
    print(summary_text(made))
    return 0


if __name__ == "__main__":
    sys.exit(main())
