"""Decides how many engines a run gets, of what kind and where, from its plan and the cluster's resources."""

import importlib.util
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from cluster.inference.chat import check_writes_text
from cluster.inference.engine_arguments import check_on_cpu, passed_on
from cluster.inference.hosted import HostedFleet
from cluster.inference.limits import Limits, check_weights, choose_limits, weights_of
from cluster.inference.pool import items_begun_early, items_in_flight
from cluster.inference.quantization import why_not_run
from cluster.inference.ray_replicas import RayFleet
from cluster.inference.replicas import Fleet, Placement
from cluster.inference.vllm_settings import VllmSettings
from cluster.jobs.plan import JobPlan, JobSettings
from cluster.jobs.progress import say
from cluster.jobs.run_directory import LOGS, check_build
from cluster.machine import Gpu, build_of, gpus_here, installed, may_have_gpus, only_cpu, unfit
from cluster.nodes import check_nodes
from cluster.session import Node, Resources, current_resources, local_resources
from generation.downloads import check_download, download, weight_bytes
from generation.served_plan import server_settings

CPU_SEQUENCES = 128
_GPU_ENVIRONMENT = {
    # Every request has a seed, so FlashInfer's sampler is never used, and vLLM's start may compile it, with nvcc.
    "VLLM_USE_FLASHINFER_SAMPLER": "0",
    # An engine lies in one node. Without an address vLLM asks for the way to a public DNS server, and listens there.
    "VLLM_HOST_IP": "127.0.0.1",
}
_CHANGE_WEIGHTS = {"quantization", "dtype", "load_format", "hf_overrides", "cpu_offload_gb", "offload_backend"}
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
    if unfit(installed(), here.gpus):
        return False  # Ray may find GPUs where nvidia-smi is not there
    return count_engines(settings, here, weight_bytes) == 1


def hosted_fleet(plan: JobPlan, settings: JobSettings) -> HostedFleet:
    """Return one engine on the CPU of this machine, to be hosted in this process."""

    def place_here() -> Placement:
        placement = place(plan, settings, local_resources(), on_ray=False)
        return replace(placement, engines=1, room=None, hosted=True)

    return HostedFleet(place_here)


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
    in_flight = items_in_flight(settings.concurrency, plan.per_item)
    fleet = Fleet(engine, len(engine.urls), in_flight, plan.per_item)
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
        if (why := unfit(installed(), usable(found).gpus)) and not (settings.dry_run or may_have_gpus()):
            raise ValueError(f"this machine cannot run an engine: {why}")
        count_engines(settings, usable(found), model.weight_bytes)
        gpu, given = usable(found).gpus > 0, settings.engine_args or {}
        if not gpu:
            check_on_cpu(given)
        method = str(given.get("quantization") or model.quantization)
        if why := why_not_run(method, gpu=gpu):
            asked = "--engine_args: quantization is asked for" if "quantization" in given else ""
            raise ValueError(f"{asked or f'the weights of model {model.name} are quantized'}, and {why}: give others")
        check_writes_text(model)
        check_build(plan.out, build_of(installed()), accept=settings.accept_version)
    check_download(plan, settings)


def usable(here: Resources) -> Resources:
    """Return the resources without GPUs if the CPU build of vLLM is installed, which uses none."""
    return Resources(tuple(replace(node, gpus=0) for node in here.nodes)) if only_cpu(installed()) else here


def _common(builds: Mapping[str, str], settings: JobSettings) -> str:
    """Return the build of vLLM that the nodes have. Raises ValueError if they have several, unless that is accepted."""
    several = sorted({*builds.values()})
    if len(several) > 1 and not settings.accept_version:
        named = ", ".join(f"{node} has {build}" for node, build in sorted(builds.items()))
        why = "the same seeds draw other samples under another"
        raise ValueError(f"the nodes have several versions of vLLM, {named}: {why}; install the same everywhere")
    return ", ".join(several)


