"""The crash test with a seed: more than sixty kills of every kind, and the rows of a run that nothing happened to.

`benchmarks.kills` does the killing; it can do more of it (see benchmarks/RESULTS.md).
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.ray

_LONGEST_S = 1200


def kill(scene: str, kills: int, folder: Path) -> dict[str, Any]:
    """One course of so many kills; its report."""
    state = folder / "state.jsonl"
    command = [sys.executable, "-m", "benchmarks.kills", str(state), str(kills), "1", scene]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_LONGEST_S)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    report: dict[str, Any] = json.loads(state.read_text())
    assert report["survived"], ended.stdout + "".join(path.read_text() for path in folder.glob("state.*/log"))
    assert sum(report["kills"].values()) >= kills
    assert set(report["ended"]) <= {"0", "1"}
    return report


def test_actors_raylets_drivers_and_writes(tmp_path: Path) -> None:
    report = kill("scripted", 31, tmp_path)
    assert report["kills"].keys() == {"actor", "driver", "raylet", "write"}
    assert report["again"] > 0


def test_whole_nodes(tmp_path: Path) -> None:
    """Two nodes with an address each, where namespaces can be had; engines on both, the driver on one."""
    report = kill("nodes", 27, tmp_path)
    assert report["kills"].keys() == {"actor", "driver", "node", "write"}
    assert report["spread"] == 2


@pytest.mark.engine
def test_real_engine_cores_and_workers(tmp_path: Path) -> None:
    report = kill("vllm", 2, tmp_path)
    assert report["kills"].keys() == {"core", "worker"}
