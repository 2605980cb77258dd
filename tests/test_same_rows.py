"""The same rows whoever makes them: any number of engines, any order of completion, any deal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cluster.inference.engine import ScriptedSettings
from cluster.jobs.stop import Stop
from cluster.session import Node, Resources
from generation import produce as producing
from generation.placement import hire
from generation.plan import make_plan
from generation.produce import produce
from generation.settings import Settings
from generation.stages import open_store, write_raw_data
from tests.crash_engine import Paced
from tests.crash_report import files

QUESTIONS = 40


def make(folder: Path, engines: int, longest_s: float) -> tuple[dict[str, bytes], list[str]]:
    """RAW_DATA's files and the questions in the order in which they were finished."""
    settings = Settings(questions=QUESTIONS, rl_questions=0, engines=engines, out=str(folder))
    plan = make_plan(settings)
    (folder / "logs").mkdir(parents=True)
    store = open_store(folder)
    placement = hire(plan, settings, Resources((Node(gpus=0, cores=1, memory=0),)))
    produce(plan, store, replace(placement, settings=ScriptedSettings(Paced("", longest_s)), in_flight=5), Stop())
    finished = list(store.finished())
    write_raw_data(plan, store)
    return files(plan.raw_data), finished


@pytest.mark.ray
def test_one_two_and_four_engines_make_the_same_bytes(
    ray_session: Resources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producing, "SHARD_ROWS", 1)
    whole, order = make(tmp_path / "one", 1, 0.0)
    assert sum(map(len, whole.values())) > 10_000
    for engines, longest_s in ((2, 0.1), (4, 0.1), (4, 0.3)):
        made, other = make(tmp_path / f"{engines}-{longest_s}", engines, longest_s)
        assert made == whole
        assert sorted(other) == sorted(order)
        assert other != order, "an order that differs is what this is about"
