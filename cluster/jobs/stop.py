"""How a command stops: by signals, the first of which leaves time for what is in flight."""

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from cluster.errors import Stopped

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)  # Slurm sends the last one before its time limit


class Stop:
    """A stop by signals: the first lets what is in flight finish within a grace period, the second does not."""

    def __init__(self, grace_s: float) -> None:
        self.asked = 0
        self._grace_s, self._at_once = grace_s, False
        self._tell: Callable[[float], object] | None = None
        self._until = 0.0
        self.silent = False  # True while what is drawn on the terminal tells it

    @property
    def left_s(self) -> float:
        """Return the seconds until a stop that was asked for waits no more."""
        return max(0.0, self._until - time.monotonic())

    def listen(self) -> None:
        """Install the signal handlers."""
        for number in _SIGNALS:
            signal.signal(number, self._hear)

    def _hear(self, *_: Any) -> None:
        self.asked += 1
        wait_s = 0.0 if self._at_once or self.asked > 1 else self._grace_s
        self._until = time.monotonic() + wait_s
        if self.asked == 1 and not self.silent:
            words = f"up to {wait_s:.0f} s for what is in flight; once more: at once" if wait_s else "at once"
            # Not print: the signal may have come in the middle of one. The stream may be a caller's, without a number.
            with suppress(OSError, ValueError):
                os.write(sys.stdout.fileno(), f"\nstopping    {words}\n".encode())
        if self._tell is not None:
            self._tell(wait_s)

    def on_stop(self, tell: Callable[[float], object] | None) -> None:
        """Have a stop call `tell` with the seconds left; call it now with 0 if a stop was requested before."""
        self._tell = tell
        if tell is not None and self.asked:
            tell(0.0)

    def interrupt(self, *, at_once: bool = False) -> None:
        """Raise Stopped, once, after the grace period of a stop, or `at_once`. For work that can be repeated."""
        signal.signal(signal.SIGALRM, self._raise)
        self._at_once = at_once
        # A timer of 0 s would never fire.
        self.on_stop(lambda wait_s: signal.setitimer(signal.ITIMER_REAL, max(0.001, wait_s)))

    def _raise(self, *_: Any) -> None:
        self._tell = None
        raise Stopped

    def defer(self) -> None:
        """Raise nothing from now on."""
        self._tell, self._at_once = None, False
        signal.setitimer(signal.ITIMER_REAL, 0.0)
