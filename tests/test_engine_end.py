"""What an engine's processes say of their end, and what is tried after a lack of memory.

The CPU's lines were taken from a log of vLLM 0.32; those of CUDA are the messages of its source.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from cluster.errors import EngineDiedError, EngineMemoryError
from cluster.inference.engine import Completion, Engine, Request, Sampling, error_text
from cluster.inference.models import find
from cluster.inference.pool import Done, Load, Lost, Pool, Released, Tick
from cluster.inference.ray_replicas import RayReplicas
from cluster.inference.replicas import Placement
from cluster.inference.vllm_engine import VllmEngine
from cluster.inference.vllm_settings import VllmSettings
from cluster.session import Resources
from generation.builtin import MODEL
from generation.placement import cpu_environment
from tests import family

CPU = VllmSettings("m", None, "m", "", 1024, gpu=False, max_sequences=128)
GPU = VllmSettings("m", None, "m", "", 1024, gpu=True, max_sequences=1024)
REQUEST = Request("one", ({"role": "user", "content": "Make 9 from 4 and 5."},), Sampling(max_tokens=8), 0)

_CORE = "(EngineCore pid=25932) ERROR 11-21 15:31:59 [core.py:1510] "
_FRONT = "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}\n"
_FULL = (
    "ValueError: Available memory on node 0 (13.61/15.46 GiB) on kv cache allocation is less than requested memory for "
    "kv (4000.0 GiB). Decrease --kv-cache-memory-bytes, VLLM_CPU_KVCACHE_SPACE, or reduce CPU memory used by other "
    "processes."
)
_TOLD_CORE = (
    f"RuntimeError: Worker failed with error '{_FULL[12:]}', please check the stack trace above for the root cause"
)
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
_GONE = "RuntimeError: [gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:40219"
_ALLOCATOR = "RuntimeError: [enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you tried"
_CUDA = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
_CACHE = (
    "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when initializing"
)
_CONTEXT = (
    "ValueError: To serve at least one request with the model's max seq len (131072), (7.00 GiB KV cache is needed, "
    "which is larger than the available KV cache memory (3.20 GiB). Based on the available memory, the estimated "
    "maximum model length is 59904. Try increasing `gpu_memory_utilization` (which also controls CPU memory on the CPU "
    "backend) or decreasing `max_model_len` when initializing the engine."
)
_HELD = (
    "ValueError: Free memory on device cuda:0 (40.0/79.2 GiB) on startup is less than desired GPU memory utilization "
    "(0.9, 71.28 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes."
)
_NEARLY_ALL_HELD = _HELD.replace("(40.0/", "(4.1/")
_SAMPLER = (
    "RuntimeError: CUDA out of memory occurred when warming up sampler with 1024 dummy requests. Please try lowering "
    "`max_num_seqs` or `gpu_memory_utilization` when initializing the engine."
)
_KILLED = "EngineDeadError: EngineCore encountered an issue. (the kernel killed a process for lack of memory)"


@pytest.mark.parametrize(
    ("log", "cause", "short"),
    [
        (f"{_WORKER_0}{_FULL}\n{_CORE}Traceback:\n{_CORE}{_TOLD_CORE}\n{_TOLD_CORE}\n{_FRONT}", _FULL, True),
        (f"{_CORE}{_TOLD_CORE}\n{_FRONT}", _TOLD_CORE, True),
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
        *(
            (f"{_WORKER_1}{words}\n{_PROC}{_FRONT}", words, True)
            for words in (_CUDA, _CACHE, _CONTEXT, _HELD, _SAMPLER)
        ),
        # the other worker notices that the first is gone, which is all that is known where the kernel killed that one
        (f"{_WORKER_0}{_NOT_THERE}\n{_WORKER_1}{_GONE}\n{_PROC}{_FRONT}", _NOT_THERE, False),
        (f"{_WORKER_1}{_GONE}\n{_PROC}{_FRONT}", _GONE, False),
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


def test_the_cause_in_a_whole_log_of_two_workers() -> None:
    """As vLLM 0.32 wrote it: worker 0 fails in its process, then the core, then the front end."""
    log = Path(__file__).parent / "tables" / "worker_failed.log"
    found = CPU.cause(log.read_text())
    assert isinstance(found, EngineMemoryError)
    assert str(found).startswith(
        "ValueError: Available memory on node 0 (7.24/9.09 GiB) on startup is less than desired"
    )


NAMES = ("max_sequences", "max_batched_tokens", "memory_share", "cache_bytes")
TP4 = replace(CPU, tensor_parallel=4, cache_bytes=4000 << 30)
GIVEN = replace(GPU, memory_share=0.5)


@pytest.mark.parametrize(
    ("settings", "reason", "expected"),
    [
        # others hold the GPU: the share alone, by the message's own numbers
        (GPU, _HELD, (1024, 16384, 0.49, None)),
        (GIVEN, _HELD.replace("(40.0/", "(30.0/"), (1024, 16384, 0.36, None)),
        (GPU, _NEARLY_ALL_HELD, (1024, 16384, None, None)),  # an engine that was replaced may not have ended yet
        # too small a cache: never a smaller share, which would leave less
        (GPU, _CACHE, (64, 2048, 0.95, None)),
        (GPU, _CONTEXT, (64, 2048, 0.95, None)),
        (GIVEN, _CONTEXT, (64, 2048, 0.5, None)),
        (replace(GPU, memory_share=0.49, max_sequences=32, max_batched_tokens=1024), _CONTEXT, None),
        (replace(GPU, cache_bytes=1 << 30), _CONTEXT, None),
        (CPU, _CONTEXT, (128, 16384, None, int(1.02 * (7 << 30)) + (64 << 20))),
        (replace(CPU, cache_bytes=1 << 30), _CONTEXT, None),
        # too large a cache on the CPU: what is free there, and a little less, for all workers
        (replace(CPU, cache_bytes=4000 << 30), _FULL, (128, 16384, None, int(0.8 * int(13.61 * (1 << 30))))),
        (TP4, _FULL, (128, 16384, None, int(0.8 * int(13.61 * (1 << 30)) / 4))),
        (CPU, _FULL, (128, 16384, None, 512 << 20)),
        # the work of a step: fewer sequences and tokens
        *((GPU, words, (512, 8192, None, None)) for words in (_CUDA, _SAMPLER, _KILLED, "MemoryError")),
        (CPU, _ALLOCATOR, (64, 8192, None, 512 << 20)),
    ],
)
def test_what_is_short_decides_what_is_lowered(
    settings: VllmSettings, reason: str, expected: tuple[object, ...] | None
) -> None:
    smaller = settings.smaller(reason)
    assert (smaller and tuple(getattr(smaller, name) for name in NAMES)) == expected


def test_a_cache_that_two_starts_do_not_make_large_enough_is_given_up() -> None:
    (first,) = lowered(GPU, _CONTEXT, 1)
    assert first.smaller(_CONTEXT) is None


@pytest.mark.parametrize(
    ("settings", "reason", "told"),
    [
        (GPU, _HELD, "other processes hold the GPU's memory: end them, or leave that GPU out"),
        (
            GPU,
            _CONTEXT,
            "--max_tokens makes the context, here 1,024 tokens, and 59,904 would fit: give a smaller one, more GPUs "
            "for each engine by --tensor_parallel, or a larger gpu_memory_utilization in --engine_args",
        ),
        (
            CPU,
            _CACHE,
            "--max_tokens makes the context, here 1,024 tokens: give a smaller one, or a larger kv_cache_memory_bytes "
            "in --engine_args",
        ),
        (CPU, _FULL, "give a smaller kv_cache_memory_bytes in --engine_args"),
        (GPU, _CUDA, "give more GPUs for each engine by --tensor_parallel, or a smaller max_num_seqs in --engine_args"),
        (CPU, "MemoryError", "give fewer --engines, or a smaller max_num_seqs in --engine_args"),
    ],
)
def test_the_remedy(settings: VllmSettings, reason: str, told: str) -> None:
    assert settings.remedy(reason) == told


def lowered(settings: VllmSettings, reason: str, times: int) -> Iterator[VllmSettings]:
    for _ in range(times):
        smaller = settings.smaller(reason)
        assert smaller is not None
        settings = smaller
        yield settings


def test_each_time_less_is_asked_for() -> None:
    names = ("max_num_seqs", "max_num_batched_tokens", "gpu_memory_utilization")
    told = [[one.arguments()[name] for name in names] for one in lowered(GPU, _CUDA, 3)]
    # The first time fewer sequences alone, which leaves more for the cache.
    assert told == [[512, 8192, 0.9], [256, 4096, 0.8], [128, 2048, 0.7]]
    *_, last = lowered(GPU, _CUDA, 3)
    assert last.limits() == "128 sequences and 70% of the GPU's memory"


def test_on_the_cpu_too() -> None:
    (smaller,) = lowered(CPU, "MemoryError", 1)
    assert smaller.arguments()["kv_cache_memory_bytes"] == 512 << 20
    assert smaller.arguments()["max_num_seqs"] == 64
    assert smaller.arguments()["max_num_batched_tokens"] >= CPU.context, "a whole context, or seeds kill the engine"
    assert smaller.limits() == "64 sequences and 512 MiB of cache"


def test_limits_do_not_fall_for_ever() -> None:
    *_, last = lowered(GPU, _CUDA, 30)
    assert (last.max_sequences, last.memory_share, last.max_batched_tokens) == (8, 0.5, 2048)


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
    # As with several workers, this one is no part of the core.
    apart = {"distributed_executor_backend": "mp"}
    settings = WorkerLost(model, None, "m", "", 1024, gpu=False, cache_bytes=1 << 28, more=apart, bait=bait)
    placement = Placement(settings, logs=tmp_path, environment=cpu_environment(1), silence_s=3000)
    with Pool[Request, Completion](RayReplicas(placement, answer), 8) as pool:
        events = [event for event in pool.run([REQUEST]) if not isinstance(event, Tick | Load | Released)]
    assert [type(event).__name__ for event in events] == ["Loading", "Started", "Lost", "Loading", "Started", "Done"]


@pytest.mark.ray
@pytest.mark.engine
def test_a_real_engine_of_two_workers_without_memory_says_so_and_comes_back_with_what_there_is(
    ray_session: Resources, tmp_path: Path
) -> None:
    """More cache than any machine has: the worker's own words, and its numbers for the second start."""
    settings = replace(CPU, model=str(find(str(MODEL)).path), tensor_parallel=2, cache_bytes=4000 << 30)
    placement = Placement(settings, logs=tmp_path, environment=cpu_environment(2), silence_s=3000)
    lost: list[str] = []
    with Pool[Request, Completion](RayReplicas(placement, answer), 8) as pool:
        for event in pool.run([REQUEST]):
            lost += [event.reason] if isinstance(event, Lost) else []
            if isinstance(event, Done):
                assert event.result.finish_reason != "error"
    # Once on a quiet machine; where others take memory between two starts, a second time with less.
    assert len(lost) in (1, 2), lost
    numbers = r"; it comes back with 128 sequences and \d+ MiB of cache"
    assert re.fullmatch(rf"ValueError: Available memory on node .*{numbers}", lost[0]), lost
    assert all(re.search(rf"{numbers}$", told) for told in lost), lost
