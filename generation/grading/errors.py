"""Why an answer cannot be judged: a grader raises one of these, and the grade is "unknown" with its reason.

CannotStartError is no answer's fault, and ends the run.
"""

from generation.records import GRADER_DIED, GRADER_TIMED_OUT, OUT_OF_BOUNDS, SEVERAL, UNREADABLE


class RefusedError(ValueError):
    """The answer cannot be judged. The message says what is wrong with the text, `reason` what the grade says."""

    reason = UNREADABLE

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason or self.reason


class UnreadableError(RefusedError):
    """The text is not an answer of the kind that is asked for."""


class SeveralError(RefusedError):
    reason = SEVERAL


class OutOfBoundsError(RefusedError):
    reason = OUT_OF_BOUNDS


class TimedOutError(RefusedError):
    reason = GRADER_TIMED_OUT


class DiedError(RefusedError):
    reason = GRADER_DIED


class CannotStartError(RuntimeError):
    """No worker process comes up; the message says why."""
