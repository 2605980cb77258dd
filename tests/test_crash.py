"""Whatever is killed, the same command goes on: no row lost, none twice, no process left behind."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.processes import Job

pytestmark = pytest.mark.ray

QUESTIONS = 60


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Job]]:
    """Starts the scripted job on one run directory; ends whatever a failed test leaves."""
    jobs: list[Job] = []

    def start(reply: str = "slow_reply", **environment: str) -> Job:
        args = [str(tmp_path / "run"), str(QUESTIONS), reply]
        jobs.append(Job("tests.drive", args, tmp_path / "log", environment))
        return jobs[-1]

    yield start
    for job in jobs:
        job.clean()


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


def wait_for_shards(run: Path, count: int, job: Job) -> None:
    deadline = time.monotonic() + 120
    while len(list((run / "shards").glob("*.parquet"))) < count:
        assert job.process.poll() is None, job.output()
        assert time.monotonic() < deadline, job.output()
        time.sleep(0.02)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_driver_is_killed(
    start: Callable[..., Job], tmp_path: Path, undisturbed: dict[str, bytes], seed: int
) -> None:
    job = start()
    wait_for_shards(tmp_path / "run", 1, job)
    time.sleep(random.Random(seed).random())
    job.process.send_signal(signal.SIGKILL)
    assert job.wait() == -signal.SIGKILL
    assert job.left_behind() == {}
    again = start()
    assert again.wait() == 0, again.output()
    assert "going on: " in again.output()
    assert dataset(tmp_path / "run") == undisturbed


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_stop_on_request(
    start: Callable[..., Job], tmp_path: Path, undisturbed: dict[str, bytes], number: signal.Signals
) -> None:
    job = start()
    wait_for_shards(tmp_path / "run", 1, job)
    if number == signal.SIGINT:
        os.killpg(job.process.pid, number)  # as Ctrl-C does: to every process of the terminal's group
    else:
        job.process.send_signal(number)
    assert job.wait(60) == 75, job.output()
    assert job.left_behind() == {}
    again = start()
    assert again.wait() == 0, again.output()
    assert dataset(tmp_path / "run") == undisturbed


def test_an_actor_is_killed(start: Callable[..., Job], tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    bait = tmp_path / "bait"
    bait.touch()
    job = start("dying_reply", SKILLFACTORY_TEST_BAIT=str(bait))
    assert job.wait() == 0, job.output()
    assert not bait.exists()
    assert "was lost" in job.output()
    assert "done, 0 questions again" not in job.output()
    assert job.left_behind() == {}
    assert dataset(tmp_path / "run") == undisturbed


def test_a_torn_shard_is_asked_again(start: Callable[..., Job], tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    job = start()
    assert job.wait() == 0, job.output()
    shard = min((tmp_path / "run" / "shards").glob("*.parquet"))
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])
    again = start()
    assert again.wait() == 0, again.output()
    assert "was torn" in again.output()
    assert dataset(tmp_path / "run") == undisturbed
