"""What a person reads while a command works: a line for each stage, its progress, and what to do after a failure."""

import contextlib
import errno
import io
import os
import shutil
import sys
import tempfile
import textwrap
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from cluster.errors import AllFailedError, ClusterLostError, EngineStartError, TornShardError
from cluster.texts import bars

T = TypeVar("T")

FAILED, STOPPED = 1, 75
"""Exit codes."""
EVERY_S = 10.0
LOADING_EVERY_S = 30.0
"""Loading takes minutes, and nothing is counted meanwhile."""
_DRAWN_EVERY_S = 0.1
_NARROWEST = 40
_INDENT = 12
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
_LOADING = "{desc}the engines, {elapsed_s:.0f} s"
_BAR = "{desc}{percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} {unit}, {remaining} left{postfix}"
_LINE = "{desc}{n_fmt}/{total_fmt} {unit}, {remaining} left{postfix}"


def say(stage: str, text: str, *, whole: bool = False) -> None:
    """Print a stage and what happened: one line, or on a terminal as many as it takes.

    A command to be copied stays `whole`: the terminal's own break of a line is no break in what is copied.
    """
    line = staged(stage, text)
    with tqdm.external_write_mode():  # above a bar, if there is one
        print(line if whole else fitted(line), flush=True)


def staged(stage: str, text: str) -> str:
    """Return the line of a stage."""
    return f"{stage:<{_INDENT - 1}} {text}"


def fitted(lines: str) -> str:
    """Fold lines of a stage and its text to a terminal's width; a path or name stays whole, to be copied."""
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


def failed(error: Exception, run: Path, safe: str = "all that was finished before is") -> int:
    """Say what failed, what is safe and how to go on; return the exit code. The traceback goes to a log."""
    words = " ".join(str(error).split())[:_LONGEST]
    print(f"failed: {type(error).__name__}: {words}", file=sys.stderr)
    story = "".join(traceback.format_exception(error))
    for file in (run / "logs" / "failure.txt", Path(tempfile.gettempdir(), f"skillfactory-failure-{os.getpid()}.txt")):
        with contextlib.suppress(OSError):
            file.parent.mkdir(exist_ok=True)
            file.write_text(story, encoding="utf-8", errors="replace")
            print(f"the whole story is in {file}", file=sys.stderr)
            break
    print(f"{safe} safe in {run}; {_advice(error, run)}", file=sys.stderr)
    return FAILED


def _advice(error: Exception, run: Path) -> str:
    """Say what to do, and what the same command will do: it is not told to go on where it would fail again."""
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


def progress(stage: str, total: int | None = None, unit: str = "", *, done: int = 0, delay_s: float = 0.0) -> tqdm:
    """Return a tqdm: on a terminal a bar, after `delay_s`; elsewhere a line now and then. Without a total, time alone.

    `done` of the total were there before, and are no part of the rate.
    """
    shown, every_s = bars(), EVERY_S if total else LOADING_EVERY_S
    return tqdm(
        desc=f"{stage:<{_INDENT}}",
        total=total,
        initial=done,
        unit=unit,
        bar_format=_LOADING if not total else _BAR if shown else _LINE,
        delay=delay_s if shown else every_s,
        mininterval=_DRAWN_EVERY_S if shown else every_s,
        miniters=0,
        smoothing=0,
        leave=False,
        dynamic_ncols=shown,
        file=sys.stderr if shown else _Lines(),
    )


class _Lines(io.TextIOBase):
    """Prints each state of a bar as a line."""

    def write(self, text: str) -> int:
        if line := text.strip():
            print(line, flush=True)
        return len(text)


def follow(results: Iterable[T], total: int, stage: str, unit: str) -> Iterator[T]:
    """Yield the results as they come and show progress; of a short stage nothing is said."""
    with progress(stage, total, unit, delay_s=2.0) as bar:
        for result in results:
            yield result
            bar.update()
