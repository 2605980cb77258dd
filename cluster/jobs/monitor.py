"""Keeps the Status of a start, and tells it: on the terminal, and in the run directory.

It decides nothing: where it cannot write, the run goes on.
"""

import os
import socket
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import Any, Protocol, Self

import pyarrow as pa
import pyarrow.compute as pc

from cluster.inference.pool import Done, Event, Failed, Lost, Started
from cluster.jobs.card import Table
from cluster.jobs.failures import FAILED_ITEMS
from cluster.jobs.goal import Goal
from cluster.jobs.meter import Meter
from cluster.jobs.pace import Pace
from cluster.jobs.panel import duration, line, panel
from cluster.jobs.plan import JobPlan
from cluster.jobs.progress import Screen, say, tell, wrapped
from cluster.jobs.run_directory import now
from cluster.jobs.status import STATUS_FILE, Moment, Section, Stage, Status, add_moment, write_status
from cluster.jobs.stop import Stop
from cluster.texts import bars

BEAT_S = 10.0  # between two signs of life
FIRST_LINE_S, LINE_S = 10.0, 60.0  # until the first line of a log, and between two
DRAW_S, WRITE_S = 0.5, 2.0  # between two pictures, and between two writings
_REST, _LAST_S = 50, 5.0  # counting rests for so many times as long as it took, save at the end, for so many seconds
_OLD_S = 15.0  # tokens counted longer ago are none since
_MOMENT_S, _MOMENT_SHARE = 5.0, 0.02  # between two lines of the history: seconds, and a share of the time so far


class Look(Protocol):
    """What a command tells of the rows so far."""

    def take(self, rows: pa.Table, *, earlier: bool) -> str:
        """Count the rows of whole items, those of `earlier` starts too; return a warning, or ""."""

    def sections(self) -> Sequence[Section]:
        """Return what was counted, as tables."""


