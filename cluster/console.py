"""Whether a person is watching the terminal."""

from __future__ import annotations

import sys


def bars() -> bool:
    """Return True if progress may be drawn as a bar: both streams are terminals, not files or pipes."""
    return sys.stdout.isatty() and sys.stderr.isatty()
