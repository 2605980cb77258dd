"""The whole job on real vLLM, of which a part is killed, or which is asked to stop; then the same command again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.processes import Job
from tests.raw_rows import assert_whole

pytestmark = [pytest.mark.ray, pytest.mark.engine]


def test_an_engine_core_is_killed_then_the_driver(start: Callable[..., Job], tmp_path: Path) -> None:
    """First the engine's own process, in mid-run; then the driver; then the same command ends the job."""
    flags = ("--questions", "240", "--rl_questions", "0", "--variants", "original,rephrase", "--engines", "2")
    command = ("generation.run", *flags, "--out", str(tmp_path / "run"))
    job = start(*command)
    job.wait_for(lambda: list((tmp_path / "run" / "shards").glob("*.parquet")))
    core = job.find("EngineCore")
    assert len(core) == 2, core
    os.kill(core[0], signal.SIGKILL)
    job.wait_for(lambda: "was lost" in job.output())
    job.wait_for(lambda: job.output().count(" ready") == 3)
    assert len(job.find("EngineCore")) == 2
    assert len(job.find("VLLM::Worker")) == 2
    job.process.send_signal(signal.SIGKILL)
    job.wait()
    assert job.left_behind() == {}
    again = start(*command)
    assert again.wait() == 0, again.output()
    assert "going on: " in again.output()
    assert_whole(tmp_path / "run", questions=240, variants=2, samples=2)
    assert again.left_behind() == {}


def test_tensor_parallel_and_a_stop(start: Callable[..., Job], tmp_path: Path) -> None:
    """Two workers for one engine, asked to stop while it starts: nothing is lost since nothing was made."""
    flags = ("--questions", "4", "--rl_questions", "0", "--variants", "original", "--tensor_parallel", "2")
    command = ("generation.run", *flags, "--out", str(tmp_path / "run"))
    job = start(*command)
    job.wait_for(lambda: len(job.find("VLLM::Worker")) == 2)
    job.process.send_signal(signal.SIGTERM)
    assert job.wait(60) == 75, job.output()
    assert job.left_behind() == {}
    again = start(*command)
    assert again.wait() == 0, again.output()
    assert_whole(tmp_path / "run", questions=4, variants=1, samples=2)
