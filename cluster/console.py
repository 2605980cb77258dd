"""Where a person looks: whether that is a terminal, and pages of text that may be piped on."""

from __future__ import annotations

import os
import sys


def bars() -> bool:
    """Whether progress may be drawn as a bar: not where a file or another program gets what is said."""
    return sys.stdout.isatty() and sys.stderr.isatty()


def page(text: str) -> None:
    """Print a text that is all there is to say; who reads it may stop early, as `head` does."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # What is left in the buffer goes nowhere when Python flushes it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
