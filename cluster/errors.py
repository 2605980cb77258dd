"""Exceptions; invalid input is a plain ValueError. The hierarchy, with those defined in higher packages:

BaseException  Stopped, Exception (ItemFailedError, NotPushed, PassingError, OSError (StoreGoneError))
RuntimeError   AllFailedError, ClusterLostError, EngineDiedError (EngineMemoryError), EngineStartError,
               ServerFailedError, TornShardError, CannotStartError
ValueError     Dropped, NotComputedError, NothingMadeError, ServerRefusedError, RefusedError (UnreadableError,
               SeveralError, OutOfBoundsError, TimedOutError, DiedError)
"""

import errno
from pathlib import Path


class Stopped(BaseException):
    """A stop was requested. Not an Exception, so that no handler on the way takes it for a failure."""


class ItemFailedError(Exception):
    """The work failed on this item. It is retried once on another engine, as this one may be at fault."""


class NotPushed(Exception):
    """A folder could not be pushed to the hub. The message is for the user; the folder is unchanged."""


class EngineDiedError(RuntimeError):
    """The engine will not answer again; the items it held must go to another one."""


class EngineMemoryError(EngineDiedError):
    """The engine ran out of memory; it may live with smaller limits."""


class EngineStartError(RuntimeError):
    """An engine failed to start several times in a row; the message is the engine's own."""


class ServerFailedError(RuntimeError):
    """A server did not answer this request however often it was asked, while it answered others."""


class ServerRefusedError(ValueError):
    """A server refuses what it is asked, and would again; the message is the server's own."""

    def __init__(self, words: str, status: int) -> None:
        super().__init__(words)
        self.status = status  # of HTTP, 3xx or 4xx


class ClusterLostError(RuntimeError):
    """Ray itself is gone, so nothing more can be scheduled."""


class TornShardError(RuntimeError):
    """A shard could not be read when it was needed. It was set aside, and its items are owed again."""


class AllFailedError(RuntimeError):
    """Everything that was tried failed; `advice` says what rerunning the command would do."""

    def __init__(self, words: str, advice: str) -> None:
        super().__init__(words)
        self.advice = advice


class StoreGoneError(OSError):
    """The run directory was removed or replaced during the run."""

    def __init__(self, folder: Path) -> None:
        super().__init__(errno.ENOENT, "removed or replaced while the run went on", str(folder))
