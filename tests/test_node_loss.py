"""Several raylets: a node lost in mid-run, a node that joins later."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.processes import Job


@pytest.mark.ray
def test_a_node_is_lost_and_another_joins(start: Callable[..., Job], tmp_path: Path) -> None:
    """GPUs here are Ray's numbers: who gets which is as with real ones."""
    # Ray reads it as it is imported: set later, the nodes would refuse the driver and the driver the nodes.
    job = start("tests.drive_nodes", str(tmp_path), RAY_AUTH_MODE="disabled")
    assert job.wait(240) == 0, job.output()
    told: list[dict[str, Any]] = json.loads((tmp_path / "told.json").read_text())
    assert told.pop()["head"].endswith("was started anew, without this run")
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
    assert len(devices) == 2 + 3 + 1
    assert all(len(hosts) == 1 for hosts in devices.values()), "each engine has devices of its own"
