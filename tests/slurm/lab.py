"""The Slurm that these tests run in: its jobs, its nodes, and what runs on them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

OVER = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY"}
_OF_THE_NODE = ("slurmd", "sleep 3600")


def folder() -> Path:
    found = os.environ.get("SKILLFACTORY_LAB")
    assert found, "these tests run on a Slurm of their own: make slurm"
    return Path(found)


@dataclass(frozen=True)
class SlurmJob:
    """One job, and the run directory that it works on."""

    number: int
    run: Path

    @property
    def told(self) -> dict[str, str]:
        """What Slurm says of the job."""
        shown = run("scontrol", "--oneliner", "show", "job", str(self.number))
        return dict(word.split("=", 1) for word in shown.split() if "=" in word)

    @property
    def starts(self) -> int:
        return int(self.told["Restarts"]) + 1

    @property
    def seconds(self) -> int:
        """How long this start runs."""
        hours, minutes, seconds = map(int, self.told["RunTime"].split(":"))
        return 3600 * hours + 60 * minutes + seconds

    def limit(self, minutes: int) -> None:
        """Set the time limit, as an administrator may at any time."""
        run("scontrol", "update", f"JobId={self.number}", f"TimeLimit={minutes}")

    def output(self) -> str:
        """Everything that the job wrote for a person, for a failure's message too."""
        logs = sorted((self.run / "logs" / "slurm").glob(f"{self.number}.*"))
        files = [file for log in logs for file in ([log] if log.is_file() else sorted(log.iterdir())) if file.is_file()]
        return "\n".join(f"--- {file}\n{file.read_text(errors='replace')[-4000:]}" for file in files)

    def wait_for(self, what: Callable[[], object], seconds: float = 240) -> None:
        """Wait until it is so, or fail with the job's own words."""
        wait_until(what, seconds, lambda: f"{self.told}\n{self.output()}")

    def end(self, seconds: float = 300) -> str:
        """The state in which it ends."""
        self.wait_for(lambda: self.told["JobState"] in OVER, seconds)
        return self.told["JobState"]

    def says(self, words: str) -> bool:
        return words in self.output()


def wait_until(what: Callable[[], object], seconds: float, why: Callable[[], object]) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, f"not within {seconds} s:\n{why()}"
        time.sleep(0.2)


def run(*command: str) -> str:
    """What the command prints. A busy controller drops connections: what only asks is asked again, twice."""
    for _ in range(2 if command[0] == "sinfo" or "show" in command else 0):
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode == 0:
            return done.stdout
        time.sleep(2)
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def submit(run_directory: Path, *words: str, **environment: str) -> SlurmJob:
    """`python -m cluster.slurm --submit WORDS --out RUN_DIRECTORY`."""
    done = subprocess.run(
        [sys.executable, "-m", "cluster.slurm", "--submit", *words, "--out", str(run_directory)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return SlurmJob(int(done.stdout.split()[1].rstrip(";")), run_directory)


def control(verb: str, number: int) -> None:
    """Kill a node with all that runs there, or boot it again."""
    with (folder() / "control").open("w") as pipe:
        pipe.write(f"{verb} {number}\n")


def idle() -> bool:
    """Whether every node waits for work."""
    return set(run("sinfo", "--noheader", "--Node", "--format=%T").split()) == {"idle"}


def processes(number: int) -> dict[int, str]:
    """What runs on a node besides Slurm's daemon and the node's own first process."""
    first = int((folder() / "nodes" / f"n{number}" / "first").read_text())
    found = {}
    with contextlib.suppress(OSError):
        space = os.readlink(f"/proc/{first}/ns/pid")
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                here = os.readlink(entry / "ns" / "pid") == space and int(entry.name) != first
                if here and line and not line.startswith(_OF_THE_NODE):
                    found[int(entry.name)] = line
    return found


def lying(number: int) -> list[Path]:
    """What lies in a node's own /tmp, but for what torch compiled, which is kept, and the code, if it is in /tmp."""
    own = folder() / "nodes" / f"n{number}" / "tmp"
    code = own.joinpath(*Path.cwd().parts[2:3]) if Path.cwd().is_relative_to("/tmp") else None
    return [path for path in own.iterdir() if path != code and not path.name.startswith("torchinductor")]


def left_behind(number: int) -> list[str]:
    """What a job should not leave on a node: processes and files."""
    return [*processes(number).values(), *map(str, lying(number))]
