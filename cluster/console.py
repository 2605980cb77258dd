"""Where a person looks."""

from __future__ import annotations

import sys


def bars() -> bool:
    """Whether progress may be drawn as a bar: not where a file or another program gets what is said."""
    return sys.stdout.isatty() and sys.stderr.isatty()
