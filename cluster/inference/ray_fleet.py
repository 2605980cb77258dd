"""A fleet of Ray's: a stand-in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from cluster.inference.actor import EngineSettings
from cluster.inference.engine import Engine
from cluster.inference.models import Model
from cluster.inference.pool import Placement, Pool
from cluster.nodes import check_nodes
from cluster.session import Resources, session


class RayFleet:
    """Engines as actors of Ray."""

    engines = gpus_each = 0

    def __init__(
        self,
        address: str | None,
        model: Model,
        place: Callable[[Resources], tuple[EngineSettings, Placement]],
    ) -> None:
        self._address, self._model, self._place = address, model, place

    @contextmanager
    def open(self, work: Callable[[Engine, Any], Awaitable[Any]], logs: Path) -> Iterator[Pool[Any, Any]]:
        with session(self._address) as resources:
            if self._address is not None:
                check_nodes(self._model.path, self._model.hub_revision)
            settings, placement = self._place(resources)
            self.engines, self.gpus_each = placement.engines, placement.gpus_each
            with Pool[Any, Any](settings, work, replace(placement, logs=logs)) as pool:
                yield pool
