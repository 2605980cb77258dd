"""A stop that somebody asks for by a signal: Ctrl-C, SIGTERM, or SIGUSR1, which Slurm sends before its time limit.

The first signal drains: what is in flight may end within a grace. The second does not wait.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cluster.errors import Left

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
_AT_ONCE_S = 0.001


@dataclass
class Stop:
    """Counts the requests to stop, and passes them on."""

    grace_s: float = 20.0
    asked: int = 0
    _tell: Callable[[float], object] | None = None

    def listen(self) -> None:
        """Take the signals over; again after ray.init, which replaces handlers."""
        for number in _SIGNALS:
            signal.signal(number, self._hear)

    def _hear(self, *_: Any) -> None:
        self.asked += 1
        if self.asked == 1:
            drain = f"up to {self.grace_s:.0f} s for what is in flight; once more: at once"
            # Not print: the signal may have come in the middle of one.
            os.write(1, f"\nstopping    {drain if self.grace_s else 'at once'}\n".encode())
        if self._tell is not None:
            self._tell(self.grace_s if self.asked == 1 else 0.0)

    def on_stop(self, tell: Callable[[float], object] | None) -> None:
        """Have a stop call `tell` with the seconds that are left; at once with 0 if one was asked for before."""
        self._tell = tell
        if tell is not None and self.asked:
            tell(0.0)

    @contextmanager
    def leaving(self, *, at_once: bool = False) -> Iterator[None]:
        """Raise Left in the block, once, when a stop's grace is over; at once if one was asked for before.

        For work that loses nothing when it is left, since the same command does it again.
        """
        grace_s = self.grace_s

        def leave(*_: Any) -> None:
            self._tell = None
            raise Left

        before = signal.signal(signal.SIGALRM, leave)
        try:
            self.grace_s = 0.0 if at_once else grace_s
            self.on_stop(lambda wait_s: signal.setitimer(signal.ITIMER_REAL, max(_AT_ONCE_S, wait_s)))
            yield
        finally:
            self._tell, self.grace_s = None, grace_s
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, before)
