"""The Ray this run works on: started here, or one that runs already."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import ray

from cluster.pool import QUIET

_OBJECT_STORE_BYTES = 256 << 20


@dataclass(frozen=True)
class Resources:
    """What the cluster holds."""

    gpus: int
    nodes: int


@contextmanager
def session(address: str | None) -> Iterator[Resources]:
    """Connect to `address`, or start a Ray on this machine that ends with the context.

    Raises ValueError when there is no Ray at the address.
    """
    os.environ.update(QUIET)
    if address is None:
        _start_local()
    else:
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0][:200]
            raise ValueError(f"no Ray cluster answers at --address {address}: {reason}") from error
    try:
        nodes = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
        gpus = ray.cluster_resources().get("GPU", 0)  # type: ignore[no-untyped-call]
        yield Resources(int(gpus), len(nodes))
    finally:
        ray.shutdown()


def _start_local() -> None:
    # CPUs are only numbers to Ray: more than there are, so that no engine waits for a share.
    ray.init(
        address="local",
        num_cpus=max(16, os.cpu_count() or 1),
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        object_store_memory=_OBJECT_STORE_BYTES,
    )