class Monitor:
    """What a start of a run is doing. As a context it gives signs of life."""

    def __init__(self, plan: JobPlan, start: int, stop: Stop, goal: Goal | None = None) -> None:
        """Take the place of this start among those of run.json."""
        self._plan, self._start, self._stop, self._goal = plan, start, stop, goal
        begun, total = now(), plan.count(plan.keys)
        self._status = Status("planning", socket.gethostname(), os.getpid(), begun, begun, plan.unit, total)
        self._meter = Meter(0)
        self._look: Look | None = None
        self._screen: Screen | None = None
        self._sections: Sequence[Section] = ()
        self._rows: list[pa.Table] = []  # that were not looked at yet
        self._earlier: Iterator[pa.Table] = iter(())  # likewise, of earlier starts
        self._counts_earlier = False
        self._merged = frozenset[str]()
        self._tokens = self._done = self._failed = 0  # of items that ended
        self._began: float | None = None  # when the first engine was ready
        self._units_pace, self._tokens_pace = Pace(), Pace()
        self._counted_s = 0.0  # when the tokens were counted last
        self._next_draw = self._next_count = self._next_write = self._next_line = self._last_moment = 0.0
        self._over = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._beat, name="signs of life", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def _beat(self) -> None:
        """Touch the file now and then, so that one that is old tells of a process that is gone."""
        while not self._over.wait(BEAT_S):
            with suppress(OSError):
                os.utime(self._plan.out / STATUS_FILE)

    def stage(self, stage: Stage) -> None:
        """Tell that another stage begins."""
        nothing: dict[str, Any] = {"left_s": None, "recent": None, "engines": ()}
        self._status = replace(self._status, stage=stage, updated=now(), notes=self._notes(), **nothing)
        self._publish()

    @contextmanager
    def watching(
        self, plan: JobPlan, engines: int, look: Look | None, before: Collection[str], earlier: Iterable[pa.Table]
    ) -> Iterator[None]:
        """Watch a rollout, whose events `take` gets: show it on a terminal, or tell it in a line now and then.

        `before` are the items that ended before, of which `earlier` has rows.
        """
        self._plan, self._look, self._meter = plan, look, Meter(engines)
        self._merged = frozenset(plan.merged)
        if look is not None:
            keys = pa.array(sorted(self._merged.intersection(before)), pa.string())
            self._counts_earlier = len(keys) > 0
            self._earlier = (rows.filter(pc.is_in(rows[plan.key], value_set=keys)) for rows in earlier)
        self._status = replace(self._status, stage="loading", before=plan.count(before))
        self._next_line = time.monotonic() + FIRST_LINE_S
        with ExitStack() as shown:
            if bars():
                self._screen = shown.enter_context(Screen())
                self._stop.silent = True
            try:
                yield
            finally:
                until = time.monotonic() + _LAST_S
                while self._counts_earlier and not self._stop.asked and time.monotonic() < until:
                    self._count()
                self._refresh(time.monotonic(), everything=True)
                self._screen, self._stop.silent = None, False

    def take(self, event: Event[Any, Any]) -> None:
        """Take an event of the rollout, and tell what has become of it if it is time."""
        at = time.monotonic()
        match event:
            case Done(item, result):
                self._done += self._plan.size(item.key)
                self._tokens += result.output_tokens
                if item.key in self._merged and self._look is not None:
                    self._rows.append(result.table)
            case Failed(item):
                self._failed += self._plan.size(item.key)
            case Started() if self._began is None:
                self._began, self._next_line = at, at + FIRST_LINE_S
        self._meter.take(event)
        if at >= self._next_draw or isinstance(event, Lost | Started):
            self._refresh(at, everything=isinstance(event, Lost))

    def _refresh(self, at: float, *, everything: bool) -> None:
        self._next_draw = at + DRAW_S
        said = self._screen is None and at >= self._next_line
        write = everything or said or at >= self._next_write
        if everything or at >= self._next_count:
            self._count()
        self._measure(at)
        if write:
            self._next_write = at + WRITE_S
            self._publish()
        if everything or (self._began is not None and is_due(at - self._last_moment, at - self._began)):
            self._keep_moment(at)
        if self._screen is not None:
            self._screen.draw(panel(self._status, *self._screen.room()))
        elif said:
            self._next_line = at + LINE_S
            tell(wrapped(line(self._status)))

    def _count(self) -> None:
        """Have the rows counted that came since, and a shard of earlier starts, so that many of them delay nothing."""
        began, look = time.monotonic(), self._look
        if look is None:
            return
        rows, self._rows = self._rows, []
        warning = look.take(pa.concat_tables(rows), earlier=False) if rows else ""
        if self._counts_earlier:
            earlier = next(self._earlier, None)
            self._counts_earlier = earlier is not None
            if earlier is not None and earlier.num_rows:
                look.take(earlier, earlier=True)
        self._sections = look.sections()
        now = time.monotonic()
        loading = self._counts_earlier and self._began is None  # when there is nothing else to do
        self._next_count = now + (DRAW_S if loading else max(WRITE_S, _REST * (now - began)))
        if warning:
            say("warning", warning)

    def _measure(self, at: float) -> None:
        """Bring the status up to date."""
        seconds = 0.0 if self._began is None else at - self._began
        # An engine tells of each request, but only now and then; an item of all its requests, but when it has ended.
        output = max(self._tokens, self._meter.tokens["output_tokens"])
        ended = self._done + self._failed
        if output > self._status.output_tokens or seconds - self._counted_s > _OLD_S:
            self._counted_s = seconds
        recent = self._tokens_pace.recent(self._counted_s, output) if output else None
        remaining = self._remaining()
        left_s = self._units_pace.left(seconds, ended, remaining) if remaining > 0 else None
        self._tokens_pace.add(seconds, output)
        self._units_pace.add(seconds, ended)
        stage: Stage = "draining" if self._stop.asked else "loading" if self._began is None else "rolling out"
        self._status = replace(
            self._status,
            stage=stage,
            updated=now(),
            done=self._done,
            failed=self._failed,
            seconds=round(seconds, 1),
            output_tokens=output,
            recent=recent and round(recent, 1),
            average=round(output / self._counted_s, 1) if output and self._counted_s else None,
            left_s=None if stage == "draining" else left_s,
            prompt_tokens=self._meter.tokens["prompt_tokens"],
            cached_tokens=self._meter.tokens["cached_tokens"],
            engines=self._meter.engines,
            sections=[*self._sections, *self._of_goal()],
            notes=self._notes(),
        )

    def _remaining(self) -> float:
        """Return how many units are still to come; with a goal, how many are until that is reached."""
        remaining = self._status.total - self._status.before - self._done - self._failed
        if (goal := self._goal) is None or not (items := goal.items) or not goal.worth:
            return remaining
        return min(remaining, max(0.0, goal.wanted - goal.worth) * items / goal.worth)

    def _of_goal(self) -> list[Section]:
        if (goal := self._goal) is None:
            return []
        head = (goal.unit, "possible", "wanted")
        table = Table(head, [(f"of the first {goal.items:,} {self._plan.unit}", goal.worth, goal.wanted)])
        return [Section(goal.unit, table, f"{goal.worth:,} of {goal.wanted:,} {goal.unit}")]

    def _notes(self) -> list[str]:
        notes = [f"{self._failed:,} failed, see {self._plan.out / FAILED_ITEMS}"] if self._failed else []
        if self._counts_earlier:
            notes.append("what earlier starts made is still being counted")
        if self._stop.asked and self._stop.left_s:
            left = duration(self._stop.left_s)
            notes.append(f"stopping: up to {left} for what is in flight; Ctrl-C once more: at once")
        return notes

    def _publish(self) -> None:
        with suppress(OSError):
            write_status(self._plan.out, self._status)

    def _keep_moment(self, at: float) -> None:
        self._last_moment, meter, seconds = at, self._meter, self._status.seconds
        counts = (self._done, self._failed, self._status.output_tokens)
        with suppress(OSError):
            add_moment(self._plan.out, Moment(now(), self._start, seconds, *counts, meter.ready, meter.lost))


def is_due(since_s: float, so_far_s: float) -> bool:
    """Return True if another line of the history is due: few in all, however long a run is."""
    return since_s >= max(_MOMENT_S, _MOMENT_SHARE * so_far_s)
