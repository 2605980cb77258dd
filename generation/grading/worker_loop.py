"""The loop of a worker process: a request is answered within its CPU time, or the kernel ends the process.

It ends at the end of its input, too, and when the process that started it is gone. Knows nothing of what is asked.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import select
import signal
import struct
import sys
from collections.abc import Callable, Mapping
from typing import Any

_MEMORY = 1 << 30
"""Bytes of address space."""
_RETIRES_AT = 300 << 20
"""Bytes of memory at which it is replaced; it has about 100 MiB when it starts."""
_LENGTH = struct.Struct(">I")

Request = Mapping[str, Any]


def serve(
    answer: Callable[[Request], dict[str, Any]],
    warm_up: Callable[[], None],
    prepare: Callable[[Request], None] | None = None,
) -> None:
    """Answer requests; the program's arguments are the process that started it and the CPU seconds of a request.

    What `warm_up` and, for a request, `prepare` take is not counted.
    """
    parent, cpu_s = int(sys.argv[1]), float(sys.argv[2])
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(name, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    replies = os.dup(1)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)  # whatever a library prints is no reply
    logging.disable(logging.CRITICAL)
    warm_up()
    _send(replies, {})
    while (request := _next(parent)) is not None:
        if prepare is not None:
            prepare(request)
        signal.setitimer(signal.ITIMER_PROF, cpu_s)
        reply = answer(request)
        signal.setitimer(signal.ITIMER_PROF, 0)
        _send(replies, {**reply, "retire": _memory() > _RETIRES_AT})


def _memory() -> int:
    """Bytes that it holds now. What getrusage calls the most it ever held begins with what its parent held."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def _next(parent: int) -> dict[str, Any] | None:
    """The next request, None when nobody will ask any more."""
    # A process that the parent forked may hold the pipe open when the parent is gone.
    while not select.select([0], [], [], 1.0)[0]:
        if os.getppid() != parent:
            return None
    head = _read(_LENGTH.size)
    body = _read(_LENGTH.unpack(head)[0]) if len(head) == _LENGTH.size else b""
    return json.loads(body) if body else None


def _read(count: int) -> bytes:
    read = b""
    while len(read) < count and (chunk := os.read(0, count - len(read))):
        read += chunk
    return read


def _send(descriptor: int, reply: dict[str, Any]) -> None:
    message = json.dumps(reply).encode("ascii")
    os.write(descriptor, _LENGTH.pack(len(message)) + message)
