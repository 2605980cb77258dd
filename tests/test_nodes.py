"""Several raylets: engines by what each node holds, a node lost in mid-run, a node that joins later."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from cluster.session import Machine, Resources
from generation.hiring import count_engines, count_room
from generation.settings import Settings
from tests.processes import Job

GIB = 1 << 30


def resources(*machines: Machine) -> Resources:
    return Resources(sum(machine.gpus for machine in machines), len(machines), machines)


@pytest.mark.parametrize(
    ("machines", "tensor_parallel", "expected"),
    [
        ([Machine(8, 64, 900 * GIB)], 1, 8),
        ([Machine(8, 64, 900 * GIB)], 2, 4),
        ([Machine(3, 64, 900 * GIB)] * 2, 2, 2),  # an engine does not lie on two machines
        ([Machine(8, 64, 900 * GIB), Machine(0, 64, 900 * GIB)], 1, 8),  # the head has none
        ([Machine(0, 2, 24 * GIB)], 1, 1),
        ([Machine(0, 1, 2 * GIB)], 1, 1),  # less than an engine likes: one may try
        ([Machine(0, 16, 128 * GIB)], 1, 4),  # by cores
        ([Machine(0, 64, 16 * GIB)], 1, 2),  # by memory
        ([Machine(0, 8, 64 * GIB), Machine(0, 0, 64 * GIB)], 1, 2),  # none where Ray may use no core
    ],
)
def test_how_many_engines_there_is_room_for(machines: list[Machine], tensor_parallel: int, expected: int) -> None:
    held = resources(*machines)
    assert count_room(Settings(tensor_parallel=tensor_parallel), held, gpu=held.gpus > 0) == expected


def test_more_engines_than_fit_are_refused() -> None:
    held = resources(Machine(3, 64, GIB), Machine(3, 64, GIB))
    assert count_engines(Settings(tensor_parallel=2, engines=2), held) == 2
    with pytest.raises(ValueError, match="3 engines of 2 GPUs do not fit: the cluster has 6 on 2 nodes"):
        count_engines(Settings(tensor_parallel=2, engines=3), held)
    with pytest.raises(ValueError, match="do not fit"):
        count_engines(Settings(tensor_parallel=4), held)


@pytest.mark.ray
def test_a_node_is_lost_and_another_joins(tmp_path: Path) -> None:
    """GPUs here are Ray's numbers: who gets which is as with real ones."""
    job = Job("tests.drive_nodes", [str(tmp_path)], tmp_path / "log")
    try:
        assert job.wait(240) == 0, job.output()
    finally:
        job.clean()
    told: list[dict[str, Any]] = json.loads((tmp_path / "told.json").read_text())
    first = told.pop(0)
    assert first["engines"] == 5, "2 on one node, 3 on the other, none on the head"
    done = [one["done"] for one in told if "done" in one]
    asked = max(one["number"] for one in done) + 1
    assert Counter(one["number"] for one in done) == Counter(range(asked)), "each once"
    lost = [one for one in told if "lost" in one]
    held = [one for one in lost if one["again"]]
    # An attempt to start on the dying node, before Ray knows that it is dead, holds nothing.
    assert len({one["lost"] for one in held}) == len(held) == 2, "both engines of the dead node, no other"
    after = [one["done"]["node"] for one in told[told.index(held[-1]) :] if "done" in one]
    assert first["doomed"] not in after
    (added,) = [one["added"] for one in told if "added" in one]
    assert added in after
    devices = defaultdict(set)
    for one in done:
        devices[one["node"], one["devices"]].add(one["host"])
    assert len(devices) == 5 + 1
    assert all(len(hosts) == 1 for hosts in devices.values()), "each engine has devices of its own"
