"""A Ray cluster of several nodes on this machine, each with an address, processes and shared memory of its own.

Made of Linux namespaces below this process: root, or a kernel that lets users make namespaces, is needed.
`run_inside` makes the outermost ones; when what it runs ends, everything has ended.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from ray.cluster_utils import Cluster

from tests import family

NET = "10.78.0"
PORT = 6379
INSIDE = "SKILLFACTORY_TEST_NODES"
_NAMESPACES = ["--net", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--mount-proc"]
_READY_S = 120.0
QUICK = {
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_failure_threshold": "6",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_initial_delay_ms": "1000",
}
"""A node that is silent is dead after 3 s, not after 15."""

# A node's first process. Ray asks the routing table for its own address; its sockets lie under /tmp/ray.
_NODE = """
set -e
hostname "$1"
mkdir -p "$3/ray" /tmp/ray
mount --bind "$3/ray" /tmp/ray
mount -t tmpfs -o size=256m tmpfs /dev/shm
until ip link show eth0 >/dev/null 2>&1; do sleep 0.02; done
ip link set lo up; ip addr add "$2/24" dev eth0; ip link set eth0 up; ip route add default via "${2%.*}.1"
shift 3
# Ray gives a node half a minute to come up, and on a busy machine it takes longer.
for try in 1 2 3; do "$@" && break; done &
while :; do wait || true; sleep 3600 & done
"""


def run_inside(command: Sequence[str]) -> int:
    """Run the command in namespaces of its own where this process may make them; its exit code.

    Ray reads its environment when it is imported, so it is set here.
    """
    user = [] if os.getuid() == 0 else ["--user", "--map-current-user", "--keep-caps"]
    unshare = ["unshare", *user, *_NAMESPACES, "--"]
    bridge = [*unshare, "ip", "link", "add", "name", "br0", "type", "bridge"]
    allowed = subprocess.run(bridge, capture_output=True, check=False).returncode == 0
    inner = [*unshare, sys.executable, "-m", "tests.nodes", *command] if allowed else command
    environment = {INSIDE: "namespaces" if allowed else "cluster", "RAY_USAGE_STATS_ENABLED": "0"}
    environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    return subprocess.run(inner, check=False, env=os.environ | environment | QUICK).returncode


def make_nodes(folder: Path, *, cpus: int = 2) -> Nodes:
    """Nodes of the better kind that can be had. Only below `run_inside`."""
    return (NamespaceNodes if os.environ[INSIDE] == "namespaces" else ClusterNodes)(folder, cpus=cpus)


class Nodes(Protocol):
    """Ray nodes 0 (the head), 1, 2, …; each can be started, and killed with all its processes at once."""

    address: str
    """Where the cluster answers, inside a node."""

    def processes(self) -> dict[int, int]:
        """Processes by node: what descends from them is all of the nodes."""
        ...

    def start(self, number: int, *, wait: bool = True) -> None:
        """Bring a node up; returns when Ray counts it, or at once."""
        ...

    def kill(self, number: int) -> None: ...

    def inside(self, number: int, command: Sequence[str]) -> list[str]:
        """The command as it is run on a node."""
        ...

    def close(self) -> None: ...


class ClusterNodes:
    """Where there are no namespaces: Ray's own make-believe nodes, all at one address."""

    def __init__(self, folder: Path, *, cpus: int = 2) -> None:
        self._cluster = Cluster()
        self._cpus = cpus
        self._nodes: dict[int, Any] = {}
        self.address = ""

    def processes(self) -> dict[int, int]:
        """One of a node's own is named for it; all of them are ours."""
        found: dict[int, int] = {}
        for number, node in self._nodes.items():
            for kind in node.all_processes.values():
                found |= {one.process.pid: number for one in kind}
        return found

    def start(self, number: int, *, wait: bool = True) -> None:
        head = {"include_dashboard": False} if number == 0 else {}
        self._nodes[number] = self._cluster.add_node(
            wait=wait, num_cpus=self._cpus, object_store_memory=80 << 20, **head
        )
        self.address = self._cluster.address

    def kill(self, number: int) -> None:
        self._cluster.remove_node(self._nodes.pop(number), allow_graceful=False)

    def inside(self, number: int, command: Sequence[str]) -> list[str]:
        assert number == 0
        return list(command)

    def close(self) -> None:
        self._cluster.shutdown()  # type: ignore[no-untyped-call]


