"""The skeleton of every command that gives work to engines and keeps the rows in a run directory.

Items that are neither finished nor failed are owed. Engines are started only if there are any.
"""

import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from functools import partial
from typing import Any, Self

import pyarrow.compute as pc

from cluster.errors import NotPushed, Stopped
from cluster.flag_files import written
from cluster.flags import fail, page
from cluster.inference.pool import Done, Event, Failed
from cluster.inference.replica import Work
from cluster.inference.replicas import Fleet, Placement
from cluster.jobs.atomic import atomic_write_text, check_replaceable
from cluster.jobs.failures import FAILED_ITEMS, Failures
from cluster.jobs.goal import Goal
from cluster.jobs.growth import grown
from cluster.jobs.hub import check_push, push
from cluster.jobs.monitor import Look, Monitor
from cluster.jobs.plan import Item, JobPlan, JobSettings
from cluster.jobs.progress import FAILED, STOPPED, report_failure, say, stage_line, wrapped
from cluster.jobs.run_directory import (
    ENGINE,
    JSON,
    LOGS,
    RUN_FLAGS,
    check_build,
    check_run,
    hold_run,
    now,
    this_command,
    versions,
    write_record,
)
from cluster.jobs.status import Stage
from cluster.jobs.stop import Stop
from cluster.jobs.store import ShardStore, finished_in, rows_in
from cluster.jobs.tally import Tally, say_engines
from cluster.jobs.tracking import check_tracker, tracking

SHARDS = "shards"
_STAGES: dict[str, Stage] = {"done": "done", "failed": "failed", "stopped": "stopped"}
"""By the state that run.json has from then on."""


