"""Processes that tests start, and every process that those leave behind."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_MARK = "SKILLFACTORY_TEST_MARK"


class Job:
    """`python -m MODULE ARGS` with a mark in its environment that all its descendants inherit."""

    def __init__(
        self, module: str, args: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.mark = uuid.uuid4().hex
        self.log = log
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, *args],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=dict(os.environ) | dict(environment or {}) | {_MARK: self.mark},
                start_new_session=True,
            )

    def wait(self, seconds: float = 240) -> int:
        """The exit code; what the job printed goes into the failure when it takes too long."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds} s:\n{self.output()}") from None

    def wait_for(self, happened: Callable[[], object], seconds: float = 300) -> None:
        """Wait until it is so, while the job runs."""
        deadline = time.monotonic() + seconds
        while not happened():
            assert self.process.poll() is None, self.output()
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.02)

    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def left_behind(self, seconds: float = 20) -> dict[int, str]:
        """Command lines of the descendants that are alive `seconds` after the job's end."""
        deadline = time.monotonic() + seconds
        while (found := marked(self.mark)) and time.monotonic() < deadline:
            time.sleep(0.2)
        return found

    def find(self, words: str) -> list[int]:
        """Process ids of descendants whose command line holds the words."""
        return [pid for pid, line in marked(self.mark).items() if words in line]

    def clean(self) -> None:
        """Kill what is left, whatever it is."""
        self.process.kill()
        self.process.wait()
        for pid in marked(self.mark):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)


def marked(mark: str) -> dict[int, str]:
    """Living processes whose environment holds the mark, with their command lines."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"{_MARK}={mark}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                found[int(entry.name)] = line.strip()
    return found
