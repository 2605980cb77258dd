"""Runs Python code in a process that dies by SIGKILL at one of its own renames: real code, real death."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

_DIE = """
import os, signal, sys
renames = 0
def watch(event, args):
    global renames
    if event == "os.rename":
        renames += 1
        if renames == {nth}:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(watch)
"""


def run_killed_at_rename(nth: int, code: str, *arguments: object) -> bool:
    """Run the code; just before its nth rename it is killed. False when it ended before."""
    command = [sys.executable, "-c", _DIE.replace("{nth}", str(nth)) + code, *map(str, arguments)]
    root = Path(__file__).parent.parent
    ended = subprocess.run(command, check=False, cwd=root, capture_output=True, text=True)
    assert ended.returncode in (0, -signal.SIGKILL), (ended.returncode, ended.stdout[-2000:], ended.stderr)
    return ended.returncode != 0
