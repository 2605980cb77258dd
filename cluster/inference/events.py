"""What a pool tells while it works, and how it can end."""

from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from cluster.inference.engine import EngineInfo

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Loading:
    """An engine has a process, and loads the model there."""

    number: int


@dataclass(frozen=True)
class Started:
    """An engine is ready."""

    number: int
    info: EngineInfo


@dataclass(frozen=True)
class Lost:
    """An engine died; the items it held are dealt again."""

    number: int
    reason: str
    again: int = 0


@dataclass(frozen=True)
class Tick:
    """Nothing happened for a moment: time to look at the clock."""


@dataclass(frozen=True)
class Done(Generic[Item, Result]):
    """One item's result."""

    item: Item
    result: Result


@dataclass(frozen=True)
class Failed(Generic[Item]):
    """One item has no result, for a reason of its own; it was tried as often as it ever is."""

    item: Item
    reason: str
    """One line."""
    story: str
    """All that is known."""


Event: TypeAlias = Loading | Started | Lost | Tick | Done[Item, Result] | Failed[Item]
