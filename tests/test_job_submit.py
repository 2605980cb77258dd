"""`ray job submit` to a cluster that `ray start` made: the code travels with the job, the rows stay where it said."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
import pytest

from tests.ray_head import RAY, ROOT, ray_head

pytestmark = pytest.mark.ray

QUESTIONS = 6


class Cluster(NamedTuple):
    """A Ray of its own, and the environment of those who may talk to it."""

    dashboard: str
    client: str
    slow: Path
    """What is written there: tests/slow_ray."""
    environment: dict[str, str]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    log = tmp_path_factory.mktemp("ray") / "ray.log"
    more = {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests" / "slow_ray")]),
        "SKILLFACTORY_TEST_SLOW": str(log.with_name("slow")),
    }
    with ray_head("submit", log, more) as head:
        yield Cluster(head.dashboard, head.client, log.with_name("slow"), head.environment)


def copy_code(code: Path) -> Path:
    """The project with a word of its own, so that one sees whose code has run."""
    for name in ("cluster", "reflection", "generation", "assembly", "tests"):
        shutil.copytree(ROOT / name, code / name, ignore=shutil.ignore_patterns("__pycache__", "golden"))
    drive = code / "tests" / "drive_run.py"
    drive.write_text(drive.read_text().replace("engines on", "engines of the submitted code on"))
    return code


def flags(address: str, out: Path) -> list[str]:
    words = ["--address", address, "--grace_s", "1", "--questions", str(QUESTIONS), "--rl_questions", "0"]
    return [sys.executable, "-m", "tests.slurm.drive", *words, "--out", str(out)]


def rows(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((out / "RAW_DATA").rglob("*.parquet"))}


def test_a_submitted_job_brings_its_code_is_stopped_and_ends_when_it_is_submitted_again(
    cluster: Cluster, tmp_path: Path
) -> None:
    """Rows are those of a job that came through Ray's client, without a stop."""
    code, out, other = copy_code(tmp_path / "code"), tmp_path / "run", tmp_path / "other"
    runtime = {"excludes": ["spy"], "env_vars": {"SKILLFACTORY_TEST_SLOWNESS": "1"}}
    words = ["--working-dir", str(code), "--runtime-env-json", json.dumps(runtime)]
    slow = submit(cluster, [*words, "--no-wait", "--submission-id", "one", "--", *flags("auto", out)], tmp_path)
    assert slow.returncode == 0, slow.stdout + slow.stderr
    wait_until(lambda: list((out / "shards").glob("*.parquet")), lambda: logs(cluster, "one"))
    stopped = ray_job(cluster, ["stop", "one"], tmp_path)
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    assert "engines of the submitted code on 1 nodes" in logs(cluster, "one")
    assert not (out / "RAW_DATA").exists()
    words[-1] = json.dumps({"excludes": ["spy"]})
    done = submit(cluster, [*words, "--", *flags("auto", out)], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "going on: " in done.stdout
    cluster.slow.write_text("--mode=specific-server")
    through_client = subprocess.run(
        flags(cluster.client, other),
        env=cluster.environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert through_client.returncode == 0, through_client.stdout + through_client.stderr
    assert f"Ray's head at {cluster.client} made no process for this run, time 1 of 5: " in through_client.stderr
    assert "Proxy failed to Connect to backend!" in through_client.stderr
    assert pq.read_table(out / "RAW_DATA" / "data").num_rows == QUESTIONS * 4 * 2
    assert rows(out) == rows(other)


def wait_until(what: Callable[[], object], why: Callable[[], str], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, why()
        time.sleep(0.1)


def logs(cluster: Cluster, job: str) -> str:
    return ray_job(cluster, ["logs", job], ROOT).stdout


def ray_job(cluster: Cluster, words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    command = [RAY, "job", words[0], "--address", cluster.dashboard, *words[1:]]
    return subprocess.run(
        command, env=cluster.environment, cwd=folder, capture_output=True, text=True, check=False, timeout=180
    )


def submit(cluster: Cluster, words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """The dashboard answers before its node has an agent to give the job to: asked again, as it says."""
    deadline = time.monotonic() + 60
    while True:
        done = ray_job(cluster, ["submit", *words], folder)
        if "No available agent" not in done.stdout + done.stderr or time.monotonic() > deadline:
            return done
        time.sleep(1)
