"""How many engines a run has, of what kind and where: from the plan and what the cluster holds."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass

from cluster.pool import EngineSettings, Placement, fill
from cluster.session import Resources
from cluster.vllm_engine import VllmSettings
from generation.plan import Plan
from generation.settings import Settings

GPU_SEQUENCES = 1024
CPU_SEQUENCES = 128
_CPU_CACHE_GIB = 1


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
        environment |= cpu_environment(engines * settings.tensor_parallel)
    placement = Placement(
        engines,
        gpus_each=settings.tensor_parallel if gpu else 0,
        in_flight=fill(engine.max_sequences, per_question),
        logs=plan.out / "logs",
        environment=environment,
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
    room = resources.gpus // settings.tensor_parallel if resources.gpus else settings.engines or 1
    if settings.tensor_parallel > resources.gpus > 0 or (settings.engines or 1) > room:
        raise ValueError(
            f"{settings.engines or 1} engines of {settings.tensor_parallel} GPUs do not fit: the cluster has"
            f" {resources.gpus}; lower --engines or --tensor_parallel"
        )
    return settings.engines or room


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
        seed=settings.seed % 2**31,
    )
