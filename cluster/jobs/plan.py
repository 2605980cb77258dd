"""What a job needs to know of a command's plan: the model, the items that are dealt, and how their rows are kept."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Protocol, Self

import pyarrow as pa

from cluster.inference.engine import Sampling
from cluster.inference.models import Model
from cluster.jobs.run_directory import JSON
from cluster.jobs.store import KEY


class Item(Protocol):
    """What is dealt to engines."""

    @property
    def key(self) -> str: ...

    @property
    def task(self) -> str:
        """Whose question it is; empty where that cannot be said."""
        ...

    @property
    def text(self) -> str:
        """The whole question, or what else a person may know it by."""
        ...


@dataclass(frozen=True, kw_only=True)
class JobPlan(ABC):
    """What a run will do."""

    schema: ClassVar[pa.Schema]
    """Of shards."""
    sort_by: ClassVar[tuple[str, ...]]
    """Columns that order the rows of an item."""
    key: ClassVar[str] = KEY
    """The column that names the item."""
    item: ClassVar[str] = "question"
    """What is dealt."""
    unit: ClassVar[str] = "questions"
    """What is counted for a person."""

    model: Model
    sampling: Sampling
    context: int
    """Of the engines, in tokens."""
    per_item: int
    """Requests that one item makes at once."""
    out: Path
    license: str
    """That the cards name."""
    notes: tuple[str, ...] = ()
    """What a person should know before it starts."""
    texts: Mapping[str, JSON] = field(default_factory=dict)
    """Every text that is used, for run.json."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Return what dataset repositories are called after."""

    @property
    @abstractmethod
    def configuration(self) -> Mapping[str, JSON]:
        """Return what makes a run this run: whatever the rows depend on."""

    @property
    @abstractmethod
    def keys(self) -> Sequence[str]:
        """Return the keys of all items, in order."""

    @abstractmethod
    def items(self, keys: Collection[str]) -> Iterable[Item]:
        """Return the items of these keys, in order."""

    @abstractmethod
    def introduction(self) -> Iterable[tuple[str, str]]:
        """Return what a person sees first, by stage."""

    def size(self, key: str) -> int:
        """Return how many units the item of this key stands for."""
        return 1

    def count(self, keys: Iterable[str]) -> int:
        """Return how many units these items stand for."""
        return sum(map(self.size, keys))

    def noting(self, *notes: str) -> Self:
        """Return the plan with these notes, but the empty ones, behind those it has."""
        return replace(self, notes=(*self.notes, *filter(None, notes)))
