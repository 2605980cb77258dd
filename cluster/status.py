"""What a run is doing, from another shell or node: python -m cluster.status RUN. Only reads the run's folder."""

import json
import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import MISSING, asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console, Group, RenderableType
from rich.text import Text

from cluster.flags import fail, flag, page, parse
from cluster.jobs.failures import FAILED_ITEMS
from cluster.jobs.monitor import BEAT_S, LINE_S, WRITE_S
from cluster.jobs.panel import duration, line, panel, plain
from cluster.jobs.progress import FAILED, STOPPED, Screen, stage_line
from cluster.jobs.run_directory import LOGS, RUN_FILE, read_record
from cluster.jobs.status import STATUS_FILE, Status, read_status
from cluster.paths import local
from cluster.texts import bars

RUNS, WAITS = 3, 4  # exit codes
_DEAD_S = 6 * BEAT_S  # without a sign of life
_UNTOLD_S = 600.0  # likewise, of a run whose version gave none but its shards
_CODES = {"done": 0, "failed": FAILED, "stopped": STOPPED}
_TALL = 10_000


@dataclass(frozen=True)
class Config:
    """Show what a run is doing, or how it ended, from any shell or node that sees its folder; nothing is written.

    Exit codes: 0 done; 1 failed; 3 it runs; 4 it waits for engines, none of which is ready; 75 it was stopped or
    killed, and the same command goes on.
    """

    run: str = flag(MISSING, "the run directory; needs no flag before it", local)
    watch: bool = flag(False, "show it until the run ends")
    json: bool = flag(False, "print it as JSON")

    def __post_init__(self) -> None:
        if self.watch and self.json:
            raise ValueError("--watch shows it to a person, --json to a program: give one of them")


class Seen(NamedTuple):
    """A run as its folder tells it."""

    run: Path
    code: int
    words: str  # what it is doing, or how it ended
    command: str  # that goes on with it
    failed: int  # items in failed.json
    status: Status | None  # None where an earlier version of this project runs it


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code, as Config says. Exits with 2 if there is no run."""
    config = parse(Config, argv, first="run")
    run = Path(config.run)
    try:
        seen = look(run)
        if config.watch:
            with suppress(KeyboardInterrupt):
                seen = _watch(run)
    except ValueError as error:
        fail(str(error))
    page(_as_json(seen) if config.json else _as_text(seen))
    return seen.code


def look(run: Path) -> Seen:
    """Return what the run in this folder is doing. Raises ValueError if there is none, or if it cannot be read."""
    if not (run / RUN_FILE).exists():
        raise ValueError(f"{run} is no run: there is no {RUN_FILE} in it; give the folder of a run, such as runs/NAME")
    record = read_record(run)
    starts = record.get("starts") or [{}]
    status = read_status(run)
    state = str(record.get("state", "begun")) if status is None else status.stage
    code, words = _told(run, state, status)
    return Seen(run, code, words, str(starts[-1].get("command", "")), _failed(run), status)


def _told(run: Path, state: str, status: Status | None) -> tuple[int, str]:
    """Return exit code and words for a state, which a process that is gone could not change any more."""
    if state in _CODES:
        words = {"failed": _reason(run, status), "stopped": "the same command goes on"}.get(state, "")
        return _CODES[state], f"{state}{f': {words}' if words else ''}"
    age = max(0.0, time.time() - (run / (STATUS_FILE if status else RUN_FILE)).stat().st_mtime)
    if status is None:
        told = f"{state}, says {RUN_FILE} of {duration(age)} ago; an earlier version of this project tells no more"
        return (STOPPED if age > _UNTOLD_S else RUNS), told
    here = status.host == socket.gethostname()
    if here and age > _DEAD_S and _lives(status.pid):
        told = f"no sign of life for {duration(age)}, but process {status.pid} is there"
        return RUNS, f"{told}: suspended, or its disk hangs"
    if age > _DEAD_S or (here and not _lives(status.pid)):
        told = f"no sign of life for {duration(age)}; killed, or its machine is gone"
        return STOPPED, f"{told}; the same command goes on"
    where = f"on {plain(status.host)}, process {status.pid}"
    if state == "loading" or (status.engines and all(engine.state != "ready" for engine in status.engines)):
        return WAITS, f"it waits for engines {where}"
    return RUNS, f"it runs {where}"


def _lives(pid: int) -> bool:
    with suppress(PermissionError):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
    return True


def _reason(run: Path, status: Status | None) -> str:
    """Return the last line of the traceback that the failure of this start left, or where else to look."""
    file = run / LOGS / "failure.txt"
    with suppress(OSError, ValueError):
        if status is None or file.stat().st_mtime >= datetime.fromisoformat(status.begun).timestamp():
            told = file.read_text(encoding="utf-8", errors="replace")
            lines = [one for one in told.splitlines() if re.match(r"\w+([.]\w+)*: ", one)]
            return plain(lines[-1], 400) if lines else ""
    return "not all that it was to make could be made; it said why"


def _failed(run: Path) -> int:
    with suppress(OSError, ValueError, TypeError):
        return len(json.loads((run / FAILED_ITEMS).read_text(encoding="utf-8")))
    return 0


def _watch(run: Path) -> Seen:
    """Show it until it ends, on a terminal as a panel, else in a line now and then."""
    due = 0.0
    if not bars():
        while (seen := look(run)).code in (RUNS, WAITS):
            if seen.status and time.monotonic() >= due:
                due = time.monotonic() + LINE_S
                print(line(seen.status), flush=True)
            time.sleep(WRITE_S)
        return seen
    with Screen() as screen:
        while (seen := look(run)).code in (RUNS, WAITS):
            columns, lines = screen.room()
            screen.draw(Group(*_picture(seen, columns, lines)))
            time.sleep(WRITE_S / 4)
    return seen


def _picture(seen: Seen, width: int, height: int) -> list[RenderableType]:
    said = [("run", str(seen.run)), ("state", seen.words)]
    if seen.failed:
        said.append(("failed", f"{seen.failed:,}, see {seen.run / FAILED_ITEMS}"))
    if seen.code in (FAILED, STOPPED) and seen.command:
        said.append(("next", seen.command))
    lines: list[RenderableType] = [Text(plain(stage_line(*one), 1_000)) for one in said]
    return [*lines, panel(seen.status, width, height - len(lines))] if seen.status else lines


def _as_text(seen: Seen) -> str:
    columns = shutil.get_terminal_size().columns
    console = Console(file=sys.stdout, width=columns, highlight=False)
    with console.capture() as drawn:
        console.print(*_picture(seen, columns, _TALL), sep="\n", soft_wrap=True)
    return drawn.get().rstrip()


def _as_json(seen: Seen) -> str:
    told: dict[str, Any] = seen._asdict() | {"run": str(seen.run), "status": seen.status and asdict(seen.status)}
    return json.dumps(told, indent=1)


if __name__ == "__main__":
    sys.exit(main())
