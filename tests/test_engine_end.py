"""What an engine's processes say of their end, and what is tried after a lack of memory.

The CPU's lines were taken from a log of vLLM 0.32; those of CUDA are the messages of its source.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from cluster.errors import EngineDiedError, EngineMemoryError, EngineStartError
from cluster.inference.engine import Completion, Engine, Request, Sampling, error_text
from cluster.inference.models import find
from cluster.inference.pool import Lost, Pool, Tick
from cluster.inference.ray_replicas import RayReplicas
from cluster.inference.replicas import Placement
from cluster.inference.vllm_engine import VllmEngine
from cluster.inference.vllm_settings import VllmSettings
from cluster.session import Resources
from generation.builtin import MODEL
from generation.placement import cpu_environment
from tests import family
from tests.stuck import Item, ask

CPU = VllmSettings("m", None, "m", "", 1024, gpu=False, max_sequences=128)
GPU = VllmSettings("m", None, "m", "", 1024, gpu=True, max_sequences=1024)
REQUEST = Request("one", ({"role": "user", "content": "Make 9 from 4 and 5."},), Sampling(max_tokens=8), 0)

_CORE = "(EngineCore pid=25932) ERROR 11-21 15:31:59 [core.py:1510] "
_FRONT = "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}\n"
_WORKER = (
    "RuntimeError: Worker failed with error 'Available memory on node 0 (13.61/15.46 GiB) on kv cache allocation is "
)
_WORKER += "less than requested memory for kv (4000.0 GiB). Decrease --kv-cache-memory-bytes'"
_WORKER_0 = "(Worker_TP0 pid=9114) ERROR 11-28 14:45:47 [multiproc_executor.py:953] "
_WORKER_1 = "(Worker_TP1 pid=9115) ERROR 11-28 14:45:47 [multiproc_executor.py:953] "
_PROC = (
    "(EngineCore pid=9105) ERROR 11-28 14:45:49 [core.py:1510] Exception: WorkerProc initialization failed due to an "
    "exception in a background process. See stack trace for root cause.\n"
)
_NOT_THERE = "ValueError: x is not there"
_ASSERTED = "assert loaded_weight.shape[output_dim] == self.org_vocab_size"
_BARE = f"    {_ASSERTED}\n{_WORKER_0}           ^^^^^^^^^^^^^^^^\n{_WORKER_0}AssertionError"
_STATEMENT = f"AssertionError at `{_ASSERTED}`"
_ALLOCATOR = "RuntimeError: [enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you tried"
_CUDA = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
_CACHE = "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization`."


@pytest.mark.parametrize(
    ("log", "cause", "short"),
    [
        (f"{_CORE}Traceback:\n{_CORE}{_WORKER}\nTraceback\n{_WORKER}\n{_FRONT}", _WORKER, True),
        (f"{_CORE}{_CUDA}\n{_FRONT}", _CUDA, True),
        (f"{_CORE}{_CACHE}\n{_FRONT}", _CACHE, True),
        (
            f"{_CORE}OSError: no file named model.safetensors\n{_FRONT}",
            "OSError: no file named model.safetensors",
            False,
        ),
        (_FRONT, None, False),  # nothing better is known than the exception itself
        ("", None, False),
        # a worker of several that could not start: taken from logs of vLLM 0.32, the statement for want of words
        (
            f"{_WORKER_0}ValueError: x is not there\n{_WORKER_1}ValueError: x is not there\n{_PROC}{_FRONT}",
            _NOT_THERE,
            False,
        ),
        (f"{_WORKER_0}{_CUDA}\n{_PROC}{_FRONT}", _CUDA, True),
        (f"{_WORKER_0}{_ALLOCATOR}\n{_PROC}{_FRONT}", _ALLOCATOR, True),
        (f"{_WORKER_0}    shape = weight.shape\n{_WORKER_0}{_BARE}\n{_PROC}{_FRONT}", _STATEMENT, False),
        (f"{_WORKER_0}MemoryError\n{_PROC}{_FRONT}", "MemoryError", True),
        (f"{_PROC}{_FRONT}", None, False),
        # an earlier complaint about memory that was not the end of it
        (f"{_CORE}{_CUDA}\n{_CORE}KeyError: 'x'\n", "KeyError: 'x'", False),
        # a model's words in a log are no exception
        ("(EngineCore pid=1) INFO 11-21 [x.py:1] it said MemoryError: all gone\n", None, False),
    ],
)
def test_the_cause_is_found_in_the_log(log: str, cause: str | None, short: bool) -> None:
    found = CPU.cause(log)
    assert (found and str(found)) == cause
    assert isinstance(found, EngineMemoryError) == short


def test_each_time_less_is_asked_for() -> None:
    told = []
    settings = GPU
    for _ in range(3):
        settings = settings.smaller()
        arguments = settings.arguments()
        told.append([arguments[n] for n in ("max_num_seqs", "max_num_batched_tokens", "gpu_memory_utilization")])
    # The first time fewer sequences alone, which leaves more for the cache: too small a cache needs just that.
    assert told == [[512, 8192, 0.9], [256, 4096, 0.8], [128, 2048, 0.7]]
    assert settings.limits() == "128 sequences and 70% of the GPU's memory"


def test_on_the_cpu_too() -> None:
    smaller = CPU.smaller()
    assert smaller.arguments()["kv_cache_memory_bytes"] == 512 << 20
    assert smaller.arguments()["max_num_seqs"] == 64
    assert smaller.arguments()["max_num_batched_tokens"] >= CPU.context, "a whole context, or seeds kill the engine"
    assert smaller.limits() == "64 sequences and 512 MiB of cache"


def test_limits_do_not_fall_for_ever() -> None:
    settings = GPU
    for _ in range(30):
        settings = settings.smaller()
    assert (settings.max_sequences, settings.memory_share, settings.max_batched_tokens) == (8, 0.5, 2048)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError("no room"), "MemoryError: no room"),
        (EngineDiedError("ValueError: too much"), "ValueError: too much"),
        (EngineDiedError(), "EngineDiedError: "),
        (ValueError("1 error\n  x is wrong\n"), "ValueError: 1 error x is wrong"),
    ],
)
def test_an_error_in_its_own_words(error: Exception, expected: str) -> None:
    assert error_text(error) == expected


@dataclass(frozen=True)
class WorkerLost(VllmSettings):
    """The first time the engine's worker process dies half a second before the first request."""

    bait: Path = Path()

    async def start(self) -> VllmEngine:
        engine = await super().start()
        if self.bait.exists():
            self.bait.unlink()
            family.end([pid for pid, process in family.descendants().items() if "VLLM::Worker" in process.line])
            time.sleep(0.5)
        return engine


