"""The Ray this run works on: started here, or one that runs already."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import ray

from cluster import reaper

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
    with _local() if address is None else _running(address):
        nodes = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
        gpus = ray.cluster_resources().get("GPU", 0)  # type: ignore[no-untyped-call]
        yield Resources(int(gpus), len(nodes))


@contextmanager
def _running(address: str) -> Iterator[None]:
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise ValueError(f"no Ray cluster answers at --address {address}: {reason}") from error
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _local() -> Iterator[None]:
    # Ray's agents outlive a driver that is killed (2.60), and are known by their log files alone. The
    # folder lies in /tmp whatever TMPDIR says: the path of a Unix socket in it ends at 107 bytes.
    mark, folder = reaper.new_mark(), tempfile.mkdtemp(prefix="skillfactory-ray-", dir="/tmp")
    os.environ[mark] = "1"
    watcher = reaper.start(mark, folder)
    try:
        # CPUs are only numbers to Ray: more than there are, so that no engine waits for a share.
        ray.init(
            address="local",
            num_cpus=max(16, os.cpu_count() or 1),
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=_OBJECT_STORE_BYTES,
            _temp_dir=folder,
        )
        yield
    finally:
        ray.shutdown()
        del os.environ[mark]
        watcher.communicate()
