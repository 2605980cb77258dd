"""How requests, items, engines and runs end when not well; wrong input is ValueError, and none of these.

BaseException  Stopped
Exception      ItemFailedError, NotPushed
RuntimeError   EngineDiedError (EngineMemoryError), EngineStartError, ClusterLostError, TornShardError, AllFailedError
OSError        StoreGoneError
"""

import errno
from pathlib import Path


class Stopped(BaseException):
    """Work is left where it stands; no Exception, so that nothing on the way takes it for a failure."""


class ItemFailedError(Exception):
    """Raised by the work: this item cannot be done. Another engine is asked once: it may be the engine's fault."""


class NotPushed(Exception):
    """A folder did not reach the hub, in words for a person; the folder itself is untouched."""


class EngineDiedError(RuntimeError):
    """The engine will answer nothing any more; what it held must be asked of another."""


class EngineMemoryError(EngineDiedError):
    """The engine died for lack of memory; with smaller limits it may live."""


class EngineStartError(RuntimeError):
    """An engine did not start, several times in a row; the message is its own."""


class ClusterLostError(RuntimeError):
    """Ray itself is gone: nothing more can be dealt."""


class TornShardError(RuntimeError):
    """A shard could not be read when it was needed. It was set aside, and its questions are owed again."""


class AllFailedError(RuntimeError):
    """Nothing that was asked could be done."""

    def __init__(self, words: str, advice: str) -> None:
        super().__init__(words)
        self.advice = advice
        """What the same command would do."""


class StoreGoneError(OSError):
    """The folder of the run was removed or replaced while the run went on."""

    def __init__(self, folder: Path) -> None:
        super().__init__(errno.ENOENT, "removed or replaced while the run went on", str(folder))
