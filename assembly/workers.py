"""Functions called in processes of their own, results in the order of the calls."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import pyarrow as pa

T = TypeVar("T")
Run = Callable[..., Iterator[Any]]
"""run(function, [arguments of the first call, …]) -> results in order."""


@contextmanager
def workers(processes: int) -> Iterator[Run]:
    """With one process everything is called here. The processes end with the context, or with this process."""
    if processes == 1:
        yield _here
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_initialize) as pool:

        def run(function: Callable[..., T], calls: Sequence[tuple[Any, ...]]) -> Iterator[T]:
            futures = [pool.submit(function, *arguments) for arguments in calls]
            try:
                for future in futures:
                    yield future.result()
            finally:
                for future in futures:
                    future.cancel()

        yield run


def _here(function: Callable[..., T], calls: Sequence[tuple[Any, ...]]) -> Iterator[T]:
    return (function(*arguments) for arguments in calls)


def _initialize() -> None:
    # Ctrl-C and Slurm's signals reach every process; what becomes of the work is the parent's to say.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    _die_with_parent()
    # Each is one of as many as there are cores, and makes no reference cycles worth looking for.
    pa.set_cpu_count(1)
    gc.disable()
    # Gives less back to the system between two batches than the default does: a twentieth of all the time.
    if "jemalloc" in pa.supported_memory_backends():
        pa.set_memory_pool(pa.jemalloc_memory_pool())


def _die_with_parent() -> None:
    """A worker whose parent is killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
