"""A terminal of any size that a test looks at and types into."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyte

ROOT = Path(__file__).parent.parent


class Terminal:
    """A command on a terminal of its own, which is its controlling one, so that Ctrl-C is a signal."""

    def __init__(
        self, command: Sequence[str], columns: int, lines: int = 60, environment: Mapping[str, str] | None = None
    ) -> None:
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self._terminal, end = pty.openpty()
        self._resize(columns, lines)
        kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
        kept |= {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **(environment or {})}
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *command], stdin=end, stdout=end, stderr=end, env=kept, cwd=ROOT
        )
        os.close(end)
        self.sent = b""

    def resize(self, columns: int, lines: int) -> None:
        """Change the size. What is there already is cut, not folded, as by terminals that do not fold."""
        self._resize(columns, lines)
        self._screen.resize(lines, columns)

    def resize_untold(self) -> None:
        """Let the terminal have no size, as where a program made it that has none."""
        self._resize(0, 0)

    def _resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    @property
    def lines(self) -> list[str]:
        """What stands there, without empty lines."""
        return [line.rstrip() for line in self._screen.display if line.strip()]

    def find(self, words: str) -> list[str]:
        return [line for line in self.lines if words in line]

    def type(self, keys: str) -> None:
        os.write(self._terminal, keys.encode())

    def wait_for(self, happened: Callable[[], object], seconds: float = 60) -> None:
        """Read what is sent until it is so."""
        deadline = time.monotonic() + seconds
        while not happened():
            if time.monotonic() > deadline or not self._read(0.1):
                self.close()
                raise AssertionError("\n".join(self.lines))

    def wait(self, seconds: float = 60) -> int:
        """The exit code, once all that is sent was read."""
        deadline = time.monotonic() + seconds
        while self._read(0.1):
            if time.monotonic() > deadline:
                self.close()
                raise AssertionError("\n".join(self.lines))
        os.close(self._terminal)
        return self.process.wait(10)

    def hang_up(self) -> None:
        """Let the terminal be gone, as a connection that broke."""
        os.close(self._terminal)

    def close(self) -> None:
        """End the command, however far it is."""
        self.process.kill()
        self.process.wait()

    def _read(self, seconds: float) -> bool:
        """Return False at the end."""
        if not select.select([self._terminal], [], [], seconds)[0]:
            return True
        try:
            sent = os.read(self._terminal, 4096)
        except OSError:  # the other end is closed
            return False
        self.sent += sent
        self._stream.feed(sent)
        return bool(sent)
