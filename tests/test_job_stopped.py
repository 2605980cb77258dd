"""The whole job on real vLLM with two workers to an engine, asked to stop; then the same command again."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.processes import Job
from tests.raw_rows import assert_whole

pytestmark = [pytest.mark.ray, pytest.mark.engine]


def test_tensor_parallel_and_a_stop(start: Callable[..., Job], tmp_path: Path) -> None:
    """Two workers for one engine, asked to stop while it starts: nothing is lost since nothing was made."""
    flags = ("--questions", "4", "--rl_questions", "0", "--variants", "original", "--tensor_parallel", "2")
    command = ("generation.run", *flags, "--attempts", "1", "--out", str(tmp_path / "run"))
    job = start(*command)
    job.wait_for(lambda: len(job.find("VLLM::Worker")) == 2)
    job.process.send_signal(signal.SIGTERM)
    assert job.wait(60) == 75, job.output()
    assert job.left_behind() == {}
    again = start(*command)
    assert again.wait() == 0, again.output()
    assert_whole(tmp_path / "run", questions=4, variants=1, samples=2)
    assert again.left_behind() == {}
