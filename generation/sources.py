"""Where a plan's lengths and speed are known from: a probe, an earlier run (`--like`), or the shards that are there."""

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.inference.replicas import Fleet
from cluster.jobs.run_directory import RUN_FILE, read_record
from cluster.machine import gpus_here
from cluster.session import local_resources
from cluster.texts import listed
from generation.measured import Measured, Speed, files_of, measure, record_of, rows_of, speed_of
from generation.plan import Plan
from generation.probe import probe
from generation.settings import Settings
from generation.variants import BARE

_MANY = 0.005  # of all samples, that are worth a word
_MOST_ROWS, _MOST_BYTES = 200_000, 1 << 30  # that a plan is foretold from; more would tell no more


class Source(NamedTuple):
    """What is known, and where from."""

    name: str
    tables: list[pa.Table]
    measured: Measured
    token_bytes: float  # that a token takes in a stored row
    speed: Speed | None
    whole: bool = False  # True for shards of this very run, of whose questions each has all its samples
    loaded_s: float = 0.0  # how long an engine took to load; 0 where it is not known
    ending_s: float = 0.0  # how much longer the end took than at full speed; likewise
    notes: Sequence[str] = ()


def find_source(plan: Plan, settings: Settings, owed: set[str], fleet: Fleet | None) -> Source | None:
    """Return what --probe, --like or the run directory tell, the first of these; None if there is nothing.

    Raises ValueError for a --like that is no run, and as `probe` does.
    """
    if settings.probe:
        return _of_probe(plan, settings, owed, fleet)
    if settings.like is not None:
        run = Path(settings.like)
        return _of_run(run, record_of(run), plan)
    if not (plan.out / RUN_FILE).exists():
        return None
    source = _of_run(plan.out, read_record(plan.out), None)
    return source and source._replace(notes=[*source.notes, *_not_begun(plan, owed, source)])


def _of_probe(plan: Plan, settings: Settings, owed: set[str], fleet: Fleet | None) -> Source:
    found = probe(plan, settings, owed, fleet)
    measured = measure(found.tables)
    where = "a server" if plan.model.served else hardware(found.speed)
    name = f"--probe, {_counted(measured)} in {found.asked_s:.0f} s on {where}"
    lost = [f"{found.failed:,} questions of the probe failed, as they would in the run"] if found.failed else []
    return Source(
        name,
        found.tables,
        measured,
        found.stored / max(1.0, _written(measured)),
        found.speed,
        loaded_s=found.loaded_s,
        ending_s=found.ending_s,
        notes=lost,
    )


def hardware(speed: Speed | None) -> str:
    """Return what engines of this machine run on, in words."""
    names = {gpu.name for gpu in gpus_here()}
    if speed and speed.gpus_each and len(names) == 1:
        return f"{speed.engines * speed.gpus_each} {names.pop()}"
    if speed and speed.gpus_each:
        return f"{speed.engines * speed.gpus_each} GPUs"
    return f"{sum(node.cores for node in local_resources().nodes)} CPU cores"


def _of_run(run: Path, record: Mapping[str, Any], plan: Plan | None) -> Source | None:
    """Return what a run tells: one that may differ from this `plan`, or without one, the plan's own.

    Raises ValueError for one that was to tell something and holds nothing.
    """
    files, tables, rows, held = files_of(run), list[pa.Table](), 0, 0
    # A run asks its tasks one after the other: its first files alone would tell of some of them.
    random.Random(0).shuffle(files)
    for table in rows_of(files):
        tables.append(table)
        rows, held = rows + table.num_rows, held + table.nbytes
        if rows >= _MOST_ROWS or held >= _MOST_BYTES:
            break
    if not rows:
        if plan is None:
            return None
        raise ValueError(f"--like {run} holds no samples yet: give a run that has some")
    measured, starts = measure(tables), record.get("starts", ())
    stored = sum(path.stat().st_size for path in files) * rows / sum(pq.read_metadata(path).num_rows for path in files)
    told = [start for start in starts if start.get("output_tokens")]
    when = f", {told[-1]['begun'][:10]}" if told else ""
    build = f" with {told[-1]['engine']}" if told and told[-1].get("engine") else ""
    name = f"the shards that are there, {_counted(measured)}" if plan is None else f"{run}, {_counted(measured)}"
    return Source(
        f"{name}{when}{build}",
        tables,
        measured,
        stored / max(1.0, _written(measured)),
        speed_of(run, starts),
        whole=plan is None,
        notes=[*_differences(run, record["configuration"], measured, plan)] if plan else (),
    )


def _not_begun(plan: Plan, owed: set[str], source: Source) -> Iterator[str]:
    """Yield a note on tasks of which the shards have no sample yet."""
    there = {task for table in source.tables for task in table["task"].unique().to_pylist()}
    if lacking := sorted({one.task for one in plan.questions if one.key in owed} - there):
        yield f"the shards have no samples of {listed(lacking, 5)} yet: taken to be like those of the other tasks"


def _counted(measured: Measured) -> str:
    return f"{len(measured.tokens):,} samples of {len(measured.questions):,} questions"


def _written(measured: Measured) -> float:
    return float(measured.tokens.sum() + measured.reflection_tokens.sum())


def _differences(run: Path, other: Mapping[str, Any], measured: Measured, plan: Plan) -> Iterator[str]:
    """Yield notes on what of an earlier run is otherwise than in this plan, and what is taken instead."""
    own, rollout = plan.configuration, plan.rollout
    for name in ("model", "adapter", "task"):
        if own.get(name) != other.get(name):
            yield f"{run} is of {name} {other.get(name) or 'none'}, not {own.get(name) or 'none'}: lengths may differ"
    wanted = {variant.name for variant in rollout.variants} | ({BARE.name} if plan.sampled_for_rl else set())
    if missing := sorted(wanted.difference(measured.variants)):
        yield f"{run} has no samples under {', '.join(missing)}: taken as the mean of its others"
    if rollout.reflections and not measured.reflections.any():
        yield f"{run} has no reflections: taken to be as long as its samples"
    longest = other.get("sampling", {}).get("max_tokens", 0)
    if measured.cut.mean() >= _MANY and longest < rollout.sampling.max_tokens:
        yield f"{measured.cut.mean():.0%} of the samples of {run} were cut at {longest:,} tokens: longer ones may come"
