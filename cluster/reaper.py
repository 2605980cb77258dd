"""Kill what a dead process leaves behind. Run as a script; standard library only.

vLLM's engine core and workers can outlive the process that started them, holding cores or a GPU, and so can Ray's
agents. Whoever starts such processes starts a reaper and keeps its standard input open; when that closes, the reaper
kills every process that was started with the mark in its environment, or that has a file in the folder open (a
process that sets its own title overwrites its environment), and removes the folder.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

_BEGINNING = "SKILLFACTORY_MARK_"
_SPARED = "SKILLFACTORY_SPARED"  # set for a process to be spared although it has such a file open: a Slurm job's driver


def new_mark() -> str:
    """Return a new name for an environment variable; whatever is started with it set, to anything, will be killed."""
    return f"{_BEGINNING}{uuid.uuid4().hex}"


def unmarked() -> dict[str, str]:
    """Return the environment for a process that is to outlive what a reaper kills."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_BEGINNING)}


def start(mark: str, folder: str = "", *, detached: bool = False) -> subprocess.Popen[bytes]:
    """Start a reaper; `detached`, it is no child of this process, because a Ray worker kills its children on exit."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, mark, folder, *([str(os.getpid())] if detached else [])],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=unmarked(),
        start_new_session=True,
    )
    if detached:
        process.wait()
    return process


def kill(mark: str, folder: str = "", spare: int = 0) -> int:
    """Kill all such processes except this one and `spare`. Return how many there were."""
    killed = 0
    for entry in Path("/proc").glob("[0-9]*"):
        if int(entry.name) in {os.getpid(), spare}:
            continue
        with contextlib.suppress(OSError):
            started_with = {line.partition(b"=")[0] for line in (entry / "environ").read_bytes().split(b"\0")}
            held = folder and _SPARED.encode() not in started_with and _holds(entry, f"{folder}/")
            if mark.encode() in started_with or held:
                os.kill(int(entry.name), signal.SIGKILL)
                killed += 1
    return killed


def _holds(process: Path, beginning: str) -> bool:
    for descriptor in (process / "fd").iterdir():
        with contextlib.suppress(OSError):  # closed in the meantime
            if os.readlink(descriptor).startswith(beginning):
                return True
    return False


def main(mark: str, folder: str, apart_from: str = "") -> None:
    if apart_from and os.fork():
        os._exit(0)
    host = int(apart_from or os.getppid())
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    sys.stdin.buffer.read()
    # A process may fork while it is killed, or write a file as it dies: look again.
    for _ in range(50):
        killed = kill(mark, folder, host)
        if folder:
            shutil.rmtree(folder, ignore_errors=True)
        if not killed and not (folder and Path(folder).exists()):
            break
        time.sleep(0.1)


if __name__ == "__main__":
    main(*sys.argv[1:])
