"""Engines given back in mid-run: closed and gone, while the others are still replaced when they die."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cluster.errors import EngineDiedError
from cluster.inference.engine import Engine, ScriptedEngine, ScriptedSettings
from cluster.inference.pool import Finished, Lost
from cluster.inference.ray_replicas import RayReplicas
from cluster.inference.replicas import LocalReplicas, Placement, ReplicaSet
from tests.stuck import reply

SILENCE_S = 1.0


@dataclass(frozen=True)
class Leaving(ScriptedSettings):
    """An engine leaves a file of its number when it is closed."""

    folder: str = ""
    number: int = 0

    def of(self, number: int) -> Leaving:
        return Leaving(reply, folder=self.folder, number=number)

    async def start(self) -> ScriptedEngine:
        return LeavingEngine(self)


class LeavingEngine(ScriptedEngine):
    def __init__(self, settings: Leaving) -> None:
        super().__init__(settings.reply)
        self._mark = Path(settings.folder, str(settings.number))

    async def close(self) -> None:
        await super().close()
        self._mark.touch()


class Clinging(ScriptedSettings):
    """An engine that never closes."""

    async def start(self) -> ScriptedEngine:
        return ClingingEngine(self.reply)


class ClingingEngine(ScriptedEngine):
    async def close(self) -> None:
        await asyncio.sleep(1000)


async def obey(engine: Engine, item: str) -> str:
    if item == "die":
        raise EngineDiedError("told to")
    return item


def outcome(replicas: ReplicaSet, number: int, item: str) -> Lost | Finished:
    """What becomes of an item, once the engine is ready."""
    while number not in replicas.ready():
        list(replicas.poll(0.1))
    replicas.submit(number, item)
    while True:
        for event in replicas.poll(0.1):
            if isinstance(event, Lost | Finished):
                return event


@pytest.mark.parametrize("kind", [LocalReplicas, pytest.param(RayReplicas, marks=pytest.mark.ray)])
@pytest.mark.parametrize(
    ("room", "back"),
    [
        (2, 1),  # what dies comes back, what was given back does not
        (1, 0),  # where there is room for one alone, it does: better than none
    ],
)
def test_one_that_was_given_back_is_closed_and_another_that_dies_is_replaced(
    kind: type[Any], room: int, back: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if kind is RayReplicas:
        request.getfixturevalue("ray_session")
    now = [2]
    placement = Placement(Leaving(reply, folder=str(tmp_path)), logs=tmp_path, room=lambda: now[0], silence_s=SILENCE_S)
    replicas = kind(placement, obey)
    try:
        assert isinstance(outcome(replicas, 0, "well"), Finished)
        assert isinstance(outcome(replicas, 1, "well"), Finished)
        replicas.release(0)
        assert replicas.ready() == [1]
        while not (tmp_path / "0").exists():
            assert not [event for event in replicas.poll(0.1) if isinstance(event, Lost)]
        now[0] = room
        assert isinstance(outcome(replicas, 1, "die"), Lost)
        assert isinstance(outcome(replicas, back, "well"), Finished)
        assert replicas.ready() == [back]
    finally:
        replicas.close()


def test_one_that_does_not_close_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.inference.replicas._GOODBYE_S", 0.5)
    killed: list[Any] = []

    class Watched(LocalReplicas):
        def kill(self, host: Any, running: Any) -> None:
            killed.append(host)
            super().kill(host, running)

    replicas = Watched(Placement(Clinging(reply), 2, silence_s=SILENCE_S), obey)
    try:
        for number in (0, 1):
            assert isinstance(outcome(replicas, number, "well"), Finished)
        replicas.release(0)
        while not killed:
            assert not [event for event in replicas.poll(0.1) if isinstance(event, Lost)]
        assert replicas.ready() == [1]
    finally:
        replicas.close()
