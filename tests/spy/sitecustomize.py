"""Writes down every address outside this machine that a Python process looks up or connects to.

On PYTHONPATH of a job it is imported by each of its Python processes, Ray's and vLLM's too.
"""

import os
import socket
import sys
from pathlib import Path
from typing import Any

_LOG = os.environ.get("SKILLFACTORY_TEST_CONNECTIONS")
_OWN = {"", "localhost", "0.0.0.0", "::", "::1", socket.gethostname()}


def _watch(event: str, args: tuple[Any, ...]) -> None:
    if event == "socket.getaddrinfo":
        host = args[0]
    elif event == "socket.connect" and isinstance(args[1], tuple):
        host = args[1][0]
    else:
        return
    host = host.decode() if isinstance(host, bytes) else str(host or "")
    if host in _OWN or host.startswith("127.") or _is_ours(host):
        return
    with Path(str(_LOG)).open("a", encoding="utf-8") as log:
        log.write(f"{os.getpid()} {event} {host} {sys.argv[:1]}\n")


def _is_ours(host: str) -> bool:
    """Only an address of this machine can be bound. Names are never ours: they are looked up elsewhere."""
    try:
        with socket.socket() as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return host.replace(".", "").isdigit()


if _LOG:
    sys.addaudithook(_watch)
