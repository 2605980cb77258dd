"""How a job gets its engines: a stand-in until the pool is free of Ray."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

from cluster.inference.actor import EngineSettings, own_words
from cluster.inference.engine import Engine
from cluster.inference.events import Done, Event, Failed, ItemFailedError, Loading, Started


class Pool(Protocol):
    """Deals items to engines."""

    def run(self, items: Iterable[Any]) -> Iterator[Event[Any, Any]]: ...

    def stop(self, grace_s: float) -> None: ...


class Fleet(Protocol):
    """Opens engines for a job."""

    @property
    def engines(self) -> int: ...

    @property
    def gpus_each(self) -> int: ...

    def open(self, work: Callable[[Engine, Any], Awaitable[Any]], logs: Path) -> AbstractContextManager[Pool]: ...


class LocalFleet:
    """Engines in this process."""

    gpus_each = 0

    def __init__(self, settings: EngineSettings, engines: int = 1, in_flight: int = 4) -> None:
        self.engines = engines
        self._settings = settings

    @contextmanager
    def open(self, work: Callable[[Engine, Any], Awaitable[Any]], logs: Path) -> Iterator[Pool]:
        yield _Local(self._settings, work)


class _Local:
    def __init__(self, settings: EngineSettings, work: Callable[[Engine, Any], Awaitable[Any]]) -> None:
        self._settings, self._work = settings, work
        self._stopped = False

    def stop(self, grace_s: float) -> None:
        self._stopped = True

    def run(self, items: Iterable[Any]) -> Iterator[Event[Any, Any]]:
        with asyncio.Runner() as runner:
            yield Loading(0)
            engine = runner.run(self._settings.start())
            yield Started(0, engine.info)
            for item in items:
                if self._stopped:
                    break
                try:
                    yield Done(item, runner.run(self._one(engine, item)))
                except ItemFailedError as error:
                    yield Failed(item, str(error), own_words(error))
            runner.run(engine.close())

    async def _one(self, engine: Engine, item: Any) -> Any:
        return await self._work(engine, item)
