"""The stages of adding reflections, each a function that `reflection.run` calls in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from cluster.inference.replicas import Placement
from cluster.jobs.atomic import check_replaceable, replace_folder
from cluster.jobs.failures import Failures
from cluster.jobs.hub import check_push
from cluster.jobs.progress import ONLY_RETRIED, AllFailedError, Progress, say
from cluster.jobs.provenance import Recorded
from cluster.jobs.run_directory import RunDirectory, check_run
from cluster.jobs.stop import Stop
from cluster.jobs.store import ShardStore
from generation.placement import Need, check_engines, hire_for
from generation.produce import Shelf, Tally, deal, say_going_on
from generation.raw.counts import RawCounts, count_folder
from generation.raw.schema import RAW_DATA
from generation.stages import connect, hand_over, open_directory
from reflection.added.card import reflected_card
from reflection.added.plan import AdditionPlan, look_at_prompts, make_plan
from reflection.added.rows import write_files
from reflection.added.settings import AdditionSettings
from reflection.added.source import BLOCK_ROWS, block_keys, read_blocks
from reflection.added.work import BLOCK, MADE, ROW


@dataclass(frozen=True)
class Job(Recorded):
    """A run that is open."""

    plan: AdditionPlan
    placement: Placement
    directory: RunDirectory
    store: ShardStore
    unit = "rows"

    @property
    def total(self) -> int:
        return self.plan.source.rows

    @property
    def done(self) -> int:
        """Rows whose reflections are safe."""
        return self.store.rows()

    @property
    def failed(self) -> dict[str, str]:
        """Blocks that failed for a reason of their own, with the reason."""
        finished = self.store.finished()
        return {key: why for key, why in Failures(self.plan.out).reasons().items() if key not in finished}


def decide(settings: AdditionSettings) -> AdditionPlan:
    """Plan the run and check all that can be wrong with it, before a process starts or a file is made.

    Raises ValueError for wrong input.
    """
    plan = make_plan(settings)
    source = [file.path.resolve() for file in plan.source.files]
    if any(plan.out.resolve() in path.parents for path in source):
        raise ValueError(f"{plan.out} holds the RAW_DATA to read; give another folder")
    check_run(plan.out, plan.configuration)
    check_replaceable(plan.raw_data)
    check_engines(settings.job, plan.model)
    if settings.push_to:
        check_push(settings.push_to, [f"{RAW_DATA}-{plan.name}"], ask=not settings.dry_run)
    return look_at_prompts(plan)


def open_job(plan: AdditionPlan, settings: AdditionSettings, opened: ExitStack) -> Job:
    """Start Ray and lock the run directory until `opened` closes. Raises ValueError if either cannot be had."""
    placement = hire_for(need_of(plan), settings.job, connect(plan.model, settings.job, opened))
    directory = open_directory(plan.out, plan.configuration, settings.job, opened)
    return Job(plan, placement, directory, open_store(plan.out))


def need_of(plan: AdditionPlan) -> Need:
    """Return what the plan asks of its engines."""
    per_block = BLOCK_ROWS * plan.work.reflections
    return Need(plan.model, plan.context, plan.work.sampling.max_tokens, per_block, plan.out / "logs")


def open_store(run: Path) -> ShardStore:
    """Open the run's shards; say which cannot be read."""
    store = ShardStore(run / "shards", schema=MADE, sort_by=(ROW,), key=BLOCK)
    for shard in store.torn:
        say("shards", f"{shard.name} was torn and is kept in shards/torn; its rows are asked again")
    return store


def introduce(job: Job) -> None:
    """Print what the run will do: the first lines a person sees."""
    plan, placement = job.plan, job.placement
    each = f"{placement.gpus_each} GPU each" if placement.gpus_each else "on the CPU"
    none = plan.survey.outcomes["unknown"]
    say("model", f"{plan.model.name}, revision {plan.model.revision or 'unknown'}")
    say("raw data", f"{plan.source.name}: {plan.source.rows:,} rows, {plan.survey.reflections:,} reflections")
    say("plan", f"{plan.work.reflections} more on {plan.survey.graded:,} samples; {none:,} of unknown outcome get none")
    for note in plan.notes:
        say("note", note)
    say("engines", f"{placement.engines} {each}, logs in {placement.logs}")


def roll_out(job: Job, stop: Stop) -> bool:
    """Reflect on every row that is owed; False when a stop was asked for before the last one."""
    plan, store = job.plan, job.store
    job.tell(state="rolling out")
    failed = job.failed
    lost = sum(_rows_of(plan, key) for key in failed)
    say_going_on(job.done, job.total, lost, "rows")
    again = 0
    settled = store.finished() | failed.keys()
    if len(settled) < _blocks(plan):
        progress = Progress(job.total, done=job.done + lost, unit="rows")
        tally = Tally(progress, Failures(plan.out), job.placement.logs, unit="block", tell=job.start.tell)
        owed = read_blocks(plan.source, lambda key: key not in settled)
        again = deal(owed, plan.work, job.placement, Shelf(store), tally, stop=stop)
    missing = _blocks(plan) - len(store.finished() | job.failed.keys())
    assert not missing or stop.asked, f"{missing} blocks are neither done nor failed"
    earlier = job.directory.record.get("blocks_done_again", 0)
    job.tell(state="stopped" if missing else "rolled out", blocks_done_again=earlier + again)
    return not missing


def _blocks(plan: AdditionPlan) -> int:
    return sum(len(block_keys(file)) for file in plan.source.files)


def _rows_of(plan: AdditionPlan, key: str) -> int:
    """How many rows a block holds."""
    number, first = map(int, key.split("-"))
    return min(BLOCK_ROWS, plan.source.files[number].rows - first)


def write_raw_data(job: Job, look: Callable[[pa.Table], None], served: Callable[[Sequence[str]], str]) -> RawCounts:
    """Write RAW_DATA/: the rows given, in their order and files, with what was made for each; `look` is shown them.

    `served` tells of tasks which trace formats they can serve, for the card.

    Raises AllFailedError where every block has failed, TornShardError where a shard cannot be read.
    """
    plan, failed = job.plan, job.failed
    if not job.store.finished():
        why = next(iter(failed.values()))
        raise AllFailedError(f"all {plan.source.rows:,} rows failed: {why}", ONLY_RETRIED)
    counted: list[RawCounts] = []

    def build(folder: Path) -> None:
        write_files(plan.source, job.store, folder / "data", plan.work.sampling)
        counts = count_folder(folder, look)
        counts.served = served(sorted(counts.tasks))
        assert counts.all().samples == plan.source.rows, "rows were lost on the way"
        for key, reason in failed.items():
            counts.kept[reason] += _rows_of(plan, key)
        counted.append(counts)
        card = reflected_card(counts, plan, job.directory.record)
        (folder / "README.md").write_text(card, encoding="utf-8")

    replace_folder(build, plan.raw_data)
    return counted[0]


def publish(job: Job, settings: AdditionSettings) -> int:
    """Name what was made, and push it if asked; return the exit code, 1 if rows failed."""
    plan = job.plan
    lost = sum(_rows_of(plan, key) for key in job.failed)
    missing = f"{lost:,} of {job.total:,} rows, which stay as they were" if lost else ""
    return hand_over([plan.raw_data], plan.name, missing, settings.job)
