"""A minute of the real engines on the questions of a plan, whose rows are measured and kept nowhere.

Questions begin until the minute is over, in an order drawn beforehand; each that has begun is finished and counted, so
that long ones are not left out. Each has few samples, and as many reflections on each as in the run.
"""

import io
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cluster.errors import AllFailedError, Stopped
from cluster.inference.engine import Completion, Engine, EngineInfo, Request
from cluster.inference.pool import Done, Failed, Loading, Lost, Started
from cluster.inference.replicas import Fleet
from cluster.jobs.progress import ASKED_AGAIN, say
from cluster.jobs.store import WRITING
from generation.measured import Speed
from generation.placement import choose_fleet
from generation.plan import Plan
from generation.preview import evenly
from generation.raw.schema import to_table
from generation.records import Question
from generation.rollout import Rollout
from generation.settings import Settings

LASTS_S = 60.0
SAMPLES = 2  # of a question under each variant: the fewest that show how questions differ
_WINDOW_S = 5.0


class Span(NamedTuple):
    """A request: when it was asked and answered, in seconds of its machine's clock, and how many tokens came."""

    begun: float
    ended: float
    tokens: int


class Probed(NamedTuple):
    """What became of one question."""

    table: pa.Table
    spans: tuple[Span, ...]


class Probe(NamedTuple):
    """What a probe found."""

    tables: list[pa.Table]
    failed: int  # questions
    speed: Speed | None
    loaded_s: float  # until the first engine was ready
    asked_s: float  # from then until all was finished
    ending_s: float  # how much longer the last of the work took than at full speed
    stored: int  # bytes of the rows where they are stored


@dataclass(frozen=True)
class ProbeWork:
    """The work of a probe on one question."""

    rollout: Rollout
    task_config: str

    async def __call__(self, engine: Engine, question: Question) -> Probed:
        watched = _Watched(engine)
        attempts = await self.rollout(watched, question)
        table = to_table(attempts, engine.info, self.rollout.recorded, self.task_config)
        return Probed(table, tuple(watched.spans))


class _Watched:
    """An engine whose requests are timed."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self.spans = engine, list[Span]()

    @property
    def info(self) -> EngineInfo:
        return self._engine.info

    async def generate(self, request: Request) -> Completion:
        begun = time.time()
        completion = await self._engine.generate(request)
        self.spans.append(Span(begun, time.time(), completion.output_tokens))
        return completion

    async def close(self) -> None:
        """Do nothing: the engine is the replica's."""


def probe(plan: Plan, settings: Settings, owed: set[str], fleet: Fleet | None) -> Probe:
    """Ask the engines that the run would have, and return what was found. Leaves nothing in the run directory.

    Raises as a run does: ValueError, EngineStartError, ClusterLostError; AllFailedError if no question could be asked.
    """
    rollout = plan.rollout
    few = min(SAMPLES, rollout.samples)
    asked = replace(rollout, samples=few, rl_samples=min(SAMPLES, rollout.rl_samples), lacking=None)
    folder = Path(tempfile.mkdtemp(prefix="skillfactory-probe-"))
    small = replace(plan, rollout=asked, per_item=few * len(rollout.variants), out=folder)
    asking = _Asking(evenly(small.items(owed), settings.seed))
    say("probe", f"for {LASTS_S:.0f} s or until all is asked; what has begun by then is finished, and no row is kept")
    try:
        found = asking.ask(fleet or choose_fleet(small, settings), ProbeWork(asked, plan.task_config))
    except Exception:
        if any(folder.iterdir()):
            say("probe", f"what the engines said is in {folder}")
        else:
            folder.rmdir()
        raise
    except Stopped:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    return found._replace(speed=found.speed and found.speed._replace(served=plan.model.served is not None))


