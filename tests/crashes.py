"""One run directory, killed at moments drawn from a seed and resumed until it is done, then compared with a quiet run.

Knows processes and files from outside only. Call `family.adopt_orphans` first, so that no process is overlooked.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests import family
from tests.crash_engine import FAULT, HURRY, SMALL, TALLY
from tests.crash_report import Report
from tests.nodes import QUICK, Nodes

_END_S = 300.0
_LEFT_S = 20.0
_WORDS = {
    "actor": "ray::ReplicaProcess",
    "raylet": "/raylet/raylet ",
    "core": "VLLM::EngineCore",
    "worker": "VLLM::Worker",
}
"""How the processes of a kind are known; `driver`, `write` and `node` are not known by words."""


@dataclass(frozen=True)
class Course:
    """What is done to one run directory."""

    seed: int
    engine: str
    """`scripted`, `vllm` or `hosted`: see crash_job."""
    kills: int
    questions: int
    kinds: Mapping[str, float]
    """Kinds of kill and how often each is drawn, once each has been."""
    silence_s: float = 180.0
    """A job that is alive and begins no question and ends nothing for so long hangs."""
    at_the_end: Sequence[str] = ("RAW_DATA:1", "RAW_DATA:2")
    """Renames that kill the driver when all questions are done: what to, and which."""
    grows: bool = False
    """Whether less is asked until half of the kills, or until that is done."""


class Victim:
    """The job on one folder: started, found, killed, started again."""

    def __init__(self, course: Course, folder: Path, nodes: Nodes | None = None, engines: int = 2) -> None:
        """On the head of these nodes, or on this machine without any."""
        self.folder = folder
        self.log = folder / "log"
        self.nodes = nodes
        engines = engines if course.engine == "scripted" else 1
        self._args = [str(folder), str(course.questions), course.engine, str(engines)]
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def start(self) -> None:
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "tests.crash_job", *self._args]
            if self.nodes is not None:
                command = self.nodes.inside(0, [*command, self.nodes.address])
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=os.environ | QUICK,
            )

    def grow(self) -> None:
        """Ask for more, from the next start on, which is at once."""
        self.kill()
        (self.folder / SMALL).unlink()
        self._process = None

    def code(self) -> int | None:
        """The exit code; None while it runs or when it was never started."""
        return None if self._process is None else self._process.poll()

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """Kill the driver alone."""
        if self._process is not None:
            # Inside a node it is the child of what led it there, which ends as it does.
            driver = [p.pid for p in family.descendants(self._process.pid).values() if "crash_job" in p.line]
            family.end(driver or [self._process.pid])
            self._process.wait()

    def members(self, words: str) -> list[int]:
        """Its processes whose command line holds the words."""
        if self._process is None:
            return []
        return sorted(pid for pid, process in family.descendants().items() if words in process.line)

    def left_behind(self) -> int:
        """How many processes outlive the job; they are ended then, so that they count once."""
        spared = self.nodes.processes() if self.nodes else {}
        found = family.left(spared, (_WORDS["actor"], "reaper.py", "crash_job"), _LEFT_S)
        if found:
            with self.log.open("a") as log:
                log.write("".join(f"left behind: {process}\n" for process in found.values()))
        family.end(found)
        return len(found)

    def engines(self) -> Counter[int]:
        """How many engines each node holds."""
        count = Counter[int]()
        for pid, number in (self.nodes.processes() if self.nodes else {}).items():
            count[number] += sum(_WORDS["actor"] in p.line for p in family.descendants(pid).values())
        return count

    def begun(self) -> list[str]:
        """A line for each time that a question was begun."""
        with contextlib.suppress(FileNotFoundError):
            return (self.folder / TALLY).read_text().splitlines()
        return []


class Runner:
    """Takes a victim through its course."""

    def __init__(self, course: Course, victim: Victim, say: Callable[[str], None] = lambda line: None) -> None:
        self._course = course
        self._victim = victim
        self._say = say
        self._draw = random.Random(f"crash/{course.engine}/{course.seed}")
        self.report = Report(course.seed, course.engine)

    def run(self, quiet: Path) -> Report:
        """Kill, resume, and compare RAW_DATA with that in `quiet`."""
        began = time.monotonic()
        small = self._victim.folder / SMALL
        if self._course.grows:
            small.touch()
        while (done := sum(self.report.kills.values())) < self._course.kills:
            if small.exists() and 2 * done >= self._course.kills:
                self._grow()
            if not self._ready():
                if not small.exists():
                    break
                self._grow()
                continue
            self._strike(self._next_kind())
        self._finish()
        self.report.compare(self._victim.folder, quiet, self._victim.begun())
        self.report.seconds = round(time.monotonic() - began, 1)
        return self.report

    def _grow(self) -> None:
        self._say("more is asked")
        self._victim.grow()
        self.report.left += self._victim.left_behind()

    def _next_kind(self) -> str:
        """Each kind once, in the order that the course names them, and then as often as it says."""
        kinds = self._course.kinds
        waiting = [kind for kind in kinds if kind not in self.report.kills]
        return waiting[0] if waiting else self._draw.choices(list(kinds), list(kinds.values()))[0]

    def _ready(self) -> bool:
        """A living job at a drawn moment: mostly at work, sometimes on its way there. False when it is done already."""
        victim, begun = self._victim, len(self._victim.begun())
        if not victim.alive():
            if victim.code() == 0:
                return False
            self._note_end()
            victim.start()
            if self._draw.random() < 0.15:
                self._sleep(self._draw.random() * 6)
                return True
        deadline = time.monotonic() + self._course.silence_s
        while victim.alive() and len(victim.begun()) == begun:
            if time.monotonic() > deadline:
                self._hang()
                return self._ready()
            time.sleep(0.02)
        self._sleep(self._draw.random() * 0.8)
        return victim.alive() or self._ready()

    def _sleep(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self._victim.alive() and time.monotonic() < deadline:
            time.sleep(0.01)

    def _hang(self) -> None:
        self.report.hung += 1
        self._say("hung: nothing was begun or ended")
        self._victim.kill()

    def _note_end(self) -> None:
        """What a driver that is no more leaves behind."""
        code = self._victim.code()
        if code is None:
            return
        if code != -signal.SIGKILL:
            self.report.ended[str(code)] += 1
        if code not in (0, 1, -signal.SIGKILL):
            self._say(f"ended with {code}:\n{self._victim.log.read_text()[-3000:]}")
        self.report.left += self._victim.left_behind()

    def _strike(self, kind: str) -> None:
        victim = self._victim
        if kind == "write":
            count, cut = self._draw.randint(1, 3), self._draw.randint(0, 1)
            if not self._arm(f"shards {count} {cut}"):
                return
        elif kind == "driver":
            victim.kill()
        elif kind == "node":
            self._kill_node()
        else:
            found = victim.members(_WORDS[kind])
            if not found:
                return
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._draw.choice(found), signal.SIGKILL)
        self.report.kills[kind] += 1
        self._say(f"killed {kind}")

    def _kill_node(self) -> None:
        """The last node drops dead; another boots in its place while the job goes on."""
        nodes = self._victim.nodes
        assert nodes is not None
        engines = self._victim.engines()
        self.report.spread = max(self.report.spread, sum(count > 0 for count in engines.values()))
        last = max(nodes.processes().values())
        nodes.kill(last)
        nodes.start(last, wait=False)

    def _arm(self, fault: str) -> bool:
        """Have the driver die in mid-write; whether it did."""
        file = self._victim.folder / FAULT
        file.with_name("fault.new").write_text(fault)
        file.with_name("fault.new").rename(file)
        deadline = time.monotonic() + self._course.silence_s
        while self._victim.alive() and time.monotonic() < deadline:
            time.sleep(0.02)
        file.unlink()
        if self._victim.alive():
            self._hang()
            return False
        return self._victim.code() == -signal.SIGKILL

    def _finish(self) -> None:
        """The last part undisturbed, save for the renames that make RAW_DATA."""
        victim = self._victim
        (victim.folder / HURRY).touch()
        for place in self._course.at_the_end:
            if victim.code() != 0 and not victim.alive():
                self._note_end()
                victim.start()
            if victim.alive() and self._arm(f"{place.replace(':', ' ')} 0"):
                self.report.kills["write"] += 1
                self._say(f"killed at {place}")
        for _ in range(3):
            if not victim.alive() and victim.code() != 0:
                self._note_end()
                victim.start()
            deadline = time.monotonic() + _END_S
            while victim.alive() and time.monotonic() < deadline:
                time.sleep(0.05)
            if victim.alive():
                self._hang()
        if victim.code() != 0:
            raise AssertionError(f"the job cannot be ended:\n{victim.log.read_text()[-3000:]}")
        self._note_end()


def quiet_run(course: Course, folder: Path) -> None:
    """The run that nothing happens to, on one engine."""
    victim = Victim(course, folder, engines=1)
    (folder / HURRY).touch()
    victim.start()
    deadline = time.monotonic() + _END_S
    while victim.alive() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert victim.code() == 0, victim.log.read_text()
    assert victim.left_behind() == 0
