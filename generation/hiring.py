"""How many engines a run has, of what kind and where: from the plan and what the cluster holds."""

from __future__ import annotations

import importlib.util
import math
import os
from dataclasses import dataclass
from functools import partial

from cluster.pool import EngineSettings, Placement, fill
from cluster.session import Machine, Resources, look
from cluster.vllm_engine import VllmSettings
from generation.plan import Plan
from generation.settings import Settings

GPU_SEQUENCES = 1024
CPU_SEQUENCES = 128
_CPU_CACHE_GIB = 1
_CPU_CORES_EACH = 4
_CPU_GIB_EACH = 8
_SILENCE_S = 300.0
_SLOWEST = 5.0
"""Tokens a second of one sequence; an engine slower than that is taken for dead."""


def check_engine_package(settings: Settings) -> None:
    """Raise ValueError when this machine is to run engines and has no vLLM."""
    if settings.address is None and importlib.util.find_spec("vllm") is None:
        raise ValueError("vLLM is not installed: pip install -e '.[cpu]', or '.[gpu]' on a machine with a GPU")


@dataclass(frozen=True)
class Crew:
    """The engines of a run: how each starts, how many, where."""

    engine: EngineSettings
    placement: Placement
    gpu: bool


def hire(plan: Plan, settings: Settings, resources: Resources) -> Crew:
    """As many engines as asked for, or as there is room for. Raises ValueError when there is too little."""
    gpu = resources.gpus > 0
    engines = count_engines(settings, resources)
    engine = engine_settings(plan, settings, gpu=gpu)
    per_question = len(plan.rollout.variants) * plan.rollout.samples
    environment = {"HF_HUB_OFFLINE": "1"} if plan.model.local else {}
    if not gpu:
        environment |= cpu_environment(math.ceil(engines / max(1, resources.nodes)) * settings.tensor_parallel)
    placement = Placement(
        engines,
        gpus_each=settings.tensor_parallel if gpu else 0,
        in_flight=fill(engine.max_sequences, per_question),
        logs=plan.out / "logs",
        environment=environment,
        room=partial(_room_now, settings, gpu=gpu) if settings.engines is None else None,
        silence_s=settings.silence or max(_SILENCE_S, plan.rollout.sampling.max_tokens / _SLOWEST),
    )
    return Crew(engine, placement, gpu)


def cpu_environment(workers: int) -> dict[str, str]:
    """Cores and memory of an engine on the CPU: its workers share the cores evenly, and pin none."""
    return {
        "VLLM_CPU_KVCACHE_SPACE": str(_CPU_CACHE_GIB),
        # By itself vLLM pins one worker to one thread of each physical core, and every further worker to the same.
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": str(max(1, len(os.sched_getaffinity(0)) // workers)),
        # vLLM asks a public name server's address for the way to itself, unless it is told where it is.
        "VLLM_HOST_IP": "127.0.0.1",
    }


def count_engines(settings: Settings, resources: Resources) -> int:
    """As many as asked for, or as there is room for. Raises ValueError when there is not enough room."""
    gpu = resources.gpus > 0
    room = count_room(settings, resources, gpu=gpu)
    if gpu and (settings.engines or 1) > room:
        raise ValueError(
            f"{settings.engines or 1} engines of {settings.tensor_parallel} GPUs do not fit: the cluster has"
            f" {resources.gpus} on {resources.nodes} nodes, and an engine lies on one; lower --engines or"
            " --tensor_parallel"
        )
    return settings.engines or max(1, room)


def count_room(settings: Settings, resources: Resources, *, gpu: bool) -> int:
    """How many engines fit: each on one machine with GPUs of its own; on the CPU by cores and memory."""
    if gpu:
        return sum(machine.gpus // settings.tensor_parallel for machine in resources.machines)
    return sum(_cpu_room(machine) for machine in resources.machines)


def _cpu_room(machine: Machine) -> int:
    """At least one: who has less than an engine likes may still try one."""
    return max(1, min(machine.cores // _CPU_CORES_EACH, (machine.memory >> 30) // _CPU_GIB_EACH))


def _room_now(settings: Settings, *, gpu: bool) -> int:
    return count_room(settings, look(local=settings.address is None), gpu=gpu)


def engine_settings(plan: Plan, settings: Settings, *, gpu: bool) -> VllmSettings:
    return VllmSettings(
        model=plan.model.path,
        revision=None if plan.model.local else plan.model.revision,
        name=plan.model.name,
        known_revision=plan.model.revision,
        context=plan.context,
        gpu=gpu,
        tensor_parallel=settings.tensor_parallel,
        max_sequences=GPU_SEQUENCES if gpu else CPU_SEQUENCES,
        cache_bytes=_CPU_CACHE_GIB << 30,
        seed=settings.seed % 2**31,
    )
