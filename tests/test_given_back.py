"""Engines given back in mid-run: they are gone, and the others are still replaced when they die."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cluster.inference.engine import ScriptedEngine, ScriptedSettings
from cluster.inference.pool import Finished, Lost
from cluster.inference.ray_replicas import RayReplicas
from cluster.inference.replicas import LocalReplicas, Placement
from tests.stuck import obey, outcome, reply

SILENCE_S = 1.0


@dataclass(frozen=True)
class Leaving(ScriptedSettings):
    """An engine leaves files of its number: one with its process, and one when it is closed."""

    folder: str = ""
    number: int = 0

    def of(self, number: int) -> Leaving:
        return Leaving(reply, folder=self.folder, number=number)

    async def start(self) -> ScriptedEngine:
        return LeavingEngine(self)


class LeavingEngine(ScriptedEngine):
    def __init__(self, settings: Leaving) -> None:
        super().__init__(settings.reply)
        self._mark = Path(settings.folder, f"{settings.number}.closed")
        Path(settings.folder, f"{settings.number}.pid").write_text(str(os.getpid()))

    async def close(self) -> None:
        await super().close()
        self._mark.touch()


@pytest.mark.parametrize("kind", [LocalReplicas, pytest.param(RayReplicas, marks=pytest.mark.ray)])
@pytest.mark.parametrize(
    ("room", "back"),
    [
        (2, 1),  # what dies comes back, what was given back does not
        (1, 0),  # where there is room for one alone, it does: better than none
    ],
)
def test_one_that_was_given_back_is_gone_and_another_that_dies_is_replaced(
    kind: type[Any], room: int, back: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if kind is RayReplicas:
        request.getfixturevalue("ray_session")
    now = [2]

    def gone() -> bool:
        pid = int((tmp_path / "0.pid").read_text())
        return (tmp_path / "0.closed").exists() if pid == os.getpid() else not Path(f"/proc/{pid}").exists()

    placement = Placement(Leaving(reply, folder=str(tmp_path)), logs=tmp_path, room=lambda: now[0], silence_s=SILENCE_S)
    replicas = kind(placement, obey)
    try:
        assert isinstance(outcome(replicas, 0, "well"), Finished)
        assert isinstance(outcome(replicas, 1, "well"), Finished)
        replicas.release(0)
        assert replicas.ready() == [1]
        while not gone():
            assert not [event for event in replicas.poll(0.1) if isinstance(event, Lost)]
        now[0] = room
        assert isinstance(outcome(replicas, 1, "die"), Lost)
        assert isinstance(outcome(replicas, back, "well"), Finished)
        assert replicas.ready() == [back]
    finally:
        replicas.close()
