"""How many engines a cluster gets, and what each takes of its node."""

from __future__ import annotations

import re

import pytest

from cluster.session import Node, Resources
from generation.hiring import count_engines, cpu_environment
from generation.settings import Settings

GIB = 1 << 30
LAPTOP = Node(gpus=0, cores=2, memory=8 * GIB)
SERVER = Node(gpus=0, cores=64, memory=256 * GIB)
EIGHT = Node(gpus=8, cores=96, memory=900 * GIB)
SIX = Node(gpus=6, cores=48, memory=400 * GIB)


@pytest.mark.parametrize(
    ("nodes", "flags", "expected", "why"),
    [
        ((LAPTOP,), {}, 1, "a small machine has one engine"),
        ((LAPTOP, LAPTOP), {}, 2, "and each of several nodes is used"),
        ((LAPTOP,), {"engines": 3}, 3, "as many as asked for, on the CPU"),
        ((SERVER,), {}, 8, "by cores"),
        ((Node(0, 64, 40 * GIB),), {}, 2, "by memory"),
        ((SERVER, Node(0, 0, 64 * GIB)), {}, 8, "none where Ray may use no core"),
        ((EIGHT,), {}, 8, "one on each GPU"),
        ((EIGHT,) * 4, {}, 32, "on each GPU of each node"),
        ((EIGHT,) * 4, {"tensor_parallel": 8}, 4, "several GPUs each"),
        ((SIX, SIX), {"tensor_parallel": 4}, 2, "an engine's GPUs lie in one node: 12 / 4 would be wrong"),
        ((EIGHT, LAPTOP), {}, 8, "a node without a GPU has no part where others have"),
        ((EIGHT,), {"engines": 3}, 3, "fewer than there is room for"),
    ],
)
def test_as_many_as_there_is_room_for(nodes: tuple[Node, ...], flags: dict[str, int], expected: int, why: str) -> None:
    settings = Settings(engines=flags.get("engines"), tensor_parallel=flags.get("tensor_parallel", 1))
    assert count_engines(settings, Resources(nodes)) == expected, why


@pytest.mark.parametrize(
    ("nodes", "flags", "told"),
    [
        ((EIGHT,), {"engines": 9}, "9 engines of 1 GPUs do not fit: the cluster has 8"),
        ((SIX, SIX), {"engines": 3, "tensor_parallel": 4}, "3 engines of 4 GPUs do not fit: the cluster has 6 + 6"),
        ((SIX, SIX), {"tensor_parallel": 8}, "1 engines of 8 GPUs do not fit: the cluster has 6 + 6"),
    ],
)
def test_more_than_there_is_room_for_is_refused(nodes: tuple[Node, ...], flags: dict[str, int], told: str) -> None:
    settings = Settings(engines=flags.get("engines"), tensor_parallel=flags.get("tensor_parallel", 1))
    with pytest.raises(ValueError, match=re.escape(told)):
        count_engines(settings, Resources(nodes))


@pytest.mark.parametrize(("workers", "cores", "threads"), [(1, 8, "8"), (3, 8, "2"), (4, 2, "1")])
def test_the_workers_of_a_node_share_its_cores(workers: int, cores: int, threads: str) -> None:
    assert cpu_environment(workers, cores)["OMP_NUM_THREADS"] == threads
