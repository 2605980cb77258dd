"""Replicas that do what a test tells them, at once, on no engine: what the scheduler sees of engines, and no more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from cluster.errors import EngineDiedError
from cluster.inference.pool import Finished, Loading, Lost, Started, Vacant

Work = Callable[[int, Any], Any]
"""Returns the result of an item on the replica of this number; an EngineDiedError is the replica's death."""


class Later(Exception):
    """The item goes on until the next poll."""


class FakeReplicas:
    """All ready from the start, and again in the poll after their death; each has room for `full` requests."""

    def __init__(self, count: int, work: Work, full: int = 1_000) -> None:
        self.dealt: list[tuple[int, Any]] = []
        """Every item with the replica that it was dealt to, in order."""
        self.watched: list[tuple[int, bool]] = []
        """Of whom a Vacant was asked for, and whether an early one, in order."""
        self.released: list[int] = []
        self.closed = False
        self._count = count
        self._work = work
        self._full = full
        self._per_item: dict[int, int] = {}
        """Of the replicas that are to tell when they have room."""
        self._running: dict[int, tuple[int, Any]] = {}
        self._dead = set[int]()

    def ready(self) -> list[int]:
        return [number for number in range(self._count) if number not in {*self._dead, *self.released}]

    def submit(self, number: int, item: Any) -> int:
        assert number not in self._dead
        self.dealt.append((number, item))
        self._running[len(self.dealt)] = (number, item)
        return len(self.dealt)

    def watch(self, number: int, items: int, per_item: int, early: bool) -> None:
        self.watched.append((number, early))
        self._per_item[number] = per_item

    def release(self, number: int) -> None:
        self.released.append(number)

    def running(self, number: int) -> list[Any]:
        return [item for holder, item in self._running.values() if holder == number]

    def poll(self, timeout_s: float) -> Iterator[Loading | Started | Lost | Finished | Vacant]:
        self._dead.clear()
        for number, per_item in list(self._per_item.items()):
            if (vacant := self._full - per_item * len(self.running(number))) > 0:
                del self._per_item[number]
                yield Vacant(number, vacant)
        for ticket in list(self._running):
            if ticket not in self._running:
                continue  # its replica died meanwhile
            number, item = self._running[ticket]
            try:
                result = self._work(number, item)
            except Later:
                continue
            except EngineDiedError as error:
                self._dead.add(number)
                self._per_item.pop(number, None)
                self._running = {held: on for held, on in self._running.items() if on[0] != number}
                yield Lost(number, str(error))
                continue
            except Exception as error:
                del self._running[ticket]
                yield Finished(number, ticket, error=error)
                continue
            del self._running[ticket]
            yield Finished(number, ticket, result)

    def close(self) -> None:
        self.closed = True
