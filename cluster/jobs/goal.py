"""A run that ends early: when the first of its items, in order, are worth what is wanted of them together."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

Worth = Callable[[pa.Table], Mapping[str, int]]
"""Returns what the rows of finished items are worth, by the items' keys."""


class Goal:
    """What a run wants of its items, counted as they end.

    The items that count are the longest beginning of their order in which each is finished or failed, so which rows a
    run keeps does not depend on the order in which items end.
    """

    def __init__(self, wanted: int, unit: str, worth: Worth) -> None:
        """Take `unit` as what is counted, in the plural."""
        self.wanted, self.unit, self._worth_of = wanted, unit, worth
        self.worth = 0  # of the items that count
        self._order: Sequence[str] = ()
        self._counted = 0
        self._worths: dict[str, int] = {}

    def begin(self, order: Sequence[str], rows: Iterable[pa.Table] = (), failed: Collection[str] = ()) -> None:
        """Take the keys of the run's items, in order, and what has ended of them."""
        self._order = order
        for table in rows:
            self.finish(table)
        self.fail(failed)

    def keep(self, ended: Collection[str]) -> None:
        """Forget what was taken of items other than these."""
        self._worths = {key: worth for key, worth in self._worths.items() if key in ended}
        self.worth = self._counted = 0

    def finish(self, rows: pa.Table) -> None:
        """Take all rows of finished items; of an item that was taken before, nothing changes."""
        for key, worth in self._worth_of(rows).items():
            self._worths.setdefault(key, worth)

    def fail(self, keys: Collection[str]) -> None:
        """Take items that failed, which are worth nothing."""
        for key in keys:
            self._worths.setdefault(key, 0)

    def unknown(self, keys: Collection[str]) -> list[str]:
        """Return those of the run's items with these keys that were not taken yet."""
        return [key for key in self._order if key in keys and key not in self._worths]

    def progress(self, item: str) -> tuple[str, dict[str, Any]]:
        """Return how far it is reached, in words and for run.json."""
        short = "" if self.reached else f" of the {self.wanted:,} wanted"
        words = f"{self.worth:,}{short} {self.unit} possible after {self.items:,} of {len(self._order):,} {item}s"
        return words, {self.unit: {"wanted": self.wanted, "possible": self.worth, f"{item}s": self.items}}

    @property
    def items(self) -> int:
        """Return how many of the first items count so far; no more than are needed."""
        while self.worth < self.wanted and self._counted < len(self._order):
            if (worth := self._worths.get(self._order[self._counted])) is None:
                break
            self.worth += worth
            self._counted += 1
        return self._counted

    @property
    def reached(self) -> bool:
        """Return True if the items that count suffice."""
        return self.items > 0 and self.worth >= self.wanted
