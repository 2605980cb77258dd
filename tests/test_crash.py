"""Stopped, torn or without an actor, the same command goes on: no row lost, none twice, no process left behind.

What happens when a driver is killed is seen in test_kills and test_crash_nodes.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.processes import Job

pytestmark = pytest.mark.ray

QUESTIONS = 60


@pytest.fixture
def drive(start: Callable[..., Job], tmp_path: Path) -> Callable[..., Job]:
    """Starts the scripted job on one run directory."""

    def drive(reply: str = "slow_reply", **environment: str) -> Job:
        return start("tests.drive", str(tmp_path / "run"), str(QUESTIONS), reply, **environment)

    return drive


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The dataset files of a run that nothing happened to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    job = Job("tests.drive", [str(folder / "run"), str(QUESTIONS), "slow_reply"], folder / "log")
    try:
        assert job.wait() == 0, job.output()
        assert job.left_behind() == {}
    finally:
        job.clean()
    return dataset(folder / "run")


def dataset(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((run / "RAW_DATA").rglob("*.parquet"))}


def shards(run: Path) -> list[Path]:
    return list((run / "shards").glob("*.parquet"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_stop_on_request(
    drive: Callable[..., Job], tmp_path: Path, undisturbed: dict[str, bytes], number: signal.Signals
) -> None:
    job = drive()
    job.wait_for(lambda: shards(tmp_path / "run"))
    if number == signal.SIGINT:
        os.killpg(job.process.pid, number)  # as Ctrl-C does: to every process of the terminal's group
    else:
        job.process.send_signal(number)
    assert job.wait(60) == 75, job.output()
    assert job.left_behind() == {}
    again = drive()
    assert again.wait() == 0, again.output()
    assert "going on: " in again.output()
    assert dataset(tmp_path / "run") == undisturbed


def test_an_actor_is_killed(drive: Callable[..., Job], tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    bait = tmp_path / "bait"
    bait.touch()
    job = drive("dying_reply", SKILLFACTORY_TEST_BAIT=str(bait))
    assert job.wait() == 0, job.output()
    assert not bait.exists()
    assert "was lost" in job.output()
    assert "done, 0 questions again" not in job.output()
    assert job.left_behind() == {}
    assert dataset(tmp_path / "run") == undisturbed


def test_a_torn_shard_is_asked_again(drive: Callable[..., Job], tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    job = drive()
    assert job.wait() == 0, job.output()
    shard = min(shards(tmp_path / "run"))
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])
    again = drive()
    assert again.wait() == 0, again.output()
    assert "was torn" in again.output()
    assert dataset(tmp_path / "run") == undisturbed