class Job:
    """One start of a command's run: a context that leaves the exit code in `code`, 0 done, 1 failed, 75 stopped.

    A ValueError before the run has begun means invalid input: one line on stderr, SystemExit 2, and nothing is made.
    """

    def __init__(self, settings: JobSettings) -> None:
        self.code = 0
        self._settings = settings
        self._stop = Stop(settings.grace_s)
        self._locked = ExitStack()
        self._planned = self._begun = False

    def __enter__(self) -> Self:
        self._stop.listen()
        self._stop.interrupt(at_once=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> bool:
        with self._locked:
            self._stop.defer()
            if self._begun and isinstance(error, Stopped | Exception):
                with suppress(OSError):  # the disk may be full, or be what failed
                    self.set_state("stopped" if isinstance(error, Stopped) else "failed")
            if isinstance(error, Stopped):
                words = "before anything was asked; the same command begins again"
                if self._begun:
                    words = f"{self._safe()} safe in {self.plan.out}; the same command goes on"
                say("stopped", words)
                self.code = STOPPED
            elif isinstance(error, ValueError) and not self._begun:
                fail(str(error))
            elif isinstance(error, Exception) and self._planned:
                self.code = report_failure(error, self.plan.out, self._safe())
            else:
                return False
        return True

    def check(self, plan: JobPlan, folders: Sequence[str], goal: Goal | None = None) -> None:
        """Accept a plan whose rows become the first folder, and find what is owed. Makes nothing. Raises ValueError.

        With a `goal` the run ends when that is reached, by those of its items that are merged.
        """
        record = check_run(plan.out, plan.configuration, plan.earlier)
        check_replaceable(plan.out / folders[0])
        self.plan, self._planned, self._asked = plan, True, plan.asked(record)
        self._grows = grown(plan.grows, record["configuration"], plan.configuration) if record else ""
        self._finished: Collection[str] = finished_in(plan.out / SHARDS, plan.key, self._asked)
        self._failures = Failures(plan.out)
        self._goal = goal
        if goal is not None:
            failed = () if self._settings.retry_failed else self._failures.reasons()
            goal.begin(plan.merged, rows_in(plan.out / SHARDS, plan.key, self._asked), failed)
        if not self._settings.dry_run:
            check_tracker(self._settings.log_to)
        if namespace := self._settings.push_to:
            check_push(namespace, [f"{name}-{plan.name}" for name in folders], ask=not self._settings.dry_run)

    def kept(self, merged: Sequence[str]) -> Sequence[str]:
        """Return which of the plan's items to be merged are needed: with a goal that is reached, the first alone."""
        goal = self._goal
        return merged[: goal.items] if goal is not None and goal.reached else merged

    @property
    def wanted(self) -> list[str]:
        """Return the keys of the items that the run takes to its end: those that are kept, and what is not merged."""
        order = self.plan.merged
        merged = set(order)
        return [*self.kept(order), *(key for key in self.plan.keys if key not in merged)]

    @property
    def owed(self) -> set[str]:
        """Return the keys of the items that are neither finished nor failed; with a goal that is reached, of fewer."""
        failures = () if self._settings.retry_failed and not self._begun else self._failures.reasons()
        return set(self.wanted).difference(self._finished, failures)

    @property
    def failed(self) -> dict[str, str]:
        """Return the reasons of the failed items, by key."""
        return {key: reason for key, reason in self._failures.reasons().items() if key not in self._finished}

    def show(self, text: str) -> int:
        """Print the plan for --dry_run, and how much of a run begun earlier is owed; return the exit code."""
        head, gap, prompts = text.partition("\n\n")
        owed, total = self.plan.count(self.owed), self.plan.count(self.plan.keys)
        if owed < total:
            left = f"{owed:,} of {total:,} {self.plan.unit}" if owed else "nothing, so no engine would be started"
            head = f"{head}\n{stage_line('owed', left)}"
        if self._grows:
            head = f"{head}\n{stage_line('grows', f'{self._grows}; rows that are there stay')}"
        page(wrapped(head) + gap + prompts)
        return 0

    def roll_out(self, plan: JobPlan, work: Work, fleet: Fleet | None, look: Look | None = None) -> None:
        """Do the work on each item that is owed, and keep its rows; start no engine if none is.

        Returns when every wanted item is finished or failed; raises Stopped if a stop was requested before that.
        `look` is shown the rows of those that are merged. Raises ValueError for an impossible run or impossible
        engines, EngineStartError, ClusterLostError, AllFailedError.
        """
        self.plan = plan
        if not self.owed:
            self._begin()
        else:
            assert fleet is not None
            with fleet.open(work) as pool:
                self._begin(fleet.placement)
                self._stop.defer()
                with Tally(plan, self.store, self._failures) as tally, self._watching(fleet.placement, look):
                    self._stop.on_stop(pool.stop)
                    owed = self.owed
                    try:
                        for event in pool.run(self._while_wanted(self._dealt(owed)), len(owed)):
                            tally.take(event)
                            self._count(event)
                            self._monitor.take(event)
                            # Whoever asked to stop may kill us before the end.
                            if tally.keep(everything=self._stop.asked > 0):
                                self.set_state("rolling out", tally.facts(fleet.placement))
                    finally:
                        # However the loop ends, all that is finished is kept.
                        self._stop.on_stop(None)
                        tally.keep(everything=True)
                        self.set_state("rolling out", tally.facts(fleet.placement))
        words, facts = self._goal.progress(plan.item) if self._goal is not None else ("", {})
        if self._goal is not None:
            say(self._goal.unit, words)
        self.set_state("rolled out", facts)
        if missing := len(self.owed):
            assert self._stop.asked, f"{missing} {plan.item}s are neither done nor failed"
            raise Stopped
        self._monitor.stage("making sets")
        # From here on, rerunning the command repeats everything.
        self._stop.interrupt()

    def _watching(self, placed: Placement, look: Look | None) -> AbstractContextManager[None]:
        before = {*self._finished, *self._failures.reasons()}
        rows = rows_in(self.plan.out / SHARDS, self.plan.key, self._asked)
        return self._monitor.watching(self.plan, placed.engines, look, before, rows)

    def _dealt(self, owed: Collection[str]) -> Iterator[Item]:
        """Yield the items of these keys: first those that have rows, shard by shard, then the others."""
        plan, begun = self.plan, self.store.begun() & {*owed}
        for rows in self.store.scan(begun):
            for item in plan.items({*rows[plan.key].to_pylist()}):
                yield plan.resumed(item, rows.filter(pc.equal(rows[plan.key], item.key)))
        yield from plan.items({*owed} - begun)

    def _while_wanted(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield the items, but none to be merged once the goal is reached."""
        merged = set(self.plan.merged)
        for item in items:
            if self._goal is None or item.key not in merged or not self._goal.reached:
                yield item

    def _count(self, event: Event[Any, Any]) -> None:
        """Tell the goal what has ended."""
        if self._goal is not None and isinstance(event, Done):
            self._goal.finish(event.result.table)
        elif self._goal is not None and isinstance(event, Failed):
            self._goal.fail([event.item.key])

    def set_state(self, state: str, start: Mapping[str, Any] = {}, **facts: JSON) -> None:
        """Write the state to run.json, with `facts` about the run, and `start` and the time about this start."""
        self.starts[-1] |= {"state": state, **start, "ended": now()}
        self.record |= {"state": state, **facts}
        write_record(self.plan.out, self.record)
        if state in _STAGES:
            self._monitor.stage(_STAGES[state])

    def published(self, folder: str) -> str:
        """Return the folder's name on the hub, "" if it is not pushed."""
        return f"{self._settings.push_to}/{folder}-{self.plan.name}" if self._settings.push_to else ""

    def hand_over(self, folders: Sequence[str], *, stays: str = "", failed: bool = False) -> None:
        """Report the folders that were made and what is missing in them, and push them if asked.

        A push that fails or is stopped loses nothing: rerunning the command finds everything done and pushes again.
        `stays` says what became of the missing units; `failed` means that something else could not be made.
        """
        plan, made = self.plan, [self.plan.out / name for name in folders]
        for folder in made:
            say("made", str(folder))
        lost = plan.count(set(self.failed).intersection(self.wanted))
        self.code = FAILED if lost or failed else 0
        if lost:
            missing = f"{lost:,} of {plan.count(self.wanted):,} {plan.unit}{stays}"
            say("failed", f"{missing}, see {plan.out / FAILED_ITEMS}; --retry_failed tries again")
        try:
            for folder in made if self._settings.push_to else ():
                repository = self.published(folder.name)
                say("pushed", push(folder, repository, public=self._settings.public, tell=partial(say, "hub")))
        except NotPushed as error:
            remedy = "everything is whole on this machine, and the same command pushes it without a new rollout"
            print(f"not pushed: {error}; {remedy}", file=sys.stderr)
            self.code = FAILED
        except Stopped:
            say("stopped", "what was made is whole; the same command pushes it")
            self.code = STOPPED
        if self.code:
            self._monitor.stage("failed" if self.code == FAILED else "stopped")

    def _begin(self, placed: Placement | None = None) -> None:
        """Lock the run directory, open its shards, report what the run will do. Raises ValueError if it is not ours."""
        plan, build = self.plan, {ENGINE: placed.build} if placed and placed.build else {}
        other = check_build(plan.out, build.get(ENGINE, ""), accept=self._settings.accept_version)
        held = hold_run(plan.out, {**plan.configuration, **build}, plan.earlier)
        self.record = self._locked.enter_context(held)  # the contents of run.json
        self.starts: list[dict[str, Any]] = self.record.setdefault("starts", [])  # of the run, this one last
        self.starts.append(this_command(versions=versions(), **build))
        atomic_write_text(plan.out / RUN_FLAGS, written(self._settings, plan.out))
        self._asked, shards = plan.asked(self.record), plan.out / SHARDS
        schema, sort_by = plan.schema, plan.sort_by
        self.store = ShardStore(shards, schema=schema, sort_by=sort_by, key=plan.key, asked=self._asked)
        self._finished, self._failures = self.store.finished(), Failures(plan.out)
        self._monitor = self._locked.enter_context(Monitor(plan, len(self.starts) - 1, self._stop, self._goal))
        self._monitor.stage("planning")
        self._begun = True
        if self._settings.retry_failed and not self._failures.reasons():
            say("note", f"--retry_failed has nothing to try again: nothing failed in {plan.out} before")
        elif self._settings.retry_failed:
            self._failures.forget(self._failures.reasons())
        if (goal := self._goal) is not None:
            # The run is this driver's alone from here on: what counts is what lies in it now.
            goal.keep({*self._finished, *self._failures.reasons()})
            for rows in self.store.scan(goal.unknown(self._finished)):
                goal.finish(rows)
            goal.fail(self._failures.reasons())
        for shard in self.store.torn:
            say("shards", f"{shard.name} was torn and is kept in shards/torn; its {plan.unit} are asked again")
        for key in self.store.repeated:
            say("shards", f"{plan.item} {key} lies in two shards; the first counts")
        for stage, words in (*plan.introduction(), ("note", other), ("grows", self._grows)):
            if words:
                say(stage, words)
        if placed is not None:
            say_engines(placed, plan.out / LOGS)
        done, lost, begun = map(plan.count, (self._finished, self.failed, self.store.begun()))
        if done or lost or begun:
            words = f"; {begun:,} others have rows that stay, and are asked for what they lack" if begun else ""
            words += f"; {lost:,} failed before, --retry_failed tries them again" if lost else ""
            say("rollout", f"going on: {done:,} of {plan.count(plan.keys):,} {plan.unit} are done already{words}")
        self.set_state("rolling out", texts=plan.texts)
        self._locked.enter_context(tracking(plan.out, self._settings.log_to, partial(say, "tracker")))

    def _safe(self) -> str:
        if not self._begun:
            return "all that was finished before is"
        return f"{self.plan.count(self.store.safe()):,} of {self.plan.count(self.plan.keys):,} {self.plan.unit} are"
