"""Replicas as Ray's actors: each engine in a process of its own, on whatever node has room for it."""

import os
import tempfile
import uuid
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import ObjectLostError, OutOfMemoryError, RayError, RayTaskError

from cluster import QUIET, reaper
from cluster.errors import EngineDiedError, EngineMemoryError
from cluster.inference.engine import EngineSettings
from cluster.inference.pool import Pool
from cluster.inference.replica import Replica, Work
from cluster.inference.replicas import Fleet, Placement, ReplicaSet, pool_of
from cluster.session import Resources, check_alive, session


class ReplicaProcess(Replica):
    """A replica in a process of its own, which writes to `log`; a reaper cleans up after it."""

    def __init__(self, settings: EngineSettings, work: Work, log: str, mark: str) -> None:
        path = Path(log)
        if not path.parent.is_dir():
            # The run's folder is not on this machine, or was removed and must not be recreated in part.
            path = Path(tempfile.mkdtemp(prefix="skillfactory-logs-"), path.name)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(file, 1)
        os.dup2(file, 2)
        os.close(file)
        super().__init__(settings, work, path)
        # In /tmp whatever TMPDIR says, because the path of a Unix socket is limited to 107 bytes.
        folder = f"/tmp/skillfactory-engine-{uuid.uuid4().hex[:12]}"
        # The reaper first, then the folder: whenever this process is killed, nothing stays.
        self._reaper = reaper.start(mark, folder, detached=True)
        # vLLM leaves sockets behind; what torch compiles, however, is worth keeping for the next engine.
        cache = Path(tempfile.gettempdir(), f"torchinductor-{os.getuid()}")
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache))
        os.mkdir(folder, 0o700)
        tempfile.tempdir = os.environ["TMPDIR"] = folder


class RayReplicas(ReplicaSet):
    """Engines in actors of the Ray cluster that this process is connected to."""

    def launch(self, number: int, settings: EngineSettings) -> Any:
        placement, mark = self.placement, reaper.new_mark()
        actor = ray.remote(ReplicaProcess).options(
            # An allocation may have fewer cores than GPUs, and Ray would leave the other GPUs idle.
            num_cpus=0 if placement.gpus_each else 1,
            num_gpus=placement.gpus_each,
            max_concurrency=placement.in_flight + 8,
            runtime_env={"env_vars": {**QUIET, **placement.environment, mark: "1"}},
            scheduling_strategy="SPREAD",
        )
        return actor.remote(settings, self.work, str(self.log_of(number).resolve()), mark)

    def call(self, host: Any, method: str, *given: Any) -> Future[Any]:
        future: Future[Any] = getattr(host, method).remote(*given).future()
        return future

    def kill(self, host: Any, running: Collection[Future[Any]]) -> None:
        ray.kill(host)

    def own_error(self, error: BaseException | None) -> BaseException | None:
        if isinstance(error, RayTaskError) and error.cause:
            cause: BaseException = error.cause
            cause.__cause__ = error  # which has the actor's traceback
            return cause
        if not isinstance(error, RayError) or isinstance(error, RayTaskError | ObjectLostError):
            return error
        # Ray's message ends with the reason. OutOfMemoryError comes from its memory monitor, and is no RayActorError.
        words = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[-1].strip()}"
        return EngineMemoryError(words) if isinstance(error, OutOfMemoryError) else EngineDiedError(words)

    def check_place(self) -> None:
        check_alive()

    def log_of(self, number: int) -> Path:
        return self.placement.logs / f"engine-{number}.log"


class RayFleet(Fleet):
    """Engines on a Ray cluster that is started here, or joined at `address`."""

    def __init__(self, address: str | None, place: Callable[[Resources], Placement]) -> None:
        """Take `place`, which decides by what the cluster has, and raises ValueError if that is not enough."""
        self._address, self._place = address, place

    @contextmanager
    def open(self, work: Work) -> Iterator[Pool[Any, Any]]:
        with session(self._address) as resources:
            self.placement = self._place(resources)
            with pool_of(RayReplicas(self.placement, work)) as pool:
                yield pool
