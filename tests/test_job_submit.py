"""`ray job submit` to a cluster that `ray start` made: the code travels with the job, the rows stay where it said."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cluster import reaper

pytestmark = pytest.mark.ray

ROOT = Path(__file__).parent.parent
RAY = str(Path(sys.executable).with_name("ray"))
QUESTIONS = 6


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """The dashboard's address of a Ray with an own token, and the environment of those who may talk to it."""
    folder = Path("/tmp") / f"ray-submit-{os.getpid()}"  # short, for the sockets in it
    folder.mkdir(mode=0o700)
    (folder / "ray_bootstrap_config.yaml").write_text("provider: {type: local}\n")
    mark = reaper.new_mark()
    environment = os.environ | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_REPORT_URL": "http://127.0.0.1:9/",
    }
    head, dashboard, client, agent = free_ports(4)
    words = ["--head", "--block", "--node-ip-address=127.0.0.1", f"--port={head}", "--include-dashboard=true"]
    words += [f"--dashboard-port={dashboard}", f"--ray-client-server-port={client}", "--num-cpus=2"]
    # Its own port may be that of another Ray's agent on this machine, and then this one has none.
    words += [f"--dashboard-agent-listen-port={agent}"]
    words += [f"--temp-dir={folder / 'r'}", "--object-store-memory=100000000"]
    watcher = reaper.start(mark, str(folder))
    with (tmp_path / "ray.log").open("wb") as log:
        process = subprocess.Popen(
            [RAY, "start", *words], stdout=log, stderr=log, env=environment | {mark: "1", "HOME": str(folder)}
        )
    try:
        wait_until_open(dashboard, process, tmp_path / "ray.log")
        yield f"http://127.0.0.1:{dashboard}", environment
    finally:
        watcher.communicate()
        process.wait(30)


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def wait_until_open(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise AssertionError(log.read_text(errors="replace"))


def test_a_submitted_job_brings_its_code_and_leaves_its_rows(
    cluster: tuple[str, dict[str, str]], tmp_path: Path
) -> None:
    address, environment = cluster
    code, out = tmp_path / "code", tmp_path / "run"
    for name in ("cluster", "reflection", "generation", "tests"):
        shutil.copytree(ROOT / name, code / name, ignore=shutil.ignore_patterns("__pycache__", "golden"))
    drive = code / "tests" / "slurm" / "drive.py"
    drive.write_text(drive.read_text().replace("engines on", "engines of the submitted code on"))
    words = ["--address", address, "--working-dir", str(code), "--runtime-env-json", json.dumps({"excludes": ["spy"]})]
    job = ["--address", "auto", "--grace_s", "1", "--questions", str(QUESTIONS), "--out", str(out)]
    done = submit([*words, "--", sys.executable, "-m", "tests.slurm.drive", *job], environment, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "engines of the submitted code on 1 nodes" in done.stdout
    assert pq.read_table(out / "RAW_DATA" / "data").num_rows == QUESTIONS * 4 * 2


def submit(words: list[str], environment: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    """The dashboard answers before its node has an agent to give the job to: asked again, as it says."""
    command = [RAY, "job", "submit", *words]
    deadline = time.monotonic() + 60
    while True:
        done = subprocess.run(
            command, env=environment, cwd=folder, capture_output=True, text=True, check=False, timeout=180
        )
        if "No available agent" not in done.stdout + done.stderr or time.monotonic() > deadline:
            return done
        time.sleep(1)