class _Asking:
    """The course of a probe."""

    def __init__(self, questions: Sequence[Question]) -> None:
        self._questions = questions
        self._ready: float | None = None  # when the first engine was
        self._dealt = 0.0  # when the last question began
        self._ended: list[float] = []  # when each question was finished
        self._tables: list[pa.Table] = []
        self._spans: list[Span] = []
        self._failed: list[str] = []  # reasons

    def ask(self, fleet: Fleet, work: ProbeWork) -> Probe:
        began = time.time()
        with fleet.open(work) as pool:
            for event in pool.run(self._while_it_lasts()):
                self._take(event)
        if not self._tables:
            reason = self._failed[0] if self._failed else "there was none"
            raise AllFailedError(f"no question of the probe could be asked: {reason}", ASKED_AGAIN)
        ready = self._ready or began
        engines, gpus = fleet.placement.engines, fleet.placement.gpus_each
        speed, ending_s = speed_in(self._spans, self._ended, ready, self._dealt, engines=engines, gpus_each=gpus)
        asked_s, stored = max(self._ended) - ready, stored_bytes(self._tables)
        return Probe(self._tables, len(self._failed), speed, ready - began, asked_s, ending_s, stored)

    def _while_it_lasts(self) -> Iterator[Question]:
        for question in self._questions:
            if self._ready is not None and time.time() > self._ready + LASTS_S:
                return
            self._dealt = time.time()
            yield question

    def _take(self, event: Any) -> None:
        match event:
            case Done(_, result):
                self._tables.append(result.table)
                self._spans += result.spans
                self._ended.append(time.time())
            case Failed(_, reason, _):
                self._failed.append(reason)
            case Lost(number, reason, _):
                say("engines", f"engine {number} was lost ({reason})")
            case Loading(number, words):
                say("engines", f"engine {number} {words}")
            case Started(number, info):
                say("engines", f"engine {number} ready: {info.engine} {info.engine_version}")
                self._ready = self._ready or time.time()


def stored_bytes(tables: Sequence[pa.Table]) -> int:
    """Return how many bytes these rows take where they are stored, in one file."""
    held = io.BytesIO()
    pq.write_table(pa.concat_tables(tables), held, **WRITING)
    return held.tell()


def speed_in(
    spans: Sequence[Span], ended: Sequence[float], ready: float, dealt: float, *, engines: int, gpus_each: int = 0
) -> tuple[Speed | None, float]:
    """Return the speed while the engines were full, and how many seconds the end took beyond the same work at it.

    They are full from when the first question is finished until the last one begins, or where that is short, from when
    they are ready. A request's tokens are spread evenly over its time. The slowest and the fastest window of some
    seconds give the range. None if nothing was written.
    """
    written, last = sum(span.tokens for span in spans), max(ended, default=ready)
    if not written or last <= ready:
        return None, 0.0
    begun, over = min(ended, default=ready), dealt
    if over - begun < 2 * _WINDOW_S:
        begun = ready
    if over - begun < _WINDOW_S:
        # All began at once: there is nothing but the whole.
        rate = written / (last - ready)
        return Speed(rate, rate, rate, engines, gpus_each), 0.0
    edges = np.linspace(begun, over, max(1, int((over - begun) / _WINDOW_S)) + 1)
    rates = np.diff(_written_until(spans, edges)) / np.diff(edges)
    mean = float(rates.mean())
    (ahead,) = _written_until(spans, np.array([over]))
    ending_s = max(0.0, last - over - float(written - ahead) / mean)
    return Speed(float(rates.min()), mean, float(rates.max()), engines, gpus_each), ending_s


def _written_until(spans: Sequence[Span], moments: np.ndarray) -> np.ndarray:
    """Return how many tokens were written until each moment."""
    begun, ended, tokens = (np.array(column, dtype=float) for column in zip(*spans, strict=True))
    part = (moments[:, None] - begun) / np.maximum(ended - begun, 1e-9)
    return np.asarray(np.clip(part, 0, 1) @ tokens)
