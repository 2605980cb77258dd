"""The frame of every command that deals work to engines and keeps the rows in a run directory.

Wrong input, lock, signals, exit codes, shards, failed.json, run.json and the hub are its business. It knows
neither questions nor Ray: a `Fleet` opens the engines, and only where something is owed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from cluster.flags import fail, page
from cluster.inference.pool import Pool
from cluster.inference.replicas import Fleet, Placement, Work
from cluster.jobs.atomic import check_replaceable
from cluster.jobs.hub import NotPushed, check_push, push
from cluster.jobs.progress import FAILED, STOPPED, Progress, failed, fitted, not_pushed, say, staged, stopped
from cluster.jobs.provenance import now, this_command, versions
from cluster.jobs.run_directory import JSON, LOCK_FILE, LOGS, RUN_FILE, RunDirectory, check_run
from cluster.jobs.settings import JobSettings
from cluster.jobs.stop import Left, Stop
from cluster.jobs.store import KEY, ShardStore, finished_in
from cluster.jobs.tally import FILE, Failures, Item, Tally

SHARDS = "shards"


@dataclass(frozen=True)
class Run:
    """What a job must know of what its command plans."""

    out: Path
    name: str
    """As dataset repositories are called after it."""
    configuration: Mapping[str, JSON]
    """What makes a run this run."""
    keys: Sequence[str]
    """Of all items that are dealt."""
    schema: pa.Schema
    """Of shards."""
    sort_by: tuple[str, ...]
    """Columns that order the rows of an item."""
    key: str = KEY
    """The column that names the item."""
    item: str = "question"
    """What is dealt."""
    unit: str = "questions"
    """What is counted for a person."""
    size: Callable[[str], int] = lambda _: 1
    """How many of these the item of this key stands for."""

    def count(self, keys: Iterable[str]) -> int:
        """Return how many units these items stand for."""
        return sum(map(self.size, keys))


class Job:
    """One start of a command's run: a context that leaves the exit code in `code`, 0 done, 1 failed, 75 stopped.

    A ValueError before the run has begun is wrong input: one line on stderr, SystemExit 2, and nothing is left.
    """

    def __init__(self, settings: JobSettings) -> None:
        self.code = 0
        self._settings = settings
        self._stop = Stop(settings.grace_s)
        self._held, self._leaving = ExitStack(), ExitStack()
        self._made: list[Path] = []
        self._planned = self._begun = False

    def __enter__(self) -> Job:
        self._stop.listen()
        self._leaving.enter_context(self._stop.leaving(at_once=True))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> bool:
        with self._held:
            self._leaving.close()
            if not self._begun:
                self._take_back()
            if isinstance(error, Left):
                self.code = self._stopped()
            elif isinstance(error, ValueError) and not self._begun:
                fail(str(error))
            elif isinstance(error, Exception) and self._planned:
                self.code = self._failed(error)
            else:
                return False
        return True

    def plan(self, run: Run, folders: Sequence[str]) -> None:
        """Take on the run, whose rows become the first of these folders. Makes nothing.

        Raises ValueError where the run or a folder cannot be there, or the hub would not take the folders.
        """
        self.run = run
        check_run(run.out, run.configuration)
        check_replaceable(run.out / folders[0])
        self._settle(finished_in(run.out / SHARDS, run.key))
        self._planned = True
        if namespace := self._settings.push_to:
            names = [f"{folder}-{run.name}" for folder in folders]
            check_push(namespace, names, ask=not self._settings.dry_run)

    @property
    def owed(self) -> set[str]:
        """Keys of the items that are neither finished nor failed."""
        return set(self.run.keys) - self._settled

    @property
    def failed(self) -> dict[str, str]:
        """Why items failed, by key."""
        finished = self.store.finished()
        return {key: reason for key, reason in self._failures.reasons().items() if key not in finished}

    @property
    def starts(self) -> list[Mapping[str, Any]]:
        """All starts of the run, this one last, as run.json has them."""
        return [*self.directory.record["starts"]]

    def show(self, plan: str) -> int:
        """Print the plan for --dry_run, and what is owed of a run that was begun; return the exit code."""
        head, gap, prompts = plan.partition("\n\n")
        owed, total = self.run.count(self.owed), self.run.count(self.run.keys)
        if self._settled:
            left = f"{owed:,} of {total:,} {self.run.unit}" if owed else "nothing, so no engine would be started"
            head = f"{head}\n{staged('owed', left)}"
        page(fitted(head) + gap + prompts)
        return 0

    def open(self, lines: Sequence[tuple[str, str]], texts: Mapping[str, JSON]) -> None:
        """Lock the run directory and open its shards. Raises ValueError if it is not ours.

        `lines`, stages with what is to be said of each, are printed when the run begins; `texts` go into run.json.
        """
        run = self.run
        ours = (run.out / RUN_FILE, run.out / LOCK_FILE, run.out / SHARDS, run.out / LOGS, run.out)
        self._made = [path for path in (*ours, *run.out.absolute().parents) if not path.exists()]
        self.directory = self._held.enter_context(RunDirectory(run.out, run.configuration, versions()))
        self.store = ShardStore(run.out / SHARDS, schema=run.schema, sort_by=run.sort_by, key=run.key)
        self._settle(self.store.finished())
        self._lines, self._texts = lines, texts

    def deal(
        self,
        items: Iterable[Item],
        work: Work,
        fleet: Fleet | None,
        look: Callable[[pa.Table], str] | None = None,
    ) -> None:
        """Have the work done on each item and keep its rows. Where nothing is owed no engine is started.

        Returns when every item of the run is finished or failed; raises Left where a stop was asked for before.
        `look` is shown the rows of each item. Raises ValueError for engines that cannot be had, EngineStartError,
        ClusterLostError, AllFailedError.
        """
        run, again = self.run, 0
        if self.owed:
            assert fleet is not None
            logs = run.out / LOGS
            logs.mkdir(exist_ok=True)
            with fleet.open(work) as pool:
                self._leaving.close()
                self._stop.listen()  # once more: Ray replaces handlers
                placed = fleet.placement
                each = f"{placed.gpus_each} GPU each" if placed.gpus_each else "on the CPU"
                self._begin([("engines", f"{placed.engines} {each}, logs in {logs}")])
                again = self._collect(pool, items, placed, look)
        else:
            self._begin([])
        missing = len(run.keys) - len(self.store.finished() | self.failed.keys())
        assert not missing or self._stop.asked, f"{missing} {run.item}s are neither done nor failed"
        counter = f"{run.item}s_done_again"
        self.tell("rolled out", **{counter: self.directory.record.get(counter, 0) + again})
        if missing:
            raise Left
        # From here on the same command does it again.
        self._leaving.close()
        self._leaving.enter_context(self._stop.leaving())

    def tell(self, state: str, **facts: JSON) -> None:
        """Write the state of the run and of this start into run.json, and facts of the run."""
        self._tell_start({"state": state}, state=state, **facts)

    def hand_over(self, folders: Sequence[str], stays: str = "") -> None:
        """Name the folders that were made and what is missing in them, and push them if asked.

        A push that fails or is stopped loses nothing: the same command finds everything done and pushes again.
        `stays` says what became of what is missing.
        """
        run, made = self.run, [self.run.out / name for name in folders]
        for folder in made:
            say("made", str(folder))
        if lost := run.count(self.failed):
            missing = f"{lost:,} of {run.count(run.keys):,} {run.unit}{stays}"
            say("failed", f"{missing}, see {run.out / FILE}; --retry_failed tries again")
            self.code = FAILED
        try:
            for folder in made if self._settings.push_to else ():
                repository = f"{self._settings.push_to}/{folder.name}-{run.name}"
                pushed = push(folder, repository, public=self._settings.public, tell=partial(say, "hub"))
                say("pushed", f"{pushed.url}, {'private' if pushed.private else 'public'}")
        except NotPushed as error:
            self.code = not_pushed(error)
        except Left:
            say("stopped", "what was made is whole; the same command pushes it")
            self.code = STOPPED

    def _settle(self, finished: Iterable[str]) -> None:
        """Read failed.json, and note which items are not owed."""
        self._failures = Failures(self.run.out)
        self._settled = {*finished, *(() if self._settings.retry_failed else self._failures.reasons())}

    def _begin(self, lines: Sequence[tuple[str, str]]) -> None:
        """Say what the run will do, and write down that this start goes on with it."""
        run, settings = self.run, self._settings
        self._begun = True
        if settings.retry_failed and not self._failures.reasons():
            say("note", f"--retry_failed has nothing to try again: nothing failed in {run.out} before")
        elif settings.retry_failed:
            self._failures.forget(self._failures.reasons())
        for shard in self.store.torn:
            say("shards", f"{shard.name} was torn and is kept in shards/torn; its {run.unit} are asked again")
        for key in self.store.repeated:
            say("shards", f"{run.item} {key} lies in two shards; the first counts")
        for stage, words in (*self._lines, *lines):
            say(stage, words)
        done, lost = run.count(self.store.finished()), run.count(self.failed)
        if done or lost:
            words = f"; {lost:,} failed before, --retry_failed tries them again" if lost else ""
            say("rollout", f"going on: {done:,} of {run.count(run.keys):,} {run.unit} are done already{words}")
        self._starts = [*self.directory.record.get("starts", []), this_command()]
        self.tell("rolling out", texts=self._texts)

    def _collect(
        self, pool: Pool[Any, Any], items: Iterable[Item], placed: Placement, look: Callable[[pa.Table], str] | None
    ) -> int:
        """Keep what comes out of the pool; return how many items were lost with engines and dealt again."""
        run = self.run
        progress = Progress(run.count(run.keys), done=run.count(self._settled), unit=run.unit)
        tally = Tally(progress, self.store, self._failures, run.out / LOGS, run.item, look)

        def report() -> None:
            wanted = {"wanted": placed.engines, "gpus_each": placed.gpus_each}
            facts = tally.facts()
            self._tell_start({**facts, "engines": {**wanted, **facts["engines"]}})

        with progress:
            self._stop.on_stop(pool.stop)
            try:
                for event in pool.run(items):
                    tally.take(event)
                    # Who asks to stop may not wait for the end.
                    if tally.keep(everything=self._stop.asked > 0):
                        report()
            finally:
                # Whatever ends the loop, what is finished is kept.
                self._stop.on_stop(None)
                tally.keep(everything=True)
                report()
        return tally.again

    def _tell_start(self, start: Mapping[str, Any], **facts: JSON) -> None:
        """Add to this start's entry in run.json; its `ended` is the time of the last word, also of one killed."""
        self._starts[-1] |= {**start, "ended": now()}
        self.directory.update(starts=self._starts, **facts)

    def _stopped(self) -> int:
        if not self._begun:
            say("stopped", "before anything was asked; the same command begins again")
            return STOPPED
        self.tell("stopped")
        return stopped(self.run.out, *self._safe())

    def _failed(self, error: Exception) -> int:
        if self._begun:
            with suppress(OSError):  # the disk may be what failed
                self.tell("failed")
        return failed(error, self.run.out, *(self._safe() if self._begun else (None, 0)))

    def _safe(self) -> tuple[int, int, str]:
        """How many units are safe, of how many."""
        return self.run.count(self.store.safe()), self.run.count(self.run.keys), self.run.unit

    def _take_back(self) -> None:
        """Remove what this start has made of a run that it could not begin."""
        for path in self._made:
            with suppress(OSError):
                if path.is_dir():
                    path.rmdir()
                else:
                    path.unlink()
