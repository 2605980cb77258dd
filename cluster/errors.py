"""How work ends when not well; wrong input is a plain ValueError. All errors of ours, of higher rooms too:

BaseException  Stopped, Exception (ItemFailedError, NotPushed, OSError (StoreGoneError), RuntimeError, ValueError)
RuntimeError   AllFailedError, ClusterLostError, EngineDiedError (EngineMemoryError), EngineStartError, TornShardError,
               CannotStartError
ValueError     Dropped, NotComputedError, NothingMadeError, RefusedError (UnreadableError, SeveralError,
               OutOfBoundsError, TimedOutError, DiedError)
"""

import errno
from pathlib import Path


class Stopped(BaseException):
    """Work is left unfinished, on request. Not an Exception, so that nothing on the way takes it for a failure."""


class ItemFailedError(Exception):
    """The work cannot do this item. Another engine is asked once, as this one may be the cause."""


class NotPushed(Exception):
    """A folder did not reach the hub, in words for a person; the folder itself is untouched."""


class EngineDiedError(RuntimeError):
    """The engine will answer nothing more; another must be asked for what it held."""


class EngineMemoryError(EngineDiedError):
    """The engine died for lack of memory; with smaller limits it may live."""


class EngineStartError(RuntimeError):
    """An engine failed to start several times in a row; the message is its own."""


class ClusterLostError(RuntimeError):
    """Ray itself is gone: nothing more can be dealt."""


class TornShardError(RuntimeError):
    """A shard could not be read when it was needed. It was set aside, and its questions are owed again."""


class AllFailedError(RuntimeError):
    """Nothing that was asked could be done; `advice` says what the same command would do."""

    def __init__(self, words: str, advice: str) -> None:
        super().__init__(words)
        self.advice = advice


class StoreGoneError(OSError):
    """The folder of the run was removed or replaced while the run went on."""

    def __init__(self, folder: Path) -> None:
        super().__init__(errno.ENOENT, "removed or replaced while the run went on", str(folder))
