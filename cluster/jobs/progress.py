"""What the user reads while a command works: stages, what is drawn below them, and what to do after a failure."""

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
from typing import Self, TypeVar

from rich.console import Console, ConsoleDimensions, RenderableType
from rich.live import Live
from rich.text import Text

from cluster.errors import AllFailedError, ClusterLostError, EngineStartError, TornShardError
from cluster.jobs.panel import bar, duration
from cluster.jobs.run_directory import LOGS
from cluster.texts import bars

T = TypeVar("T")
FAILED, STOPPED = 1, 75  # exit codes
EVERY_S = 60.0  # between two lines of a log
_DELAY_S, _DRAW_S = 2.0, 0.5  # shorter stages get no bar
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


def say(stage: str, text: str, *, whole: bool = False) -> None:
    """Print a stage and what happened, wrapped to fit a terminal unless `whole`, for a command to be copied."""
    line = stage_line(stage, text)
    tell(line if whole else wrapped(line))


def tell(line: str) -> None:
    """Print a line, above what is drawn, if anything is."""
    with _heard():
        # Looked at once: what a tracker says is said by another thread than the one that draws.
        if drawn := _screens[-1:]:
            drawn[0].say(line)
        else:
            print(line, flush=True)


@contextlib.contextmanager
def _heard() -> Iterator[None]:
    """Let all go nowhere from now on if it cannot be written: the terminal was closed, or whoever read is gone."""
    try:
        yield
    except OSError:
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def stage_line(stage: str, text: str) -> str:
    return f"{stage:<{_INDENT - 1}} {text}"


def wrapped(lines: str) -> str:
    """Wrap lines of a stage and its text to the terminal's width; paths and names stay whole, to be copied."""
    if not sys.stdout.isatty():
        return lines
    width = max(_NARROWEST, _terminal().columns)
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


class Screen:
    """The lines at the end of the terminal that are drawn again and again, below what is said."""

    def __init__(self) -> None:
        console = Console(file=sys.stdout, highlight=False, emoji=False, markup=False)
        self._live = Live(
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )
        self._size = _terminal()

    def __enter__(self) -> Self:
        with _heard():
            self._live.start()
        _screens.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        _screens.remove(self)
        with _heard():
            self._fit()
            self._live.stop()

    def room(self) -> tuple[int, int]:
        """Return how many columns and lines there are to draw in."""
        with _heard():
            self._fit()
        return self._size.columns - 1, self._size.lines - 1

    def draw(self, picture: RenderableType) -> None:
        """Draw this instead of what was drawn before."""
        with _heard():
            self._live.update(picture, refresh=True)

    def say(self, text: str) -> None:
        """Print a text above."""
        self._fit()
        self._live.console.print(Text(text), soft_wrap=True)

    def _fit(self) -> None:
        """Take the terminal's size, and clear what is drawn if that was changed: lines too long were folded by it."""
        size, console = _terminal(), self._live.console
        if size != self._size and (drawn := self._live.get_renderable()):
            lines = console.render_lines(drawn, pad=False)
            folded = sum(max(1, -(-sum(one.cell_length for one in line) // size.columns)) for line in lines)
            down = "\n" * (len(lines) - 1)
            up = "\x1b[A" * (folded - 1)
            console.file.write(f"\r{up}\x1b[J{down}")
        self._size = size
        console.size = ConsoleDimensions(size.columns - 1, size.lines)


_screens: list[Screen] = []  # what is drawn now, at most one


def _terminal() -> os.terminal_size:
    with contextlib.suppress(OSError, ValueError):
        # One that nobody told its size has none.
        if all(size := os.get_terminal_size(sys.stdout.fileno())):
            return size
    return shutil.get_terminal_size()


def follow(results: Iterable[T], total: int, stage: str, unit: str) -> Iterator[T]:
    """Yield the results as they come and show progress: a bar on a terminal, else lines; nothing for a short stage."""
    began = time.monotonic()
    due = began + (_DELAY_S if bars() else EVERY_S)
    with contextlib.ExitStack() as shown:
        screen: Screen | None = None
        for done, result in enumerate(results, 1):
            yield result
            if (now := time.monotonic()) < due:
                continue
            words = f"{done}/{total} {unit}, about {duration((now - began) / done * (total - done))} left"
            if bars():
                screen, due = screen or shown.enter_context(Screen()), now + _DRAW_S
                screen.draw(bar(stage, done, total, words, screen.room()[0]))
            else:
                due = now + EVERY_S
                say(stage, words)
