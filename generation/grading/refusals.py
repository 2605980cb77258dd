"""Why an answer cannot be judged: what the readers of answers raise. A grader makes a reason of each."""

from __future__ import annotations

from generation.records import OUT_OF_BOUNDS, SEVERAL, UNREADABLE, Grade


class RefusedError(ValueError):
    """The text cannot be judged; `reason` is what a grade says of it."""

    reason = UNREADABLE


class UnreadableError(RefusedError):
    """The text is not an answer of the kind that is asked for."""


class SeveralError(RefusedError):
    """The text is more than one answer."""

    reason = SEVERAL


class OutOfBoundsError(RefusedError):
    """The text, or a number on the way to its value, is larger than is worth reading."""

    reason = OUT_OF_BOUNDS


def refused(error: RefusedError, answer: str) -> Grade:
    """The grade of an answer that was refused."""
    return Grade("unknown", error.reason, answer)
