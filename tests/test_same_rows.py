"""The same rows whoever makes them: any number of engines, any order of completion, any deal."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.inference.engine import ScriptedSettings
from cluster.inference.replicas import Fleet
from cluster.jobs import tally
from generation.settings import Settings
from tests.crash_engine import Paced
from tests.crash_report import files
from tests.fleets import roll

QUESTIONS = 40


def make(folder: Path, engines: int, longest_s: float) -> tuple[dict[str, bytes], list[str]]:
    """RAW_DATA's files and the questions in the order in which they were finished."""
    settings = Settings(questions=QUESTIONS, rl_questions=0, out=str(folder))
    job = roll(settings, Fleet(ScriptedSettings(Paced("", longest_s)), engines, in_flight=5))
    assert job.code == 0
    return files(folder / "RAW_DATA"), list(job.store.finished())


def test_one_two_and_four_engines_make_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "SHARD_ROWS", 1)
    whole, order = make(tmp_path / "one", 1, 0.0)
    assert sum(map(len, whole.values())) > 10_000
    for engines, longest_s in ((2, 0.1), (4, 0.1), (4, 0.3)):
        made, other = make(tmp_path / f"{engines}-{longest_s}", engines, longest_s)
        assert made == whole
        assert sorted(other) == sorted(order)
        assert other != order, "an order that differs is what this is about"