async def answer(engine: Engine, request: Request) -> Completion:
    return await engine.generate(request)


@pytest.mark.ray
@pytest.mark.engine
def test_a_real_engine_whose_worker_dies_before_the_first_request_is_lost(
    ray_session: Resources, tmp_path: Path
) -> None:
    """vLLM would let that request wait for ever."""
    bait = tmp_path / "bait"
    bait.touch()
    model = str(find(str(MODEL)).path)
    settings = WorkerLost(model, None, "m", "", 1024, gpu=False, max_sequences=8, cache_bytes=1 << 28, bait=bait)
    placement = Placement(settings, logs=tmp_path, environment=cpu_environment(1), silence_s=3000)
    with Pool[Request, Completion](RayReplicas(placement, answer), 8) as pool:
        events = [event for event in pool.run([REQUEST]) if not isinstance(event, Tick)]
    assert [type(event).__name__ for event in events] == ["Loading", "Started", "Lost", "Loading", "Started", "Done"]


@pytest.mark.ray
@pytest.mark.engine
def test_a_real_engine_without_memory_says_so_itself(ray_session: Resources, tmp_path: Path) -> None:
    """More cache than any machine has: asked for less each time, and given up in the worker's own words."""
    settings = replace(CPU, model=str(find(str(MODEL)).path), cache_bytes=4000 << 30)
    placement = Placement(settings, logs=tmp_path, environment=cpu_environment(1))
    told = r"3 times in a row: RuntimeError: .*Available memory on node.*engine-0.log"
    lost: list[str] = []
    with Pool[Item, int](RayReplicas(placement, ask), 8) as pool, pytest.raises(EngineStartError, match=told):
        lost.extend(event.reason for event in pool.run([Item(0)]) if isinstance(event, Lost))
    assert ["comes back with 64 sequences" in lost[0], "comes back with 32 sequences" in lost[1]] == [True, True]
