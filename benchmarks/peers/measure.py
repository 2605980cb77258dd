"""A command measured from outside: its processes' time and memory, the moments that it marks, and what others took.

Linux only: reads /proc. Every process that the command leaves behind is ended, and counted.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

from benchmarks.peers.work import END, MARKS, READY, REQUEST, TOKEN
from tests import family

_TICK_S, _TICKS_A_WEIGHING = 0.5, 4
_HZ = os.sysconf("SC_CLK_TCK")
_ENDED_S = 15.0  # for processes that end by themselves once the command has returned
_KINDS = (
    (r"VLLM::Worker", "vLLM worker"),
    (r"VLLM::EngineCore|EngineCore", "vLLM core"),
    (r"raylet|gcs_server|ray/(dashboard|_private|autoscaler)|dashboard|RuntimeEnvAgent|ray::IDLE", "Ray"),
    (r"^ray::", "Ray's other actors"),
)
_SAYS = ((r"^engines +engine \d+ ready", READY), (r"^rollout +[\d,]+ \w+ in [\d,]+ s", END))
"""Lines of the product that are moments."""


class Tick(NamedTuple):
    at: float
    seconds: Mapping[tuple[int, int], float]  # of processor time so far, by process (id and start)
    busy: float  # of the whole machine, since it was started


@dataclass
class Watched:
    """A command that has ended."""

    code: int | None  # None where it ran into the limit
    seconds: float
    began: float
    marks: list[dict[str, float | str]]
    ticks: list[Tick]
    titles: Mapping[tuple[int, int], str]
    root: int
    memory: int  # bytes at most, of all its processes together; what several share counts once
    left: int  # processes that it left behind
    own: float = 0.0  # processor seconds of this process, which watches


def watch(command: Sequence[str], environment: Mapping[str, str], log: Path, limit_s: float) -> Watched:
    """Run a command to its end, or end it after `limit_s` seconds."""
    marks = log.with_suffix(".marks")
    marks.unlink(missing_ok=True)
    family.adopt_orphans()
    spared = frozenset(family.descendants())
    watching = _Watching(spared)
    with log.open("wb") as file:
        began, spent = time.monotonic(), time.process_time()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment, MARKS: str(marks.resolve()), "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
        reader = threading.Thread(target=_read, args=(process, file, marks))
        reader.start()
        try:
            while process.poll() is None and time.monotonic() - began < limit_s:
                watching.tick()
                time.sleep(_TICK_S)
            code, seconds = process.poll(), time.monotonic() - began
        finally:
            left = _end(process, spared)
            family.adopt_orphans(False)
            reader.join()
            assert process.stdout is not None
            process.stdout.close()
    lines = marks.read_text(encoding="utf-8").splitlines() if marks.exists() else []
    told = sorted((json.loads(line) for line in lines), key=lambda one: one["at"])
    own = time.process_time() - spent
    return Watched(code, seconds, began, told, watching.ticks, watching.titles, process.pid, watching.memory, left, own)


def _read(process: subprocess.Popen[bytes], file: BinaryIO, marks: Path) -> None:
    """Keep what the command prints, and mark the moments that the product's lines tell."""
    for line in process.stdout or ():
        at = time.monotonic()
        file.write(line)
        text = line.decode(errors="replace")
        for pattern, moment in _SAYS:
            if re.search(pattern, text):
                with marks.open("a", encoding="utf-8") as told:
                    told.write(json.dumps({"moment": moment, "at": at, "pid": process.pid}) + "\n")


def _end(process: subprocess.Popen[bytes], spared: Collection[int]) -> int:
    """End the command and all that it brought about; return how many were left after it had returned by itself."""
    returned = process.poll() is not None
    if not returned:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_ENDED_S)
        family.end(_kin(spared))
        process.wait()
    first = left = family.left(spared, (), _ENDED_S)
    while left:
        family.end(left)
        left = family.left(spared, (), _ENDED_S)
    family.wait_for_orphans(spared)
    return len(first) if returned else 0


def _kin(spared: Collection[int]) -> dict[int, family.Process]:
    """Return the descendants of this process, without the spared and theirs."""
    found = family.descendants()
    for pid in spared:
        for other in (pid, *family.descendants(pid)):
            found.pop(other, None)
    return found


@dataclass
class _Watching:
    """What is seen of the descendants of this process, without the spared."""

    spared: Collection[int]
    ticks: list[Tick] = field(default_factory=list)
    titles: dict[tuple[int, int], str] = field(default_factory=dict)
    memory: int = 0
    _seconds: dict[tuple[int, int], float] = field(default_factory=dict)

    def tick(self) -> None:
        weighing, weight = len(self.ticks) % _TICKS_A_WEIGHING == 0, 0
        for pid, process in _kin(self.spared).items():
            with contextlib.suppress(OSError, IndexError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                key = pid, int(fields[19])
                self._seconds[key] = (int(fields[11]) + int(fields[12])) / _HZ
                self.titles[key] = process.line
                weight += _pss(pid) if weighing else 0
        self.memory = max(self.memory, weight)
        self.ticks.append(Tick(time.monotonic(), dict(self._seconds), _busy()))


def _pss(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) << 10
    return 0


def _busy() -> float:
    """Return the seconds that all cores worked, or were taken away by the host."""
    user, nice, system, _, _, interrupts, soft, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + interrupts + soft + steal) / _HZ


def stages(marks: Sequence[Mapping[str, float | str]]) -> list[tuple[float, float]]:
    """Return the generation part: for each stage, from when its engine may be asked, or is, to its last row."""
    found, began = list[tuple[float, float]](), None
    for one in marks:
        if one["moment"] in (READY, REQUEST) and began is None:
            began = float(one["at"])
        elif one["moment"] == END and began is not None:
            found.append((began, float(one["at"])))
            began = None
    return found


def first_token(marks: Sequence[Mapping[str, float | str]]) -> float | None:
    """Return when the first token came, None if none is marked."""
    return next((float(one["at"]) for one in marks if one["moment"] == TOKEN), None)


def spent(watched: Watched, parts: Sequence[tuple[float, float]]) -> dict[str, float]:
    """Return the processor seconds by kind of process within these parts, and those of `others`; to half a second."""
    fronts = {one["pid"] for one in watched.marks if one["moment"] in (REQUEST, TOKEN)}
    found = defaultdict[str, float](float)
    for start, end in parts:
        first, last = (min(watched.ticks, key=lambda tick: abs(tick.at - at)) for at in (start, end))
        own = 0.0
        for key, seconds in last.seconds.items():
            taken = seconds - first.seconds.get(key, 0.0)
            found[kind(watched.titles[key], key[0] == watched.root, key[0] in fronts)] += taken
            own += taken
        found["others"] += max(0.0, last.busy - first.busy - own - watched.own * (end - start) / watched.seconds)
    return {name: round(seconds, 1) for name, seconds in found.items() if seconds >= 0.05}


def kind(title: str, is_root: bool, is_front: bool) -> str:
    """Return what kind of process this is."""
    if is_front:
        return "front end"
    return next((name for pattern, name in _KINDS if re.search(pattern, title)), "driver" if is_root else "helpers")
