"""One engine of this machine without Ray: its front end in this process, its core in a process of its own.

Ray's own processes take memory and, where cores are few, time from the engine. What they are for is done here: vLLM's
core dies with this process, its output goes to a log, and a signal from the terminal does not reach it.
"""

import logging
import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from multiprocessing import resource_tracker, spawn
from pathlib import Path
from typing import Any

from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

from cluster import QUIET, reaper
from cluster.inference.engine import EngineSettings
from cluster.inference.pool import Pool
from cluster.inference.replica import Replica, Work
from cluster.inference.replicas import Fleet, LocalReplicas, Placement, pool_of

_CORE = "EngineCore"  # how vLLM names its process
_KEPT_FROM_IT = {signal.SIGINT, signal.SIGUSR1}  # sent to all processes of a terminal or of a Slurm job
_LOGGED = {"VLLM_LOGGING_STREAM": "ext://sys.__stdout__"}  # vLLM's name for the stream; see `_output_to`


class HostedReplicas(LocalReplicas):
    """One engine whose core may die, hang, or run out of memory like those on Ray."""

    def __init__(self, placement: Placement, work: Work) -> None:
        # The engine's threads inherit the mask, and its processes theirs.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _KEPT_FROM_IT)
        try:
            super().__init__(placement, work)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def launch(self, number: int, settings: EngineSettings) -> Replica:
        return Replica(settings, self.work, self.log_of(number))

    def kill(self, host: Replica, running: Collection[Future[Any]]) -> None:
        super().kill(host, running)
        # If it hangs as it starts, there is no engine yet to close.
        for process in multiprocessing.active_children():
            if process.name.startswith(_CORE):
                process.kill()

    def log_of(self, number: int) -> Path:
        return self.placement.logs / f"engine-{number}.log"


class HostedFleet(Fleet):
    """One engine of this machine, hosted in this process."""

    def __init__(self, place: Callable[[], Placement]) -> None:
        """Take `place`, which decides how it is started, and raises ValueError if it cannot be."""
        self._place = place

    @contextmanager
    def open(self, work: Work) -> Iterator[Pool[Any, Any]]:
        self.placement = self._place()
        # Python's own process, which is to live on, and whose start unblocks signals in the thread that needs it.
        resource_tracker.ensure_running()
        self.placement.logs.mkdir(parents=True, exist_ok=True)
        # In /tmp whatever TMPDIR says, because the path of a Unix socket is limited to 107 bytes.
        mark, folder = reaper.new_mark(), tempfile.mkdtemp(prefix="skillfactory-engine-", dir="/tmp")
        environment = {**QUIET, **_LOGGED, **self.placement.environment, "VLLM_RPC_BASE_PATH": folder, mark: "1"}
        with _environment(environment), _without_main():
            watcher = reaper.start(mark, folder)
            try:
                replicas = HostedReplicas(self.placement, work)
                with _output_to(replicas.log_of(0)), pool_of(replicas) as pool:
                    yield pool
            finally:
                watcher.communicate()


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set these variables; afterwards all are as they were, which vLLM changes more of."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        # No more than that: other threads may read them, in C without a lock.
        os.environ.update({name: value for name, value in before.items() if os.environ.get(name) != value})


@contextmanager
def _without_main() -> Iterator[None]:
    """Let processes that are spawned meanwhile begin without the command's own module, of which they need nothing.

    Python would import it there once more, which takes a second and 100 MiB, and fails where it is no file.
    """
    whole = spawn.get_preparation_data

    def prepare(name: str) -> dict[str, Any]:
        return {key: value for key, value in whole(name).items() if not key.startswith("init_main_from")}

    spawn.get_preparation_data = prepare
    try:
        yield
    finally:
        spawn.get_preparation_data = whole


@contextmanager
def _output_to(log: Path) -> Iterator[None]:
    """Send what libraries and processes write to the log. What is printed here goes on to where it went."""
    with ExitStack() as undo:
        handler = logging.StreamHandler(sys.__stderr__)
        logging.getLogger().addHandler(handler)
        undo.callback(logging.getLogger().removeHandler, handler)
        if not are_progress_bars_disabled():
            # vLLM downloads a model's small files here, with a bar that belongs to no stage.
            disable_progress_bars()
            undo.callback(enable_progress_bars)
        logging.captureWarnings(True)
        undo.callback(logging.captureWarnings, False)
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        undo.callback(os.close, file)
        for name, number in (("stdout", 1), ("stderr", 2)):
            stream, kept = getattr(sys, name), os.dup(number)
            stream.flush()
            undo.callback(os.close, kept)
            undo.callback(os.dup2, kept, number)
            if _number(stream) == number:
                shown = os.fdopen(kept, "w", 1, stream.encoding, stream.errors, closefd=False)
                undo.callback(setattr, sys, name, stream)
                undo.callback(shown.close)
                setattr(sys, name, shown)
            os.dup2(file, number)
        yield


def _number(stream: Any) -> int | None:
    try:
        return int(stream.fileno())
    except (OSError, ValueError):
        return None
