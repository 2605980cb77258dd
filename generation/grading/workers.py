"""Worker processes for grading that may loop or eat memory: asked from any thread, killed, replaced.

A worker is a fresh interpreter that answers JSON, one request at a time. The kernel ends it when a request has used up
its CPU time, so that a busy machine changes no grade; a limit on wall time ends one that gets none. A worker's module
has `answer(request)` and `prepare(request)`; this one knows nothing of what is asked.
"""

import atexit
import contextlib
import json
import logging
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from queue import LifoQueue
from typing import Any

from generation.grading.errors import CannotStartError, DiedError, RefusedError, TimedOutError

CPU_S = 2.0  # of CPU time for one request
WALL_S = 10.0
"""Longest wait for one answer, however busy the machine is."""
START_S = 120.0
"""Longest wait for a worker to come up; it takes a second of CPU time, half a minute beside many others."""
TRIES = 3  # starts before a worker is said to be unable to
_LARGEST = 1 << 20  # bytes of a reply
_MEMORY = 1 << 30  # bytes of a worker's address space
_RETIRES_AT = 300 << 20  # bytes of memory at which a worker leaves; it has about 100 MiB when it starts

Request = Mapping[str, Any]


class _Worker:
    """A process that answers requests, and the pipe to it."""

    def __init__(self, module: str) -> None:
        self._pipe, theirs = Pipe()
        # The worker can import what this process can, whatever made it so.
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        # Sets in sympy are ordered by hash: with another seed another worker might come to another grade.
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "0", "PYTHONSAFEPATH": "1"}
        code = f"from generation.grading.workers import serve; import {module} as worker"
        code += f"; serve({theirs.fileno()}, {os.getpid()}, {CPU_S}, worker)"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            pass_fds=[theirs.fileno()],
            # A session of its own: Ctrl-C is for the run, which lets its questions end.
            start_new_session=True,
        )
        theirs.close()

    def ask(self, request: Request) -> dict[str, Any]:
        with contextlib.suppress(OSError):  # a process that has ended is told by what it left to read
            self._pipe.send_bytes(json.dumps(request).encode("ascii"))
        return self.read(WALL_S)

    def read(self, wait_s: float) -> dict[str, Any]:
        """Return what it says next; one that says nothing is ended. Raises TimedOutError or DiedError."""
        try:
            if self._pipe.poll(wait_s):
                return dict(json.loads(self._pipe.recv_bytes(_LARGEST)))
            self.end()
            raise TimedOutError("no answer in time")
        except (OSError, EOFError) as error:
            self.end()
            if self.process.returncode == -signal.SIGPROF:
                raise TimedOutError("its CPU time was used up") from error
            raise DiedError(f"it ended with {self.process.returncode}") from error

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self._pipe.close()


class WorkerPool:
    """At most `size` workers of a module, started when they are needed; each is asked by one thread at a time."""

    def __init__(self, module: str, size: int) -> None:
        self._module = module
        self._workers: list[_Worker | None] = [None] * size
        self._free: LifoQueue[int] = LifoQueue()
        for place in range(size):
            self._free.put(place)

    def ask(self, request: Request) -> dict[str, Any]:
        """Return the answer of a worker; wait until one is free.

        Raises TimedOutError, DiedError when two workers ended over it, CannotStartError.
        """
        place = self._free.get()
        try:
            return self._worker(place).ask(request)
        except DiedError:  # not each death is the request's doing
            return self._worker(place).ask(request)
        finally:
            self._free.put(place)

    def pids(self) -> list[int]:
        """Return the process ids of the workers that were not ended."""
        return [one.process.pid for one in self._workers if one and one.process.returncode is None]

    def close(self) -> None:
        """End all workers. The pool can be asked again, and starts new ones then."""
        for worker in filter(None, self._workers):
            worker.end()

    def _worker(self, place: int) -> _Worker:
        """Return the live worker of a place, started where there is none."""
        worker, reason = self._workers[place], ""
        if worker and worker.process.poll() is None:
            return worker
        for _ in range(TRIES):
            worker = self._workers[place] = _Worker(self._module)
            try:
                worker.read(START_S)
                return worker
            except RefusedError as error:
                # A signal to all processes of a job ends one that cannot ignore it yet.
                reason = str(error)
        raise CannotStartError(f"{self._module} does not start: {reason}")


_pools: dict[tuple[int, str], WorkerPool] = {}


def pool_of(module: str) -> WorkerPool:
    """Return this process's pool of workers of a module; a forked child must not speak on its parent's pipes."""
    return _pools.setdefault((os.getpid(), module), WorkerPool(module, pool_size()))


def pool_size() -> int:
    """Return two, where there are two cores: grading is beside the work, not the work."""
    return min(2, len(os.sched_getaffinity(0)))


@atexit.register
def close_pools() -> None:
    """End all workers of this process."""
    for (pid, _), pool in list(_pools.items()):
        if pid == os.getpid():
            pool.close()


def serve(descriptor: int, parent: int, cpu_s: float, worker: Any) -> None:
    """Answer requests by a worker's module until nobody will ask any more. What its `prepare` takes is not counted."""
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(name, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    logging.disable(logging.CRITICAL)
    connection = Connection(descriptor)
    worker.prepare({})
    connection.send_bytes(b"{}")
    with contextlib.suppress(EOFError, OSError):
        while True:
            # A process that the parent forked may hold the pipe open when the parent is gone.
            while not connection.poll(1.0):
                if os.getppid() != parent:
                    return
            request = json.loads(connection.recv_bytes())
            worker.prepare(request)
            signal.setitimer(signal.ITIMER_PROF, cpu_s)
            reply = worker.answer(request)
            signal.setitimer(signal.ITIMER_PROF, 0)
            connection.send_bytes(json.dumps(reply).encode("ascii"))
            # What getrusage calls the most it ever held begins with what its parent held.
            with open("/proc/self/statm", encoding="ascii") as file:
                if int(file.read().split()[1]) * resource.getpagesize() > _RETIRES_AT:
                    return
