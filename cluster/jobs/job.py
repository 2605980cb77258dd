"""The frame of every command that deals work to engines and keeps the rows in a run directory.

Wrong input, lock, signals, exit codes, shards, failed.json, run.json and the hub are its business. It knows
neither questions nor Ray: a `Fleet` opens the engines, and only where something is owed.
"""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any, Self

import pyarrow as pa

from cluster.errors import Left, NotPushed
from cluster.flags import fail, page
from cluster.inference.engine import Work
from cluster.inference.replicas import Fleet, Placement
from cluster.jobs.atomic import check_replaceable
from cluster.jobs.hub import check_push, push
from cluster.jobs.plan import JobPlan, JobSettings
from cluster.jobs.progress import FAILED, STOPPED, failed, fitted, say, staged
from cluster.jobs.run_directory import JSON, LOGS, RunDirectory, check_run, now, this_command, versions
from cluster.jobs.stop import Stop
from cluster.jobs.store import ShardStore, finished_in
from cluster.jobs.tally import FILE, Failures, Tally

SHARDS = "shards"


class Job:
    """One start of a command's run: a context that leaves the exit code in `code`, 0 done, 1 failed, 75 stopped.

    A ValueError before the run has begun is wrong input: one line on stderr, SystemExit 2, and nothing was made.
    """

    def __init__(self, settings: JobSettings) -> None:
        self.code = 0
        self._settings = settings
        self._stop = Stop(settings.grace_s)
        self._held, self._leaving = ExitStack(), ExitStack()
        self._planned = self._begun = False

    def __enter__(self) -> Self:
        self._stop.listen()
        self._leaving.enter_context(self._stop.leaving(at_once=True))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> bool:
        with self._held:
            self._leaving.close()
            if isinstance(error, Left):
                words = "before anything was asked; the same command begins again"
                if self._begun:
                    self.tell("stopped")
                    done, total, unit = self._safe()
                    words = f"{done:,} of {total:,} {unit} are safe in {self.plan.out}; the same command goes on"
                say("stopped", words)
                self.code = STOPPED
            elif isinstance(error, ValueError) and not self._begun:
                fail(str(error))
            elif isinstance(error, Exception) and self._planned:
                if self._begun:
                    with suppress(OSError):  # the disk may be what failed
                        self.tell("failed")
                self.code = failed(error, self.plan.out, *(self._safe() if self._begun else (None, 0)))
            else:
                return False
        return True

    def check(self, plan: JobPlan, folders: Sequence[str]) -> None:
        """Take on a plan whose rows become the first of these folders, and look what is owed. Makes nothing.

        Raises ValueError where the run or a folder cannot be there, or the hub would not take the folders.
        """
        check_run(plan.out, plan.configuration)
        check_replaceable(plan.out / folders[0])
        self.plan, self._planned = plan, True
        self._settle(finished_in(plan.out / SHARDS, plan.key))
        if namespace := self._settings.push_to:
            check_push(namespace, [f"{name}-{plan.name}" for name in folders], ask=not self._settings.dry_run)

    @property
    def owed(self) -> set[str]:
        """Return the keys of the items that are neither finished nor failed."""
        return set(self.plan.keys) - self._settled

    @property
    def failed(self) -> dict[str, str]:
        """Return why items failed, by key."""
        finished = self.store.finished()
        return {key: reason for key, reason in self._failures.reasons().items() if key not in finished}

    @property
    def starts(self) -> list[Mapping[str, Any]]:
        """Return all starts of the run, this one last, as run.json has them."""
        return [*self.directory.record["starts"]]

    def show(self, text: str) -> int:
        """Print a plan for --dry_run, and what is owed of a run that was begun; return the exit code."""
        head, gap, prompts = text.partition("\n\n")
        owed, total = self.plan.count(self.owed), self.plan.count(self.plan.keys)
        if self._settled:
            left = f"{owed:,} of {total:,} {self.plan.unit}" if owed else "nothing, so no engine would be started"
            head = f"{head}\n{staged('owed', left)}"
        page(fitted(head) + gap + prompts)
        return 0

    def deal(
        self, plan: JobPlan, work: Work, fleet: Fleet | None, look: Callable[[pa.Table], str] | None = None
    ) -> None:
        """Have the work done on each item that is owed, and keep its rows; an engine is started only if one is.

        Returns when every item of the run is finished or failed; raises Left where a stop was asked for before.
        `look` is shown the rows of each item. Raises ValueError for a run or engines that cannot be had,
        EngineStartError, ClusterLostError, AllFailedError.
        """
        self.plan, again = plan, 0
        if not self.owed:
            self._begin()
        else:
            assert fleet is not None
            with fleet.open(work) as pool:
                self._stop.listen()  # once more: Ray replaces handlers
                self._begin(fleet.placement)
                self._leaving.close()
                tally = Tally(plan, self.store, self._failures, plan.count(self._settled), look)
                with tally.progress:
                    self._stop.on_stop(pool.stop)
                    try:
                        for event in pool.run(plan.items(self.owed)):
                            tally.take(event)
                            # Who asks to stop may not wait for the end.
                            if tally.keep(everything=self._stop.asked > 0):
                                self._report(tally, fleet.placement)
                    finally:
                        # Whatever ends the loop, what is finished is kept.
                        self._stop.on_stop(None)
                        tally.keep(everything=True)
                        self._report(tally, fleet.placement)
                again = tally.again
        missing = len(plan.keys) - len(self.store.finished() | self.failed.keys())
        assert not missing or self._stop.asked, f"{missing} {plan.item}s are neither done nor failed"
        counter = f"{plan.item}s_done_again"
        self.tell("rolled out", **{counter: self.directory.record.get(counter, 0) + again})
        if missing:
            raise Left
        # From here on the same command does it again.
        self._leaving.close()
        self._leaving.enter_context(self._stop.leaving())

    def tell(self, state: str, **facts: JSON) -> None:
        """Write the state of the run and of this start into run.json, and facts of the run."""
        self._tell_start({"state": state}, state=state, **facts)

    def published(self, folder: str) -> str:
        """Return the name of the folder on the hub, "" if it is not pushed."""
        return f"{self._settings.push_to}/{folder}-{self.plan.name}" if self._settings.push_to else ""

    def hand_over(self, folders: Sequence[str], *, stays: str = "", failed: bool = False) -> None:
        """Name the folders that were made and what is missing in them, and push them if asked.

        A push that fails or is stopped loses nothing: the same command finds everything done and pushes again.
        `stays` says what became of what is missing; `failed` tells that something else could not be made.
        """
        plan, made = self.plan, [self.plan.out / name for name in folders]
        for folder in made:
            say("made", str(folder))
        lost = plan.count(self.failed)
        self.code = FAILED if lost or failed else 0
        if lost:
            missing = f"{lost:,} of {plan.count(plan.keys):,} {plan.unit}{stays}"
            say("failed", f"{missing}, see {plan.out / FILE}; --retry_failed tries again")
        try:
            for folder in made if self._settings.push_to else ():
                pushed = push(
                    folder, self.published(folder.name), public=self._settings.public, tell=partial(say, "hub")
                )
                say("pushed", f"{pushed.url}, {'private' if pushed.private else 'public'}")
        except NotPushed as error:
            told = "everything is whole on this machine, and the same command pushes it without a new rollout"
            print(f"not pushed: {error}; {told}", file=sys.stderr)
            self.code = FAILED
        except Left:
            say("stopped", "what was made is whole; the same command pushes it")
            self.code = STOPPED

    def _settle(self, finished: Iterable[str]) -> None:
        """Read failed.json, and note which items are not owed."""
        self._failures = Failures(self.plan.out)
        self._settled = {*finished, *(() if self._settings.retry_failed else self._failures.reasons())}

    def _begin(self, placed: Placement | None = None) -> None:
        """Lock the run directory, open its shards, say what the run will do. Raises ValueError if it is not ours."""
        plan, shards = self.plan, self.plan.out / SHARDS
        self.directory = self._held.enter_context(RunDirectory(plan.out, plan.configuration, versions()))
        self.store = ShardStore(shards, schema=plan.schema, sort_by=plan.sort_by, key=plan.key)
        self._settle(self.store.finished())
        self._begun = True
        if self._settings.retry_failed and not self._failures.reasons():
            say("note", f"--retry_failed has nothing to try again: nothing failed in {plan.out} before")
        elif self._settings.retry_failed:
            self._failures.forget(self._failures.reasons())
        for shard in self.store.torn:
            say("shards", f"{shard.name} was torn and is kept in shards/torn; its {plan.unit} are asked again")
        for key in self.store.repeated:
            say("shards", f"{plan.item} {key} lies in two shards; the first counts")
        for stage, words in plan.introduction():
            say(stage, words)
        if placed is not None:
            logs = plan.out / LOGS
            logs.mkdir(exist_ok=True)
            each = f"{placed.gpus_each} GPU each" if placed.gpus_each else "on the CPU"
            say("engines", f"{placed.engines} {each}, logs in {logs}")
        done, lost = plan.count(self.store.finished()), plan.count(self.failed)
        if done or lost:
            words = f"; {lost:,} failed before, --retry_failed tries them again" if lost else ""
            say("rollout", f"going on: {done:,} of {plan.count(plan.keys):,} {plan.unit} are done already{words}")
        self._starts = [*self.directory.record.get("starts", []), this_command()]
        self.tell("rolling out", texts=plan.texts)

    def _report(self, tally: Tally, placed: Placement) -> None:
        """Write into run.json how far this start has come."""
        facts = tally.facts()
        wanted = {"wanted": placed.engines, "gpus_each": placed.gpus_each}
        self._tell_start({**facts, "engines": {**wanted, **facts["engines"]}})

    def _tell_start(self, start: Mapping[str, Any], **facts: JSON) -> None:
        """Add to this start's entry in run.json; its `ended` is the time of the last word, also of one killed."""
        self._starts[-1] |= {**start, "ended": now()}
        self.directory.update(starts=self._starts, **facts)

    def _safe(self) -> tuple[int, int, str]:
        """Return how many units are safe, of how many, and what they are."""
        return self.plan.count(self.store.safe()), self.plan.count(self.plan.keys), self.plan.unit
