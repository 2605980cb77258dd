"""What a person sees while a run goes on: a line a stage, progress with a rate and the time left."""

import contextlib
import errno
import os
import shutil
import sys
import tempfile
import textwrap
import time
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from tqdm import tqdm

from cluster.errors import AllFailedError, ClusterLostError, EngineStartError, TornShardError
from cluster.texts import bars

T = TypeVar("T")

FAILED, STOPPED = 1, 75
EVERY_S = 10.0
LOADING_EVERY_S = 30.0
"""Loading takes minutes, and nothing is counted meanwhile."""
_NARROWEST = 40
_STAGE = 12
"""Columns."""
_LONGEST = 500
_SAME = "the same command goes on from there"
_MENDED = "the same command ends the same way until that is mended, and then goes on from there"
_UNKNOWN = "the same command tries again from there; where it ends the same way, report it with the whole story"
_REMEDIES: dict[int | None, str] = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "make room on that disk"),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "see that {run} can be written"),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "let a process open more files (ulimit -n)"),
    errno.ENOMEM: "give this machine more memory to spare",
}
"""By the number of an OSError; the same command goes on then."""
ASKED_AGAIN = "the same command asks them again, and they fail again until that is mended"
ONLY_RETRIED = "the same command does not ask them again: mend that, and add --retry_failed"
_BAR = "{desc}{percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} {unit}, {remaining} left{postfix}"
_LOADING = "{desc}the engines, {elapsed}"
_LINE = "{desc}{n_fmt}/{total_fmt} {unit}, {remaining} left{postfix}"


def say(stage: str, text: str, *, whole: bool = False) -> None:
    """Print a stage and what happened: one line, or on a terminal as many as it takes.

    A command to be copied stays `whole`: the terminal's own break of a line is no break in what is copied.
    """
    line = staged(stage, text)
    print(line if whole else fitted(line), flush=True)


def staged(stage: str, text: str) -> str:
    """Return the line of a stage."""
    return f"{stage:<{_STAGE - 1}} {text}"


def fitted(lines: str) -> str:
    """Fold lines of a stage and its text to a terminal's width; a path or name stays whole, to be copied."""
    if not sys.stdout.isatty():
        return lines
    width = max(_NARROWEST, shutil.get_terminal_size().columns)
    return "\n".join(_fold(line, width) if len(line) > width else line for line in lines.splitlines())


def _fold(line: str, width: int) -> str:
    stage, text = line[:_STAGE], line[_STAGE:]
    fold = textwrap.TextWrapper(width, initial_indent=stage, subsequent_indent=" " * _STAGE)
    fold.break_long_words = fold.break_on_hyphens = False
    return fold.fill(text)


def failed(error: Exception, run: Path, done: int | None, total: int, unit: str = "questions") -> int:
    """Say what failed, what is safe and how to go on; return the exit code. The traceback goes to a log.

    `done` is None where the run was not opened, and so nobody has counted.
    """
    words = " ".join(str(error).split())[:_LONGEST]
    print(f"failed: {type(error).__name__}: {words}", file=sys.stderr)
    story = "".join(traceback.format_exception(error))
    for file in (run / "logs" / "failure.txt", Path(tempfile.gettempdir(), f"skillfactory-failure-{os.getpid()}.txt")):
        with contextlib.suppress(OSError):
            file.parent.mkdir(exist_ok=True)
            file.write_text(story, encoding="utf-8", errors="replace")
            print(f"the whole story is in {file}", file=sys.stderr)
            break
    safe = "all that was finished before is" if done is None else f"{done:,} of {total:,} {unit} are"
    print(f"{safe} safe in {run}; {_advice(error, run)}", file=sys.stderr)
    return FAILED


