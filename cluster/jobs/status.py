"""What a command is doing right now, as a record in its run directory that any shell or node can read.

status.json is replaced every few seconds; logs/history.jsonl gets a line now and then, for plots over time. Both only
tell: nothing is decided by them, and a run without them goes on as well.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from cluster.jobs.atomic import atomic_write_text
from cluster.jobs.card import Table
from cluster.jobs.run_directory import LOGS

STATUS_FILE = "status.json"
HISTORY = f"{LOGS}/history.jsonl"
Stage = Literal["planning", "loading", "rolling out", "draining", "making sets", "done", "failed", "stopped"]


class Section(NamedTuple):
    """A table of the work so far, as the command sees it: for example samples by variant and outcome."""

    title: str
    table: Table
    brief: str = ""  # the same in a few words, for a line of a log


@dataclass(frozen=True)
class EngineStatus:
    """One engine, identified by the number that its replacements inherit."""

    number: int
    state: Literal["placing", "loading", "ready", "lost"]
    items: int = 0  # that it holds
    running: int = 0  # requests in the engine
    waiting: int = 0  # requests that wait for a place in it
    output_tokens: int = 0  # of all its requests, since it was started
    starts: int = 0  # how often it became ready
    lost: int = 0  # how often it was lost


@dataclass(frozen=True)
class Status:
    """A moment of a start of a run. Times are UTC, ISO 8601; counts are of this start unless said otherwise."""

    stage: Stage
    host: str
    pid: int
    begun: str
    updated: str
    unit: str = "questions"  # what is counted
    total: int = 0  # of the run
    before: int = 0  # finished or failed before this start
    done: int = 0
    failed: int = 0
    seconds: float = 0.0  # since the first engine was ready
    output_tokens: int = 0
    recent: float | None = None  # tokens/s over the last minute or so; None if not known
    average: float | None = None  # tokens/s since the first engine was ready
    left_s: tuple[float, float, float] | None = None  # seconds left: lower end, estimate, upper end of 90%
    prompt_tokens: int = 0
    cached_tokens: int = 0  # of these found in a prefix cache
    engines: Sequence[EngineStatus] = ()
    sections: Sequence[Section] = ()
    notes: Sequence[str] = field(default=())  # such as where to look for what failed


class Moment(NamedTuple):
    """A line of history.jsonl."""

    time: str
    start: int  # index of the start among those of run.json
    seconds: float  # since the first engine of that start was ready
    done: int  # units finished in this start
    failed: int
    output_tokens: int
    engines: int  # that are ready
    lost: int  # engines lost in this start


def write_status(run: Path, status: Status) -> None:
    """Replace the status.json of a run directory. Raises OSError."""
    # Every few seconds, so not for eternity: after a power failure nobody needs it.
    atomic_write_text(run / STATUS_FILE, json.dumps(asdict(status)) + "\n", durable=False)


def read_status(run: Path) -> Status | None:
    """Return the last status of a run; None if there is none that can be read."""
    with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        told: dict[str, Any] = json.loads((run / STATUS_FILE).read_text(encoding="utf-8"))
        engines = tuple(EngineStatus(**one) for one in told.pop("engines"))
        sections = tuple(Section(title, Table(*table), brief) for title, table, brief in told.pop("sections"))
        left = told.pop("left_s")
        return Status(**told, left_s=left and tuple(left), engines=engines, sections=sections)
    return None


def add_moment(run: Path, moment: Moment) -> None:
    """Append a line to the history of a run. Raises OSError."""
    with (run / HISTORY).open("a", encoding="utf-8") as file:
        file.write(json.dumps(moment._asdict()) + "\n")


def read_history(run: Path) -> Iterator[Moment]:
    """Yield the history of a run, oldest first; lines that cannot be read are left out."""
    with suppress(OSError), (run / HISTORY).open(encoding="utf-8", errors="replace") as file:
        for line in file:
            with suppress(ValueError, TypeError):
                yield Moment(**json.loads(line))
