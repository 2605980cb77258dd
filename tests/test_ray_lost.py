"""Ray's own processes are killed: the run ends by itself, in words, and keeps what it had."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.processes import Job

pytestmark = pytest.mark.ray

FLAGS = ("--questions", "1000", "--rl_questions", "0", "--samples", "4")


@pytest.mark.parametrize(
    ("process", "told"),
    [
        ("raylet/raylet", "failed: ClusterLostError: Ray's process on this machine, the raylet, is dead"),
        ("gcs/gcs_server", "failed: ClusterLostError: Ray's head at"),
    ],
)
def test_ray_dies(tmp_path: Path, process: str, told: str) -> None:
    run = tmp_path / "run"
    job = Job("tests.drive_run", ["slow_reply", "--out", str(run), *FLAGS], tmp_path / "log")
    try:
        deadline = time.monotonic() + 120
        while not list(run.glob("shards/*.parquet")):
            assert job.process.poll() is None, job.output()
            assert time.monotonic() < deadline, job.output()
            time.sleep(0.02)
        (pid,) = job.find(process)
        os.kill(pid, signal.SIGKILL)
        assert job.wait(150) == 1, job.output()
        assert job.left_behind() == {}
    finally:
        job.clean()
    assert told in job.output()
    assert "questions are safe in" in job.output()
    assert f"{run}; the same command goes on from there" in job.output()