def _advice(error: Exception, run: Path) -> str:
    """Return what to do, and what the same command will do: a failure that comes again is not told to go on."""
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, MemoryError):
        number = errno.ENOMEM
    if isinstance(error, AllFailedError):
        return error.advice
    if remedy := _REMEDIES.get(number):
        return f"{remedy.format(run=run)}, and {_SAME}"
    if number in (errno.ENOENT, errno.ESTALE) and not run.exists():
        return "put the folder back, or the same command begins anew"
    if isinstance(error, ClusterLostError | TornShardError) or number in (errno.ENOENT, errno.ESTALE):
        return _SAME
    return _MENDED if isinstance(error, EngineStartError | ValueError | OSError) else _UNKNOWN


class Progress:
    """Progress of the rollout: a bar on a terminal, a line every ten seconds elsewhere."""

    def __init__(self, total: int, *, done: int = 0, unit: str = "questions") -> None:
        self._unit = unit
        self._total, self._done, self._before = total, done, done
        self._tokens = 0
        self._started: float | None = None
        self._began = self._spoke = time.monotonic()
        self._bar = tqdm(
            total=total,
            initial=done,
            desc=f"{'loading':<{_STAGE}}",
            bar_format=_LOADING,
            unit=unit,
            dynamic_ncols=True,
            leave=False,
            disable=not bars(),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        self._bar.close()
        if self._started is not None and kind is None:
            made = self._done - self._before
            rate = f", {self._rate()}" if self._tokens else ""
            say("rollout", f"{made} {self._unit} in {self.seconds:.0f} s{rate}")

    def say(self, text: str, stage: str = "engines") -> None:
        """Print a line above the bar."""
        self._bar.clear()
        say(stage, text)
        self._bar.refresh()

    def ready(self) -> None:
        """Note that the first engine is ready: the rate is counted from now on."""
        if self._started is None:
            self._started = self._spoke = time.monotonic()
            self._bar.bar_format = _BAR
            self._bar.set_description_str(f"{'rollout':<{_STAGE}}", refresh=False)
            self._bar.unpause()

    def advance(self, tokens: int, count: int = 1) -> None:
        """Add `count` finished items, for which `tokens` were written."""
        self._done += count
        self._tokens += tokens
        self._bar.set_postfix_str(self._rate(), refresh=False)
        self._bar.update(count)

    def turn(self) -> None:
        """Print a line of progress if it is time and there is no bar."""
        now = time.monotonic()
        if self._started is None:
            self._bar.refresh()
        every = LOADING_EVERY_S if self._started is None else EVERY_S
        if not self._bar.disable or now - self._spoke < every:
            return
        self._spoke = now
        if self._started is None:
            if self._done == self._before:
                say("loading", f"the engines, {now - self._began:.0f} s")
            return
        line = tqdm.format_meter(
            self._done,
            self._total,
            now - self._started,
            initial=self._before,
            prefix=f"{'rollout':<{_STAGE}}",
            unit=self._unit,
            bar_format=_LINE,
            postfix=self._rate(),
        )
        print(line, flush=True)

    @property
    def seconds(self) -> float:
        """Return the seconds since the first engine was ready."""
        return time.monotonic() - self._started if self._started is not None else 0.0

    def _rate(self) -> str:
        return f"{self._tokens / self.seconds:,.0f} tokens/s" if self._tokens and self.seconds > 0 else ""


def follow(results: Iterable[T], total: int, stage: str, unit: str) -> Iterator[T]:
    """Yield the results as they come and show progress; nothing is said of what is done within ten seconds."""
    started = spoke = time.monotonic()
    name, hidden = f"{stage:<{_STAGE}}", not bars()
    kept = {"leave": False, "delay": 2, "dynamic_ncols": True, "disable": hidden}
    for done, result in enumerate(tqdm(results, name, total, unit=unit, bar_format=_BAR, **kept), 1):
        yield result
        now = time.monotonic()
        if hidden and now - spoke > EVERY_S:
            spoke = now
            print(tqdm.format_meter(done, total, now - started, prefix=name, unit=unit, bar_format=_LINE), flush=True)
