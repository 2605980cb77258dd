"""Worker processes for grading that may loop or eat memory: asked from any thread, killed, replaced.

A worker is a fresh interpreter that answers JSON, one request at a time, with a length before each, over
pipes. The kernel ends it when a request has used up its CPU time, so that a busy machine changes no
grade; a limit on wall time ends one that gets none. Knows nothing of what is asked.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

CPU_S = 2.0
"""CPU time for one request."""
WALL_S = 10.0
"""Longest wait for one answer, however busy the machine is."""
START_S = 120.0
"""Longest wait for a worker to come up; it takes a second of CPU time, half a minute beside many others."""
TRIES = 3
"""Starts before a worker is said to be unable to. A request is tried twice: not each death is its doing."""

_LENGTH = struct.Struct(">I")
_LARGEST = 1 << 20
"""Bytes of a message: more is no answer of a worker of ours."""


class TimedOutError(Exception):
    """The request used up its time."""


class DiedError(Exception):
    """The worker ended over the request, or said nothing that can be read."""


class CannotStartError(RuntimeError):
    """No worker comes up; the message says why."""


class _Worker:
    """One process; asked by one thread at a time."""

    def __init__(self, module: str) -> None:
        # What this process can import the worker can too, whatever made it so.
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        # Sets in sympy are ordered by hash: with another seed another worker might come to another grade.
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "0", "PYTHONSAFEPATH": "1"}
        # A session of its own: Ctrl-C is for the run, which lets its questions end.
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, str(os.getpid()), str(CPU_S)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env=environment,
            start_new_session=True,
        )
        self.ready = False

    def wait_until_ready(self) -> None:
        """Until its first message, which says nothing; raises DiedError or TimedOutError."""
        if not self.ready:
            self._read(time.monotonic() + START_S)
            self.ready = True

    def is_ready(self) -> bool:
        """Whether it can be asked without waiting."""
        return self.ready or self._has_said_something(0.0)

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer; raises TimedOutError or DiedError."""
        message = json.dumps(request).encode("ascii")
        assert self.process.stdin is not None
        try:
            view = memoryview(_LENGTH.pack(len(message)) + message)
            while view:
                view = view[self.process.stdin.write(view) :]
        except (OSError, ValueError) as error:  # ValueError: closed meanwhile
            raise DiedError("it had ended before it was asked") from error
        return self._read(time.monotonic() + WALL_S)

    def end(self) -> None:
        self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
        self.process.wait()

    def _read(self, deadline: float) -> dict[str, Any]:
        (length,) = _LENGTH.unpack(self._bytes(_LENGTH.size, deadline))
        if length > _LARGEST:
            raise DiedError("it said too much")
        try:
            answer = json.loads(self._bytes(length, deadline))
        except ValueError as error:
            raise DiedError("it said what is no JSON") from error
        if not isinstance(answer, dict):
            raise DiedError("it said what is no answer")
        return answer

    def _bytes(self, count: int, deadline: float) -> bytes:
        assert self.process.stdout is not None
        read = bytearray()
        while len(read) < count:
            if not self._has_said_something(max(0.0, deadline - time.monotonic())):
                raise TimedOutError("no answer in time")
            chunk = os.read(self.process.stdout.fileno(), count - len(read))
            if not chunk:
                if self.process.wait(WALL_S) == -signal.SIGPROF:
                    raise TimedOutError("its CPU time was used up")
                raise DiedError(f"it ended with {self.process.returncode}")
            read += chunk
        return bytes(read)

    def _has_said_something(self, wait_s: float) -> bool:
        assert self.process.stdout is not None
        poll = select.poll()  # select() knows no descriptor above 1024
        poll.register(self.process.stdout.fileno(), select.POLLIN)
        return bool(poll.poll(wait_s * 1000))


class WorkerPool:
    """At most `size` workers of a module, started when they are needed."""

    def __init__(self, module: str, size: int) -> None:
        self._module = module
        self._all: set[_Worker] = set()
        self._lock = threading.Lock()
        self._free: list[_Worker | None] = [None] * size
        """The places that nobody uses, some of them without a worker yet."""
        self._freed = threading.Condition(self._lock)

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer of a worker; waits until one is free.

        Raises TimedOutError, DiedError when two workers ended over it, CannotStartError.
        """
        try:
            return self._ask_once(request)
        except DiedError:
            return self._ask_once(request)

    def pids(self) -> list[int]:
        """The workers that there are."""
        with self._lock:
            return [worker.process.pid for worker in self._all]

    def close(self) -> None:
        """End all workers. The pool can be asked again, and starts new ones then."""
        with self._lock:
            workers, self._all = self._all, set()
            self._free = [None] * len(self._free)
        for worker in workers:
            worker.end()

    def _ask_once(self, request: Mapping[str, Any]) -> dict[str, Any]:
        place = self._take()
        following: _Worker | None = None
        try:
            worker = self._ready(place)
            try:
                answer = worker.ask(request)
            except (TimedOutError, DiedError):
                # The next one begins to come up at once, and so does a spare: who kills one kills more.
                following = self._replaced(worker)
                self._start_spare()
                raise
            following = self._replaced(worker) if answer.pop("retire", False) else worker
            return answer
        finally:
            with self._freed:
                self._free.append(following)
                self._freed.notify()

    def _take(self) -> _Worker | None:
        """A free place: one whose worker is ready, else one whose is coming up, else one without."""
        with self._freed:
            self._freed.wait_for(lambda: bool(self._free))
            best = max(self._free, key=lambda worker: (worker is not None, worker is not None and worker.is_ready()))
            self._free.remove(best)
            return best

    def _start_spare(self) -> None:
        with self._freed:
            if None not in self._free:
                return
            self._free.remove(None)
        spare = self._replaced(None)
        with self._freed:
            self._free.append(spare)
            self._freed.notify()

    def _ready(self, worker: _Worker | None) -> _Worker:
        reason = ""
        for _ in range(TRIES):
            if worker is None or worker.process.poll() is not None:
                worker = self._replaced(worker)
            try:
                worker.wait_until_ready()
                return worker
            except (DiedError, TimedOutError) as error:
                # A signal to all processes of a job ends one that cannot ignore it yet.
                reason = str(error)
                self._ended(worker)
                worker = None
        raise CannotStartError(f"{self._module} does not start: {reason}")

    def _replaced(self, worker: _Worker | None) -> _Worker:
        if worker is not None:
            self._ended(worker)
        started = _Worker(self._module)
        with self._lock:
            self._all.add(started)
        return started

    def _ended(self, worker: _Worker) -> None:
        with self._lock:
            self._all.discard(worker)
        worker.end()


_pools: dict[str, WorkerPool] = {}
_left_to_the_parent: list[object] = []
_pools_lock = threading.Lock()


def pool_of(module: str) -> WorkerPool:
    """This process's pool of workers of a module."""
    with _pools_lock:
        if module not in _pools:
            _pools[module] = WorkerPool(module, pool_size())
        return _pools[module]


def pool_size() -> int:
    """Two, where there are two cores: grading is beside the work, not the work."""
    return min(2, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def close_pools() -> None:
    """End all workers of this process."""
    for pool in list(_pools.values()):
        pool.close()


def _forget_after_fork() -> None:
    """A forked child has the parent's pipes: it must not speak on them, and starts workers of its own."""
    global _pools_lock  # noqa: PLW0603 - another thread of the parent may have held it
    _left_to_the_parent.append(dict(_pools))
    _pools.clear()
    _pools_lock = threading.Lock()


os.register_at_fork(after_in_child=_forget_after_fork)
atexit.register(close_pools)
