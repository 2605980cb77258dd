"""A Ray of our own: what its workers see, and that nothing of it stays with the process."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import ray

from cluster.flags import fail
from cluster.session import local_resources, session

pytestmark = pytest.mark.ray

SLOW = Path(__file__).parent / "slow_ray"


def test_workers_have_the_real_home_and_the_process_keeps_its_environment() -> None:
    run_alone(120)


def test_a_ray_that_comes_up_late_is_started_once_more(tmp_path: Path) -> None:
    """Whose agent takes more than the half minute that Ray gives it."""
    flag = tmp_path / "slow"
    flag.write_text("dashboard/agent.py")
    began = time.monotonic()
    run_alone(200, PYTHONPATH=str(SLOW), SKILLFACTORY_TEST_SLOW=str(flag))
    assert not flag.exists()
    assert time.monotonic() - began > 30, "the first start was given up"


def run_alone(seconds: float, **changes: str) -> None:
    """`look_at_home` in a process of its own: a process has one Ray, and this one's is shared by other tests."""
    environment = {name: value for name, value in os.environ.items() if name != "RAY_AUTH_TOKEN"} | changes
    subprocess.run([sys.executable, "-m", "tests.test_session"], env=environment, check=True, timeout=seconds)


def look_at_home() -> None:
    before = dict(os.environ)
    with session(None):
        home = ray.remote(lambda: os.environ["HOME"])
        assert ray.get(home.remote(), timeout=60) == before["HOME"]
        assert os.environ["HOME"] == before["HOME"]
    assert "RAY_AUTH_TOKEN" not in os.environ
    assert {name: os.environ[name] for name in before} == before


def test_what_ray_would_find_here_are_the_gpus_that_this_process_may_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ["NVIDIA H100 80GB HBM3, 81559, Disabled", "NVIDIA H100 80GB HBM3, 81559, Disabled"]
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    found = {}
    for told in ("\n".join(lines), "No devices were found"):
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\necho '{told}'\n")
        (tmp_path / "nvidia-smi").chmod(0o755)
        for visible in (None, "", "NoDevFiles", "1", "GPU-2", "0,1", "0,1,2"):
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
            if visible is not None:
                monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
            found[told[:3], visible] = local_resources().gpus
    seen = {None: 2, "": 0, "NoDevFiles": 0, "1": 1, "GPU-2": 1, "0,1": 2, "0,1,2": 2}
    assert found == {("NVI", name): count for name, count in seen.items()} | {("No ", name): 0 for name in seen}


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("127.0.0.1:1", "no Ray cluster answers at --address 127.0.0.1:1"),
        ("ray://127.0.0.1:1", "no Ray cluster answers at --address ray://127.0.0.1:1"),
        ("[::1]:1", "no Ray cluster answers"),
        ("127.0.0.1:99999", "no Ray cluster answers"),
        ("head", "must be auto, HOST:PORT or ray://HOST:PORT"),
        ("http://head:8265", "must be auto, HOST:PORT or ray://HOST:PORT"),
    ],
)
def test_a_wrong_address_is_refused_within_seconds(address: str, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)), session(address):
        raise AssertionError("it answered")


def test_a_cluster_that_asks_for_a_token_is_told_in_a_line(tmp_path: Path) -> None:
    """Ray refuses to look for it without one; someone listens there, as a head would."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH_")}
        environment |= {"RAY_AUTH_MODE": "token", "HOME": str(tmp_path)}
        command = [sys.executable, "-m", "tests.test_session", address]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 2, ended.stderr
    assert f"no Ray cluster answers at --address {address}: " in ended.stderr
    assert "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or ~/.ray/auth_token as on its head" in ended.stderr
    assert ended.stderr.count("\n") == 1, ended.stderr


def connect(address: str) -> None:
    try:
        with session(address):
            raise AssertionError("it answered")
    except ValueError as error:
        fail(str(error))


if __name__ == "__main__":
    connect(sys.argv[1]) if len(sys.argv) > 1 else look_at_home()
