"""Replicas as Ray's actors: each engine in a process of its own, on whatever node has room for it."""

import asyncio
import collections
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
from ray.util.metrics import Counter, Gauge

from cluster import QUIET, reaper
from cluster.errors import EngineDiedError, EngineMemoryError
from cluster.inference.engine import EngineInfo, EngineSettings
from cluster.inference.pool import Pool
from cluster.inference.replica import Replica, Report, Work
from cluster.inference.replicas import Fleet, Placement, ReplicaSet, pool_of
from cluster.session import Resources, check_alive, session

METRICS_EVERY_S = 5.0


class Metrics:
    """What Ray's exporter tells Prometheus of an engine, as ray_skillfactory_…; where Ray has no exporter, nothing."""

    def __init__(self, run: str, number: int, restarts: int) -> None:
        def of(kind: Any, name: str, words: str) -> Any:
            metric = kind(f"skillfactory_{name}", words, tuple(tags))
            metric.set_default_tags(tags)
            return metric

        # A folder's name may be no text.
        tags = {"run": run.encode(errors="replace").decode(), "engine": str(number)}
        self._gauges = {
            "running": of(Gauge, "requests_running", "Requests in the engine."),
            "waiting": of(Gauge, "requests_waiting", "Requests that wait for a place in the engine."),
        }
        self._counters = {
            name: of(Counter, name, f"{name.capitalize().replace('_', ' ')} of the requests that were completed.")
            for name in ("prompt_tokens", "cached_tokens", "output_tokens")
        }
        self._counters["items"] = of(Counter, "items", "Items, such as questions, that are done.")
        self._counted = dict.fromkeys(self._counters, 0)
        self._restarts, self._restarted = of(Gauge, "engine_restarts", "How often it was started again."), restarts

    def set(self, report: Report, items: int) -> None:
        """Take what the engine reports, and how many items have ended on it."""
        self._restarts.set(self._restarted)
        for name, gauge in self._gauges.items():
            gauge.set(getattr(report, name))
        for name, counter in self._counters.items():
            now = items if name == "items" else getattr(report, name)
            if more := now - self._counted[name]:  # Ray refuses to add nothing
                counter.inc(more)
            self._counted[name] = now


class ReplicaProcess(Replica):
    """A replica in a process of its own, which writes to `log`; a reaper cleans up after it."""

    def __init__(self, settings: EngineSettings, work: Work, log: str, mark: str, restarts: int = 0) -> None:
        path = Path(log)
        number = int(path.stem.rpartition("-")[2])
        self._metrics, self._ended = Metrics(path.parent.parent.name, number, restarts), 0
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

    async def start(self) -> EngineInfo:
        info = await super().start()
        self._telling = asyncio.ensure_future(self._tell())
        return info

    async def _tell(self) -> None:
        while True:
            self._metrics.set(await self.report(), self._ended)
            await asyncio.sleep(METRICS_EVERY_S)

    async def do(self, item: Any) -> Any:
        result = await super().do(item)
        self._ended += 1
        return result


class RayReplicas(ReplicaSet):
    """Engines in actors of the Ray cluster that this process is connected to."""

    def __init__(self, placement: Placement, work: Work) -> None:
        super().__init__(placement, work)
        self._launched = collections.Counter[int]()

    def launch(self, number: int, settings: EngineSettings) -> Any:
        placement, mark = self.placement, reaper.new_mark()
        self._launched[number] += 1
        actor = ray.remote(ReplicaProcess).options(
            # An allocation may have fewer cores than GPUs, and Ray would leave the other GPUs idle.
            num_cpus=0 if placement.gpus_each else 1,
            num_gpus=placement.gpus_each,
            max_concurrency=placement.in_flight + 8,
            runtime_env={"env_vars": {**QUIET, **placement.environment, mark: "1"}},
            scheduling_strategy="SPREAD",
        )
        log, restarts = str(self.log_of(number).resolve()), self._launched[number] - 1
        return actor.remote(settings, self.work, log, mark, restarts)

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
