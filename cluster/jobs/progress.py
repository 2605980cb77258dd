"""What the user sees while a command works: stages, progress, counts, and what to do after a failure."""

import contextlib
import errno
import io
import os
import shutil
import sys
import tempfile
import textwrap
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Self, TypeVar

import pyarrow as pa
from tqdm import tqdm

from cluster.errors import AllFailedError, ClusterLostError, EngineStartError, TornShardError
from cluster.inference.pool import Done, Event, Failed, Loading, Lost, Started
from cluster.inference.replicas import Placement
from cluster.jobs.plan import Item, JobPlan
from cluster.jobs.run_directory import LOGS
from cluster.jobs.store import Failures, ShardStore
from cluster.texts import bars

T = TypeVar("T")
Look = Callable[[pa.Table], str]
FAILED, STOPPED = 1, 75  # exit codes
SHARD_ROWS = 2_000
SHARD_S = 20.0
FAILED_FROM_THE_START = 32  # if this many items fail before one succeeds, the run is broken, not the items
EVERY_S = 10.0
LOADING_EVERY_S = 30.0  # loading takes minutes, during which there is nothing to count
_DELAY_S = 2.0  # shorter stages get no bar
_NARROWEST, _INDENT = 40, 12  # columns
_LONGEST = 500
_SAME = "the same command goes on from there"
_MENDED = "the same command ends the same way until that is mended, and then goes on from there"
_UNKNOWN = "the same command tries again from there; where it ends the same way, report it with the whole story"
_REMEDIES: dict[int | None, str] = {  # by the errno of an OSError; rerunning the command then continues the run
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "make room on that disk"),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "see that {run} can be written"),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "let a process open more files (ulimit -n)"),
    errno.ENOMEM: "give this machine more memory to spare",
}
ASKED_AGAIN = "the same command asks them again, and they fail again until that is mended"
ONLY_RETRIED = "the same command does not ask them again: mend that, and add --retry_failed"
_LOADING = "{desc}the engines, {elapsed_s:.0f} s"
_BAR = "{desc}{percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} {unit}, {remaining} left{postfix}"
_LINE = "{desc}{n_fmt}/{total_fmt} {unit}, {remaining} left{postfix}"


def say(stage: str, text: str, *, whole: bool = False) -> None:
    """Print a stage and what happened, wrapped to fit a terminal unless `whole`, for a command to be copied."""
    line = stage_line(stage, text)
    with tqdm.external_write_mode():  # above a bar, if there is one
        print(line if whole else wrapped(line), flush=True)


def stage_line(stage: str, text: str) -> str:
    return f"{stage:<{_INDENT - 1}} {text}"


def wrapped(lines: str) -> str:
    """Wrap lines of a stage and its text to the terminal's width; paths and names stay whole, to be copied."""
    if not sys.stdout.isatty():
        return lines
    width = max(_NARROWEST, shutil.get_terminal_size().columns)
    fold = textwrap.TextWrapper(width, subsequent_indent=" " * _INDENT)
    fold.break_long_words = fold.break_on_hyphens = False
    folded = []
    for line in lines.splitlines():
        fold.initial_indent = line[:_INDENT]
        folded.append(fold.fill(line[_INDENT:]) if len(line) > width else line)
    return "\n".join(folded)


def report_failure(error: Exception, run: Path, safe: str) -> int:
    """Print what failed, how much is `safe` and how to continue; log the traceback. Return the exit code."""
    print(f"failed: {type(error).__name__}: {' '.join(str(error).split())[:_LONGEST]}", file=sys.stderr)
    for file in (run / LOGS / "failure.txt", Path(tempfile.gettempdir(), f"skillfactory-failure-{os.getpid()}.txt")):
        with contextlib.suppress(OSError):
            file.parent.mkdir(exist_ok=True)
            file.write_text("".join(traceback.format_exception(error)), encoding="utf-8", errors="replace")
            print(f"the whole story is in {file}", file=sys.stderr)
            break
    print(f"{safe} safe in {run}; {_advice(error, run)}", file=sys.stderr)
    return FAILED


def _advice(error: Exception, run: Path) -> str:
    """Say what to do, and what rerunning the command will do."""
    number = errno.ENOMEM if isinstance(error, MemoryError) else getattr(error, "errno", None)
    if isinstance(error, AllFailedError):
        return error.advice
    if remedy := _REMEDIES.get(number):
        return f"{remedy.format(run=run)}, and {_SAME}"
    gone = number in (errno.ENOENT, errno.ESTALE)
    if gone and not run.exists():
        return "put the folder back, or the same command begins anew"
    if gone or isinstance(error, ClusterLostError | TornShardError):
        return _SAME
    return _MENDED if isinstance(error, EngineStartError | ValueError | OSError) else _UNKNOWN


def progress(stage: str, total: int | None = None, unit: str = "", done: int = 0) -> tqdm:
    """Return a tqdm: a bar on a terminal, else lines; without a total, a clock. Its rate does not include `done`."""
    shown, every_s = bars(), EVERY_S if total else LOADING_EVERY_S
    return tqdm(
        desc=f"{stage:<{_INDENT}}",
        total=total,
        initial=done,
        unit=unit,
        bar_format=_LOADING if not total else _BAR if shown else _LINE,
        delay=_DELAY_S if shown else every_s,
        mininterval=0.1 if shown else every_s,
        miniters=0,
        smoothing=0,
        leave=False,
        dynamic_ncols=shown,
        file=sys.stderr if shown else _Lines(),
    )


