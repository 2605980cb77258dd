"""A pool on several raylets: one node is killed in mid-run, another is added; then the head is begun anew.

`python -m tests.drive_nodes FOLDER` leaves told.json there: what happened, in order. A process of
its own, since a process has one Ray.
"""

from __future__ import annotations

import json
import os
import sys
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import ray
from ray.cluster_utils import Cluster

from cluster.errors import ClusterLostError
from cluster.inference.engine import Engine, ScriptedSettings
from cluster.inference.pool import Done, Lost, Pool, Started
from cluster.inference.ray_replicas import RayReplicas
from cluster.inference.replicas import Placement
from cluster.session import current_resources
from generation.placement import place
from generation.plan import make_plan
from generation.settings import Settings
from tests import family
from tests.stuck import Item, ask, reply

ITEMS = 400


class Where(NamedTuple):
    """On which node and devices an item was done."""

    number: int
    node: str
    devices: str
    host: int


async def work(engine: Engine, item: Item) -> Where:
    await ask(engine, item)
    node = ray.get_runtime_context().get_node_id()
    return Where(item.number, node, os.environ.get("CUDA_VISIBLE_DEVICES", ""), os.getpid())


def start() -> tuple[Cluster, Any]:
    """A head, the node that is to be lost, and one more.

    Ray gives a node half a minute to come up, and a busy machine takes longer: once more then, from the head on.
    """
    for last in (False, True):
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
        try:
            doomed = cluster.add_node(num_cpus=2, num_gpus=2)
            cluster.add_node(num_cpus=2, num_gpus=3)
            cluster.wait_for_nodes()
            return cluster, doomed
        except Exception:
            if last:
                raise
            cluster.shutdown()  # type: ignore[no-untyped-call]
            family.end(family.descendants())
    raise AssertionError("the last time it was started or it raised")


def main(logs: str) -> None:
    cluster, doomed = start()
    ray.init(address=cluster.address, log_to_driver=False)
    settings = Settings(address=cluster.address, tensor_parallel=1)
    with patch("cluster.nodes.unfit", lambda *_: ""):  # Ray's GPUs are make-believe
        placement = place(make_plan(settings), settings, current_resources())
    told: list[dict[str, Any]] = [{"engines": placement.engines, "doomed": doomed.node_id}]
    placement = Placement(
        ScriptedSettings(reply),
        placement.engines,
        gpus_each=placement.gpus_each,
        in_flight=4,
        logs=Path(logs),
        room=placement.room,
    )
    killed = added = False
    with Pool[Item, Where](RayReplicas(placement, work), placement.in_flight) as pool:
        for event in pool.run(Item(number) for number in _items(told)):
            if isinstance(event, Done):
                told.append({"done": event.result._asdict()})
            elif isinstance(event, Started):
                told.append({"started": event.number})
            elif isinstance(event, Lost):
                told.append({"lost": event.number, "again": event.again})
            # Each has begun, and both of the doomed node's have done something, so that they hold more.
            begun = sum("started" in one for one in told) == placement.engines
            if not killed and begun and _hosts_on(doomed.node_id, told) == 2:
                killed = True
                cluster.remove_node(doomed, allow_graceful=False)
            elif killed and not added and sum("lost" in one for one in told) == 2:
                added = True
                told.append({"added": cluster.add_node(num_cpus=2, num_gpus=1).node_id})
    told.append({"head": lose_the_head(cluster.head_node, placement)})
    Path(logs, "told.json").write_text(json.dumps(told))
    ray.shutdown()
    cluster.shutdown()  # type: ignore[no-untyped-call]


def lose_the_head(head: Any, placement: Placement) -> str:
    """What is said when another head answers at the old one's address."""
    begun = False
    try:
        with Pool[Item, Where](RayReplicas(placement, work), placement.in_flight) as pool:
            for event in pool.run(Item(number) for number in count()):
                if isinstance(event, Done) and not begun:
                    begun = True
                    head.kill_gcs_server()
                    head.start_gcs_server()
    except ClusterLostError as error:
        return str(error)
    raise AssertionError("it goes on for ever")


def _items(told: list[dict[str, Any]]) -> Any:
    """Items until the engine on the added node has done some, and at least so many."""
    number = 0
    while number < ITEMS or not _used(told):
        yield number
        number += 1


def _hosts_on(node: str, told: list[dict[str, Any]]) -> int:
    return len({one["done"]["host"] for one in told if "done" in one and one["done"]["node"] == node})


def _used(told: list[dict[str, Any]]) -> bool:
    (added,) = [one["added"] for one in told if "added" in one] or [None]
    return added is not None and any(one["done"]["node"] == added for one in told if "done" in one)


if __name__ == "__main__":
    main(*sys.argv[1:])
