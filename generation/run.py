"""The whole job: questions to RAW_DATA to traces. `python -m generation.run --help`"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack

from assembly.assemble import assemble
from assembly.exports import rl_data
from assembly.formats import choose_formats
from assembly.summary import SftSettings, summary_text
from cluster.flags import fail, parse
from cluster.hub import check_push, push
from cluster.run_directory import RunDirectory, check_run
from cluster.session import session
from cluster.store import ShardStore
from generation.plan import Plan, describe, make_plan
from generation.produce import Stop, produce
from generation.settings import Settings
from generation.stages import Crew, check_engine_package, hire, introduce, open_store, summary, versions, write_raw_data
from generation.terminal import failed, say, stopped

SFT_DATA, RL_DATA = "SFT_DATA", "RL_DATA"


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 done, 1 failed, 2 wrong input, 75 stopped on request."""
    settings = parse(Settings, argv)
    stop = Stop()
    stop.listen()
    with ExitStack() as opened:
        try:
            plan = decide(settings)
            if settings.dry_run:
                print(describe(plan))
                return 0
            crew = hire(plan, settings, opened.enter_context(session(settings.address)))
            directory = opened.enter_context(RunDirectory(plan.out, plan.configuration, versions()))
            store = open_store(plan.out)
        except ValueError as error:
            fail(str(error))
        stop.listen()  # once more: Ray replaces handlers
        return run(plan, settings, crew, directory, store=store, stop=stop)


def decide(settings: Settings) -> Plan:
    """Everything that can be wrong is found here, before a process starts or a file is made."""
    choose_formats(settings.formats, settings.attempts)
    plan = make_plan(settings)
    check_run(plan.out, plan.configuration)
    check_engine_package(settings)
    if settings.push_to and not settings.dry_run:
        check_push(settings.push_to)
    return plan


def run(plan: Plan, settings: Settings, crew: Crew, directory: RunDirectory, *, store: ShardStore, stop: Stop) -> int:
    introduce(plan, crew)
    try:
        directory.update(state="rolling out")
        again = produce(plan, store, crew.engine, crew.placement, stop)
        if len(store.finished()) < len(plan.questions):
            directory.update(state="stopped")
            return stopped(plan.out, len(store.finished()), len(plan.questions))
        counts = write_raw_data(plan, store)
        wanted = SftSettings(settings.formats, settings.attempts, settings.seed)
        made = assemble(plan.raw_data, plan.out / SFT_DATA, wanted)
        folders = [plan.raw_data, plan.out / SFT_DATA]
        if plan.rl_questions:
            rl_data(plan.rl_questions, plan.out / RL_DATA)
            folders.append(plan.out / RL_DATA)
        done = {"samples": counts.samples, "traces": made.traces.total(), "questions_done_again": again}
        directory.update(state="done", counts=done)
        print(f"\n{summary(counts)}\n\n{summary_text(made)}\n")
        for folder in folders:
            say("made", str(folder))
            if settings.push_to:
                say("pushed", push(folder, f"{settings.push_to}/{folder.name}-{plan.name}"))
    except Exception as error:
        return failed(error, plan.out, len(store.finished()), len(plan.questions))
    return 0


if __name__ == "__main__":
    sys.exit(main())