def place(plan: JobPlan, settings: JobSettings, resources: Resources, *, on_ray: bool = True) -> Placement:
    """Place as many engines as requested or fit. Raises ValueError if they do not fit, or a node lacks something."""
    model, workers = plan.model, settings.tensor_parallel
    if settings.address is None:
        resources = usable(resources)
        if why := unfit(installed(), resources.gpus):
            raise ValueError(f"this machine cannot run an engine: {why}")
        gpus, build = gpus_here(), build_of(installed())
    else:
        adapter = model.adapter
        folder = adapter.path if adapter and not adapter.hub_revision else None
        gpus, builds = check_nodes(model.path, model.hub_revision, folder)
        build = _common(builds, settings)
    gpu, nodes = resources.gpus > 0, resources.nodes
    engines = count_engines(settings, resources, model.weight_bytes)
    asks_hub = model.hub_revision or (model.adapter and model.adapter.hub_revision) or model.run_code
    environment = {} if asks_hub else {"HF_HUB_OFFLINE": "1"}
    if gpu:
        environment |= _GPU_ENVIRONMENT
    else:
        check_on_cpu(plan.engine_args)
        on_one = math.ceil(engines / len(nodes)) * workers
        environment |= cpu_environment(on_one, min(max(1, node.cores) for node in nodes))

    def room_now() -> int:
        now = usable(current_resources(local=True)) if settings.address is None else current_resources()
        return count_room(now.nodes, workers, gpu=gpu)

    smallest = min(gpus, key=lambda gpu: gpu.memory, default=None)
    limits = gpu_limits(plan, workers, smallest) if gpu else None
    engine = _engine(plan, settings, limits, on_ray=on_ray)
    # Last, as it may take hours.
    download(plan, everywhere=settings.address is not None)
    return Placement(
        engine,
        engines,
        build=build,
        gpus_each=workers if gpu else 0,
        in_flight=items_in_flight(engine.max_sequences, plan.per_item),
        per_item=plan.per_item,
        # On the CPU places that stay free cost little, and prompts that are no longer cached much.
        early=items_begun_early(engine.max_sequences, plan.per_item) if gpu else 0,
        logs=plan.out / LOGS,
        environment=environment,
        limits=limits,
        room=room_now if settings.engines is None else None,
        silence_s=silence_of(plan, settings),
    )


def gpu_limits(plan: JobPlan, workers: int, gpu: Gpu | None) -> Limits:
    """Return the limits of an engine on GPUs like this one, or those of --engine_args.

    Raises ValueError if the weights alone are too large. With arguments of the user's they may be other than on disk.
    """
    given, model = plan.engine_args, plan.model
    item = 4 if given.get("dtype") in ("float", "float32") else 2
    on_disk = weight_bytes(plan)
    weights = weights_of(model.shape, on_disk, quantized=bool(model.quantization), item=item)
    if on_disk and not _CHANGE_WEIGHTS.intersection(given):
        check_weights(gpu, weights, workers, model.name)
    limits = choose_limits(gpu, model.shape, weights, context=plan.context, workers=workers, item=item)
    most, longest = given.get("max_num_seqs"), given.get("max_num_batched_tokens")
    # vLLM refuses steps of fewer tokens than sequences.
    sequences = most or min(limits.sequences, longest or limits.sequences)
    reason = "as --engine_args has it" if most else limits.reason
    return Limits(sequences, longest or max(limits.tokens, sequences), reason)


def _engine(plan: JobPlan, settings: JobSettings, limits: Limits | None, *, on_ray: bool) -> VllmSettings:
    """Return the settings of an engine, without `limits` on the CPU."""
    model, given = plan.model, plan.engine_args
    engine = VllmSettings(
        model=model.path,
        revision=model.hub_revision,
        name=model.full_name,
        known_revision=model.full_revision,
        context=plan.context,
        chat=plan.chat,
        gpu=limits is not None,
        tensor_parallel=settings.tensor_parallel,
        max_sequences=given.get("max_num_seqs", CPU_SEQUENCES),
        memory_share=given.get("gpu_memory_utilization"),
        cache_bytes=given.get("kv_cache_memory_bytes"),
        seed=settings.seed % 2**31,
        quantized=bool(model.quantization),
        run_code=model.run_code,
        adapter=model.adapter,
        # Only if asked for: with them a front end takes 1.8 times the processor time (benchmarks/RESULTS.md).
        ray_metrics=on_ray and given.get("disable_log_stats") is False,
        more=passed_on(given),
    )
    return replace(engine, max_sequences=limits.sequences, max_batched_tokens=limits.tokens) if limits else engine


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
