"""Every process that this one has brought about: none escapes, since whoever loses its parent becomes our child.

Reads `/proc`, so processes in process namespaces below ours are seen too.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

_PR_SET_CHILD_SUBREAPER = 36


class Process(NamedTuple):
    """A living process."""

    pid: int
    parent: int
    line: str
    """Its command line, or the title that it gave itself."""


def adopt_orphans(adopt: bool = True) -> None:
    """From now on a descendant whose parent dies becomes this process's child, or no longer if not `adopt`."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, int(adopt), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "PR_SET_CHILD_SUBREAPER")


def descendants(top: int | None = None) -> dict[int, Process]:
    """All below `top` (default: this process) that are alive: dead ones that nobody waited for are not."""
    children: dict[int, list[Process]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, parent = (entry / "stat").read_text().rsplit(")", 1)[1].split()[:2]
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            process = Process(int(entry.name), int(parent), "" if state in "ZX" else line)
            children.setdefault(process.parent, []).append(process)
    found: dict[int, Process] = {}
    below = [os.getpid() if top is None else top]
    while below:
        for process in children.get(below.pop(), []):
            below.append(process.pid)
            if process.line:
                found[process.pid] = process
    return found


def wait_for_orphans(own: Collection[int]) -> None:
    """Let adopted processes that ended go; `own` are waited for by whoever started them."""
    for entry in Path(f"/proc/{os.getpid()}/task").glob("*/children"):
        for child in map(int, entry.read_text().split()):
            if child not in own:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(child, os.WNOHANG)


def left(spared: Collection[int], guests: Collection[str], seconds: float) -> dict[int, Process]:
    """Who is alive `seconds` from now, or sooner when nobody is.

    The spared and theirs do not count, save those whose command line holds the words of a guest.
    """
    deadline = time.monotonic() + seconds
    while True:
        wait_for_orphans(spared)
        found = descendants()
        for pid in spared:
            found.pop(pid, None)
            for kin in descendants(pid).values():
                if not any(words in kin.line for words in guests):
                    found.pop(kin.pid, None)
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


def end(processes: Collection[int]) -> None:
    """Kill these, whatever they are."""
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
