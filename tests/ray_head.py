"""A Ray that `ray start` made on this machine, with a dashboard and a token, and nothing left of it afterwards."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from cluster import reaper

ROOT = Path(__file__).parent.parent
RAY = str(Path(sys.executable).with_name("ray"))


class Head(NamedTuple):
    """Where it answers, and the environment of those who may talk to it."""

    address: str
    dashboard: str
    client: str
    folder: Path
    """Its --temp-dir."""
    environment: dict[str, str]


@contextmanager
def ray_head(name: str, log_file: Path, more: Mapping[str, str]) -> Iterator[Head]:
    """A head whose environment has `more`."""
    folder = Path("/tmp") / f"ray-{name}-{os.getpid()}"  # short, for the sockets in it
    folder.mkdir(mode=0o700)
    (folder / "ray_bootstrap_config.yaml").write_text("provider: {type: local}\n")
    mark = reaper.new_mark()
    environment = os.environ | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_REPORT_URL": "http://127.0.0.1:9/",
        "RAY_worker_niceness": "0",  # else an engine gets almost nothing beside another process
        "GRPC_ENABLE_FORK_SUPPORT": "0",  # without it a process for a client dies at random (CONTRIBUTING.md)
        **more,
    }
    head, dashboard, client, agent = free_ports(4)
    words = ["--head", "--block", "--node-ip-address=127.0.0.1", f"--port={head}", "--include-dashboard=true"]
    words += [f"--dashboard-port={dashboard}", f"--ray-client-server-port={client}", "--num-cpus=2"]
    # Its own port may be that of another Ray's agent on this machine, and then this one has none.
    words += [f"--dashboard-agent-listen-port={agent}"]
    words += [f"--temp-dir={folder / 'r'}", "--object-store-memory=100000000"]
    watcher = reaper.start(mark, str(folder))
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [RAY, "start", *words], stdout=log, stderr=log, env=environment | {mark: "1", "HOME": str(folder)}
        )
    try:
        wait_until_open(dashboard, process, log_file)
        local = "127.0.0.1"
        yield Head(
            f"{local}:{head}", f"http://{local}:{dashboard}", f"ray://{local}:{client}", folder / "r", environment
        )
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
