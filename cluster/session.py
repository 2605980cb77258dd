"""The Ray cluster of a run: started on this machine, or already running."""

import logging
import os
import re
import secrets
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import ray
from ray.exceptions import AuthenticationError, RayError
from ray.experimental import internal_kv
from ray.util.client import ray as ray_client

from cluster import reaper
from cluster.errors import ClusterLostError
from cluster.machine import gpus_here
from cluster.nodes import alive
from cluster.texts import first_line

_OBJECT_STORE_BYTES = 256 << 20
_CONNECT_S = 5.0
_STARTS = 3
_CONNECTS = 5
_LATE = "timed out during startup"
_TOKEN = "; where it asks for a token, set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or ~/.ray/auth_token as on its head"
_ADDRESS = re.compile(r"(?:ray://)?\[?(?P<host>[^\s/\]]+)\]?:(?P<port>\d{1,5})")
_SECRET = secrets.token_hex(32)  # token of the Rays started here, read once per process; by default it is in ~/.ray


@dataclass(frozen=True)
class Node:
    gpus: int
    cores: int
    memory: int  # bytes that were free when Ray started there


@dataclass(frozen=True)
class Resources:
    nodes: tuple[Node, ...]

    @property
    def gpus(self) -> int:
        return sum(node.gpus for node in self.nodes)


@contextmanager
def session(address: str | None) -> Iterator[Resources]:
    """Connect to `address`, or start a local Ray that ends with the context. Raises ValueError if none answers."""
    heard = signal.getsignal(signal.SIGTERM)
    with _local() if address is None else _running(address):
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, heard)  # Ray's own ends this process at once, with exit code 15
        yield current_resources(local=address is None)


def current_resources(*, local: bool = False) -> Resources:
    """Return what the cluster has now. `local` takes the cores of this machine, as our own Ray is told of more."""
    cores = len(os.sched_getaffinity(0)) if local else None
    held = [node["Resources"] for node in alive()]
    nodes = (Node(int(one.get("GPU", 0)), cores or int(one.get("CPU", 0)), int(one.get("memory", 0))) for one in held)
    return Resources(tuple(nodes))


def local_resources() -> Resources:
    """Return the most that a Ray on this machine would find, without starting one. Only NVIDIA GPUs count."""
    gpus = len(gpus_here())
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        gpus = min(gpus, 0 if visible in ("", "NoDevFiles") else len(visible.split(",")))
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Resources((Node(gpus, len(os.sched_getaffinity(0)), memory),))


def check_alive() -> None:
    """Raise ClusterLostError if Ray's head or this node's raylet is gone; Ray itself hangs, or exits silently."""
    if ray_client.is_connected():  # type: ignore[no-untyped-call]
        return
    context = ray.get_runtime_context()
    host, _, port = context.gcs_address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
        # If the head was restarted, `ray.nodes` (2.60) aborts this process; this raises.
        internal_kv._internal_kv_exists(b"")
    except OSError as error:
        raise ClusterLostError(f"Ray's head at {context.gcs_address} does not answer: {error}") from error
    except AuthenticationError as error:
        raise ClusterLostError(f"Ray's head at {context.gcs_address} was started anew, without this run") from error
    if context.get_node_id() not in {node["NodeID"] for node in alive()}:
        raise ClusterLostError("Ray's process on this machine, the raylet, is dead")


@contextmanager
def _running(address: str) -> Iterator[None]:
    if (found := _ADDRESS.fullmatch(address)) is None and address != "auto":
        raise ValueError(f"--address {address!r} must be auto, HOST:PORT or ray://HOST:PORT")
    # In a Slurm job Ray has a HOME of its own (slurm.sh); workers get the user's back, which the nodes share.
    home = {"env_vars": {"HOME": os.path.expanduser("~")}} if "SLURM_JOB_ID" in os.environ else None
    hint = ""
    try:
        if found:  # Ray itself would retry for many minutes where nobody listens
            socket.create_connection((found["host"], int(found["port"])), timeout=_CONNECT_S).close()
        hint = _TOKEN  # for a wrong token, too, Ray (2.60) says only that it failed to connect
        for time in range(1, _CONNECTS + 1):
            try:
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, runtime_env=home)
                break
            except ConnectionAbortedError as error:
                # About one time in twenty: Ray's head (2.60) forks while gRPC's threads run, which may abort the child
                # (https://github.com/ray-project/ray/issues/63202), and gives it no more than half a minute.
                if time == _CONNECTS:
                    raise
                problem = f"Ray's head at {address} made no process for this run, time {time} of {_CONNECTS}"
                print(f"{problem}: {first_line(error)[:200]}", file=sys.stderr, flush=True)
    except (OSError, OverflowError, ValueError, RuntimeError, RayError) as error:
        raise ValueError(f"no Ray cluster answers at --address {address}: {first_line(error)[:200]}{hint}") from error
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _local() -> Iterator[None]:
    # Ray's agents (2.60) outlive a killed driver, and only their open log files identify them. The folder
    # is in /tmp whatever TMPDIR says, because the path of a Unix socket is limited to 107 bytes.
    mark, folder = reaper.new_mark(), tempfile.mkdtemp(prefix="skillfactory-ray-", dir="/tmp")
    home = os.path.expanduser("~")
    with _environment({mark: "1", "RAY_AUTH_TOKEN": _SECRET}):
        watcher = reaper.start(mark, folder)
        # Even with usage statistics off, Ray's head (2.60) asks the network which cloud it is in, unless a cluster file
        # in its HOME names a provider; workers get the user's HOME back.
        Path(folder, "ray_bootstrap_config.yaml").write_text("provider: {type: local}\n", encoding="utf-8")
        try:
            with _environment({"HOME": folder}):
                for left in reversed(range(_STARTS)):
                    try:
                        _start(folder, home)
                        break
                    except Exception as error:
                        # Ray (2.60) waits half a minute for its agents, whose imports take longer from a slow disk.
                        if _LATE not in str(error) or not left:
                            raise
                        ray.shutdown()
                        reaper.kill(mark, folder, watcher.pid)
            yield
        finally:
            ray.shutdown()
            watcher.communicate()


def _start(folder: str, home: str) -> None:
    ray.init(
        address="local",
        # Only a number to Ray, and large enough that no engine waits for a CPU.
        num_cpus=max(16, os.cpu_count() or 1),
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        object_store_memory=_OBJECT_STORE_BYTES,
        _temp_dir=folder,
        runtime_env={"env_vars": {"HOME": home}},
    )


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ[name] for name in values if name in os.environ}
    os.environ.update(values)
    try:
        yield
    finally:
        for name in values:
            del os.environ[name]
        os.environ.update(before)
