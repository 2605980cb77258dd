"""The crash test with a seed: sixty kills of every kind, and the rows of a run that nothing happened to.

`benchmarks.kills` does the killing; it can do more of it (see benchmarks/RESULTS.md). Most of the sixty are in
test_crash_nodes, whose Ray outlives the driver: a kill takes half as long there.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash_report import kill

pytestmark = pytest.mark.ray


def test_actors_raylets_drivers_and_writes(tmp_path: Path) -> None:
    report = kill("scripted", 4, tmp_path)
    assert report["kills"].keys() == {"actor", "driver", "raylet", "write"}
    assert report["again"] > 0


def test_a_run_that_grows(tmp_path: Path) -> None:
    """Killed while it is small, and while more is asked: twice as many questions and samples, and reflections."""
    report = kill("growing", 6, tmp_path)
    assert report["kills"].keys() == {"driver", "write", "actor"}


@pytest.mark.engine
def test_real_engine_cores_workers_and_drivers(tmp_path: Path) -> None:
    """An engine on Ray with a worker apart; vLLM's processes outlive neither of those that started them."""
    report = kill("vllm", 3, tmp_path)
    assert report["kills"].keys() == {"core", "worker", "driver"}


@pytest.mark.engine
def test_a_hosted_engine(tmp_path: Path) -> None:
    """An engine without Ray promises the same."""
    report = kill("hosted", 3, tmp_path)
    assert report["kills"].keys() == {"core", "driver"}