class NamespaceNodes:
    """Nodes with addresses of their own."""

    def __init__(self, folder: Path, *, cpus: int = 2) -> None:
        self._folder = folder
        self._cpus = cpus
        self._holders: dict[int, subprocess.Popen[bytes]] = {}
        self.address = f"{NET}.10:{PORT}"
        folder.mkdir(parents=True, exist_ok=True)

    def processes(self) -> dict[int, int]:
        return {holder.pid: number for number, holder in self._holders.items()}

    def start(self, number: int, *, wait: bool = True) -> None:
        own, ip = self._folder / f"node-{number}", f"{NET}.{10 + number}"
        ray = [str(Path(sys.executable).with_name("ray")), "start", "--block", f"--node-ip-address={ip}"]
        ray += [f"--num-cpus={self._cpus}", f"--object-store-memory={80 << 20}", "--disable-usage-stats"]
        ray += (
            [f"--port={PORT}", "--head", "--include-dashboard=false"] if number == 0 else [f"--address={self.address}"]
        )
        with (self._folder / f"node-{number}.log").open("ab") as log:
            command = ["unshare", *_NAMESPACES, "--", "bash", "-c", _NODE, "node", f"node{number}", ip, str(own), *ray]
            holder = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._holders[number] = holder
        first = self._first(number)
        with contextlib.suppress(subprocess.CalledProcessError):
            _ip("link", "del", f"v{number}")
        _ip("link", "add", f"v{number}", "type", "veth", "peer", "name", "eth0", "netns", str(first))
        _ip("link", "set", f"v{number}", "master", "br0", "up")
        if wait:
            self._wait_until_counted(number)

    def kill(self, number: int) -> None:
        """The node drops dead: its first process is killed, and the kernel kills all others with it."""
        os.kill(self._first(number), signal.SIGKILL)
        holder = self._holders.pop(number)
        while holder.poll() is None:
            # It ends when all that ran inside is gone, orphans that this process has adopted too.
            family.wait_for_orphans([holder.pid, *(other.pid for other in self._holders.values())])
            time.sleep(0.05)

    def inside(self, number: int, command: Sequence[str]) -> list[str]:
        kinds = ["--net", "--mount", "--pid", "--ipc", "--uts"]
        return ["nsenter", "--target", str(self._first(number)), *kinds, f"--wdns={os.getcwd()}", "--", *command]

    def close(self) -> None:
        for number in list(self._holders):
            self.kill(number)

    def alive(self) -> set[str]:
        """Addresses of the nodes that Ray counts as alive."""
        code = (
            "import logging, ray; ray.init('auto', logging_level=logging.ERROR, log_to_driver=False);"
            "print('\\n'.join(n['NodeManagerAddress'] for n in ray.nodes() if n['Alive']))"
        )
        # Inside, since to kill the command from outside leaves what it led into.
        command = self.inside(0, ["timeout", "--signal=KILL", "60", sys.executable, "-W", "ignore", "-c", code])
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        return set(ended.stdout.split()) if ended.returncode == 0 else set()

    def _first(self, number: int) -> int:
        """The process that is number 1 inside the node."""
        holder = self._holders[number]
        while holder.poll() is None:
            children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()
            if children and os.readlink(f"/proc/{children[0]}/ns/net") != os.readlink("/proc/self/ns/net"):
                return int(children[0])
            time.sleep(0.01)
        raise RuntimeError(f"node {number} did not come up")

    def _wait_until_counted(self, number: int) -> None:
        deadline = time.monotonic() + _READY_S
        while not self._listening() and time.monotonic() < deadline:
            time.sleep(0.1)
        while f"{NET}.{10 + number}" not in self.alive():
            if time.monotonic() > deadline or self._holders[number].poll() is not None:
                log = (self._folder / f"node-{number}.log").read_text()
                raise RuntimeError(f"Ray does not count node {number}:\n{log}")

    def _listening(self) -> bool:
        """The head does; asked too early, Ray would wait for long."""
        try:
            socket.create_connection((f"{NET}.10", PORT), timeout=1).close()
        except OSError:
            return False
        return True


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def main(command: Sequence[str]) -> int:
    """The hub: a bridge for the nodes, and the command."""
    _ip("link", "set", "lo", "up")
    _ip("link", "add", "br0", "type", "bridge")
    _ip("addr", "add", f"{NET}.1/24", "dev", "br0")
    _ip("link", "set", "br0", "up")
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
