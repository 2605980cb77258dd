"""Worker processes for grading that may not terminate or may exhaust memory: thread-safe, killed and replaced.

A worker is a fresh interpreter that answers JSON requests one at a time. The kernel kills it when a request exceeds
its CPU time, so that a busy machine changes no grade; a wall-clock limit catches one that gets no CPU time. A worker's
module has `answer(request)` and `prepare(request)`, first called with the pool's `setup`, and perhaps MEMORY, the
bytes of its address space; this module knows nothing about the requests.
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
from types import MappingProxyType
from typing import Any

from generation.grading.errors import CannotStartError, DiedError, RefusedError, TimedOutError

CPU_S = 2.0  # CPU time per request
WALL_S = 10.0  # timeout of one answer, even on a busy machine
SETUP_CPU_S = 20.0  # CPU time of the pool's setup, if it has one
START_S = 120.0  # timeout of a worker's start, which takes a second of CPU time, half a minute next to many others
TRIES = 3  # attempts to start a worker
_LARGEST = 1 << 20  # bytes of a reply
_MEMORY = 1 << 30  # bytes of a worker's address space
_MAY_GROW = 200 << 20  # bytes of memory that a worker may gain after its start before it exits

Request = Mapping[str, Any]


class _Worker:
    def __init__(self, module: str, setup: Request) -> None:
        self._pipe, theirs = Pipe()
        # The worker can import whatever this process can.
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        code = f"from generation.grading.workers import serve; import {module} as worker"
        code += f"; serve({theirs.fileno()}, {os.getpid()}, {CPU_S}, {SETUP_CPU_S}, worker)"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # sympy iterates over sets, whose order depends on the hash seed: without a fixed one, grades might differ.
            env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "0", "PYTHONSAFEPATH": "1"},
            pass_fds=[theirs.fileno()],
            # Its own session, so that Ctrl-C reaches only the run, which finishes its questions.
            start_new_session=True,
        )
        theirs.close()
        self._send(setup)

    def ask(self, request: Request) -> dict[str, Any]:
        self._send(request)
        return self.read(WALL_S)

    def _send(self, request: Request) -> None:
        with contextlib.suppress(OSError):  # reading tells how a dead process ended
            self._pipe.send_bytes(json.dumps(request).encode("ascii"))

    def read(self, wait_s: float) -> dict[str, Any]:
        """Return the next reply; end the worker if none comes. Raises TimedOutError or DiedError."""
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
        # With what it has started: its process leads a group, which is there until the process is waited for.
        if self.process.returncode is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._pipe.close()


class WorkerPool:
    """At most `size` workers of a module, started on demand, each with `setup`; each serves one thread at a time."""

    def __init__(self, module: str, size: int, setup: Request = MappingProxyType({})) -> None:
        self._module, self._setup = module, dict(setup)
        self._workers: list[_Worker | None] = [None] * size
        self._free: LifoQueue[int] = LifoQueue()
        for slot in range(size):
            self._free.put(slot)

    def ask(self, request: Request) -> dict[str, Any]:
        """Return a free worker's answer. Raises TimedOutError, CannotStartError, DiedError if two workers die of it."""
        slot = self._free.get()
        try:
            return self._worker(slot).ask(request)
        except DiedError:  # the request may not be to blame
            return self._worker(slot).ask(request)
        finally:
            self._free.put(slot)

    def pids(self) -> list[int]:
        return [one.process.pid for one in self._workers if one and one.process.returncode is None]

    def close(self) -> None:
        """End all workers. The pool stays usable, and starts new ones."""
        for worker in filter(None, self._workers):
            worker.end()

    def _worker(self, slot: int) -> _Worker:
        """Return the live worker of a slot, started if there is none. Raises CannotStartError."""
        worker, reason = self._workers[slot], ""
        if worker and worker.process.poll() is None:
            return worker
        for _ in range(TRIES):
            worker = self._workers[slot] = _Worker(self._module, self._setup)
            try:
                worker.read(START_S)
                return worker
            except RefusedError as error:
                # A signal to all of a job's processes kills a worker that does not ignore signals yet.
                reason = str(error)
                if self._setup and isinstance(error, TimedOutError):
                    break  # it would again
        raise CannotStartError(f"{self._module} does not start: {reason}")


_pools: dict[tuple[int, str, str], WorkerPool] = {}


def pool_of(module: str, **setup: str) -> WorkerPool:
    """Return this process's pool for a module and a setup; a forked child must not use its parent's pipes."""
    key = os.getpid(), module, json.dumps(setup)
    return _pools.setdefault(key, WorkerPool(module, pool_size(), setup))


def pool_size() -> int:
    """Return two, or one on a single core: grading is only a side job."""
    return min(2, len(os.sched_getaffinity(0)))


@atexit.register
def close_pools() -> None:
    """End all workers of this process."""
    for (pid, *_), pool in list(_pools.items()):
        if pid == os.getpid():
            pool.close()


def serve(descriptor: int, parent: int, cpu_s: float, setup_cpu_s: float, worker: Any) -> None:
    """Answer requests with a worker's module until the parent is gone, then end the group of this process.

    `prepare` has no CPU limit but for the setup, if there is one.
    """
    _serve(descriptor, parent, cpu_s, setup_cpu_s, worker)
    # A thread or a process that a request has left behind would stay.
    os.killpg(os.getpid(), signal.SIGKILL)


def _serve(descriptor: int, parent: int, cpu_s: float, setup_cpu_s: float, worker: Any) -> None:
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(name, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    memory = getattr(worker, "MEMORY", _MEMORY)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    logging.disable(logging.CRITICAL)
    os.set_inheritable(descriptor, False)
    connection = Connection(descriptor)
    setup = json.loads(connection.recv_bytes())
    signal.setitimer(signal.ITIMER_PROF, setup_cpu_s if setup else 0)
    worker.prepare(setup)
    signal.setitimer(signal.ITIMER_PROF, 0)
    retires_at = _memory() + _MAY_GROW
    connection.send_bytes(b"{}")
    with contextlib.suppress(EOFError, OSError):
        while True:
            # Another child of the parent may hold the pipe open after the parent is gone.
            while not connection.poll(1.0):
                if os.getppid() != parent:
                    return
            request = json.loads(connection.recv_bytes())
            worker.prepare(request)
            signal.setitimer(signal.ITIMER_PROF, cpu_s)
            reply = worker.answer(request)
            signal.setitimer(signal.ITIMER_PROF, 0)
            connection.send_bytes(json.dumps(reply).encode("ascii"))
            if _memory() > retires_at:
                return


def _memory() -> int:
    """Return the bytes that this process holds."""
    # Not getrusage: its maximum includes what the parent held at the fork.
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
