"""Ends what a dead engine host leaves behind. Run as a script; standard library only.

vLLM's engine core and workers are processes of their own: when their host is killed they can live
on, holding cores or a GPU. A host starts one reaper and holds its standard input open; at the end
of input the reaper kills every process whose environment carries the host's mark.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

MARK = "SKILLFACTORY_ENGINE_MARK"


def start(mark: str) -> subprocess.Popen[bytes]:
    """A reaper for the processes that inherit `MARK=mark` from their environment."""
    clean = {name: value for name, value in os.environ.items() if name != MARK}
    return subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, mark],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=clean,
        start_new_session=True,
    )


def kill(mark: str, spare: int = 0) -> int:
    """Kill every process that carries the mark, but `spare`; how many there were."""
    wanted = f"{MARK}={mark}".encode()
    killed = 0
    for entry in Path("/proc").glob("[0-9]*"):
        pid = int(entry.name)
        if pid in {spare, os.getpid()}:
            continue
        with contextlib.suppress(OSError):
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                os.kill(pid, signal.SIGKILL)
                killed += 1
    return killed


def main(mark: str) -> None:
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    while sys.stdin.buffer.read(1):
        pass
    # A process that forks while it is killed may leave a child: look again until none is found.
    for _ in range(50):
        if kill(mark) == 0:
            return
        time.sleep(0.1)


if __name__ == "__main__":
    main(sys.argv[1])
