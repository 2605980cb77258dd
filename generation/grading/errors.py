"""Raised by graders that cannot judge an answer: the grade is then "unknown", with the error's `reason`.

CannotStartError is not about an answer, and ends the run.
"""

from generation.records import GRADER_DIED, GRADER_TIMED_OUT, OUT_OF_BOUNDS, SEVERAL, UNREADABLE


class RefusedError(ValueError):
    """The answer cannot be judged. The message says what is wrong with it; `reason` goes into the grade."""

    reason = UNREADABLE

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason or self.reason


class UnreadableError(RefusedError):
    """The text is not an answer of the required kind."""


class SeveralError(RefusedError):
    reason = SEVERAL


class OutOfBoundsError(RefusedError):
    reason = OUT_OF_BOUNDS


class TimedOutError(RefusedError):
    reason = GRADER_TIMED_OUT


class DiedError(RefusedError):
    reason = GRADER_DIED


class CannotStartError(RuntimeError):
    """No worker process starts; the message says why."""