class _Lines(io.TextIOBase):
    """Stream that prints each state of a bar on a line of its own."""

    def write(self, text: str) -> int:
        if line := text.strip():
            print(line, flush=True)
        return len(text)


def follow(results: Iterable[T], total: int, stage: str, unit: str) -> Iterator[T]:
    """Yield the results as they come and show progress, except for a short stage."""
    with progress(stage, total, unit) as bar:
        for result in results:
            yield result
            bar.update()


class Tally:
    """Counts, reports and stores the items of this start.

    `look` gets the rows of each that is merged, and returns a warning or "".
    """

    def __init__(self, plan: JobPlan, store: ShardStore, failures: Failures, look: Look = lambda _: "") -> None:
        self._plan, self._store, self._failures, self._look = plan, store, failures, look
        # Items finished; items requeued because their engine was lost; tokens generated; engines lost.
        self.done = self.again = self.output_tokens = self.engines_lost = self._units = 0
        self.failed: list[str] = []  # keys of failed items
        self.engines = Counter[str]()  # engines started, by name and version
        self._began: float | None = None
        self._bar = progress("loading")
        self._tables: list[pa.Table] = []
        self._shard_began = time.monotonic()
        self._looked_at = frozenset(plan.merged)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._bar.close()
        if self._began is not None and kind is None:
            rate = f", {self.rate}" if self.rate else ""
            say("rollout", f"{self._units} {self._plan.unit} in {self.seconds:.0f} s{rate}")

    @property
    def seconds(self) -> float:
        """Return the seconds since the first engine was ready."""
        return 0.0 if self._began is None else time.monotonic() - self._began

    @property
    def rate(self) -> str:
        """Return how fast tokens are generated, "" if none are."""
        return f"{self.output_tokens / self.seconds:,.0f} tokens/s" if self.output_tokens and self.seconds else ""

    def facts(self, placed: Placement) -> dict[str, Any]:
        """Return the counts for run.json, with the engines that were asked for."""
        engines: dict[str, Any] = {"wanted": placed.engines, "gpus_each": placed.gpus_each}
        engines |= {"served": True} if self._plan.model.served else {}
        engines |= {"limits": placed.limits._asdict()} if placed.limits else {}
        return {
            f"{self._plan.item}s": self.done,
            "failed": len(self.failed),
            "done_again": self.again,
            "output_tokens": self.output_tokens,
            "seconds": round(self.seconds, 1),
            "engines": {**engines, "started": dict(self.engines), "lost": self.engines_lost},
        }

    def keep(self, *, everything: bool = False) -> bool:
        """Write the finished rows to a shard if it is time, or if told to. Return True if there were any."""
        rows, now = sum(table.num_rows for table in self._tables), time.monotonic()
        if not everything and rows < SHARD_ROWS and now - self._shard_began <= SHARD_S:
            return False
        self._shard_began = now
        if rows:
            self._store.write_shard(pa.concat_tables(self._tables))
            self._tables.clear()
        return bool(rows)

    def take(self, event: Event[Any, Any]) -> None:
        """Count and report an event. Raises AllFailedError if all items fail from the start."""
        match event:
            case Done(item, result):
                self._tables.append(result.table)
                self.done += 1
                self.output_tokens += result.output_tokens
                self._advance(item)
                if item.key in self._looked_at and (warning := self._look(result.table)):
                    say("warning", warning)
            case Failed(item, reason, story):
                self._advance(item)
                with (self._plan.out / LOGS / "failed.txt").open("a", encoding="utf-8", errors="replace") as log:
                    log.write(f"{self._plan.item} {item.key}\n{story}\n\n")
                self._failures.add(item.key, task=item.task, question=item.text, reason=reason)
                self.failed.append(item.key)
                if not self.done and len(self.failed) >= FAILED_FROM_THE_START:
                    self._failures.forget(self.failed)
                    words = f"the first {len(self.failed)} {self._plan.item}s all failed: {reason}"
                    raise AllFailedError(words, ASKED_AGAIN)
            case Lost(number, reason, again):
                self.again += again
                self.engines_lost += 1
                words = f"; {again} {self._plan.item}s again" if again else ""
                say("engines", f"engine {number} was lost ({reason}){words}")
            case Loading(number, words):
                say("engines", f"engine {number} {words}")
            case Started(number, info):
                name = f"{info.engine} {info.engine_version}"
                self.engines[name] += 1
                say("engines", f"engine {number} ready: {name}")
                if self._began is None:
                    self._began, plan = time.monotonic(), self._plan
                    self._bar.close()
                    before = plan.count({*self._store.finished(), *self._failures.reasons()})
                    self._bar = progress("rollout", plan.count(plan.keys), plan.unit, before)
        self._bar.update(0)

    def _advance(self, item: Item) -> None:
        units = self._plan.size(item.key)
        self._units += units
        self._bar.set_postfix_str(self.rate, refresh=False)
        self._bar.update(units)
