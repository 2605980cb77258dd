"""Pieces of messages to people: an error in one line, a list cut short, reasons with counts, a text's beginning."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def first_line(error: BaseException) -> str:
    """Return the first line of what the error says, or its type where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def listed(names: Sequence[str], most: int) -> str:
    """Return the names separated by commas; beyond `most` they are only counted."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def counted(reasons: Counter[str]) -> str:
    """Return each reason with its count, the most frequent first."""
    return ", ".join(f"{reason} ({count:,})" for reason, count in reasons.most_common())


def excerpt(text: str, longest: int = 50) -> str:
    """Return the beginning of a text, quoted, on one line."""
    words = " ".join(text.split())
    return repr(words if len(words) <= longest else words[: longest - 3] + "...")
