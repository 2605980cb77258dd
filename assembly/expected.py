"""What a dry run says beside its plan: the tokens, time, cost and disk to expect, and what the formats will give.

Each with its 90% range, and with the source that it is known from.
"""

import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assembly.enough import Enough
from assembly.feasibility import Coverage
from assembly.foretold import Foretold, asked_share, foretell, foretell_retried
from assembly.settings import SftSettings
from cluster.inference.replicas import Fleet
from cluster.session import local_resources
from generation.expectation import Range, by_question, groups_of, seconds, shares, total
from generation.measured import Speed
from generation.placement import count_engines, usable
from generation.plan import Plan
from generation.raw.reader import as_rows, find_columns
from generation.records import RETRY
from generation.settings import Settings
from generation.sources import Source, find_source

_HERE = Path("plan")  # stands for a file in messages on its rows
_STORED = 3  # times the rows: in shards/, in RAW_DATA, and at most as much again in SFT_DATA
_LEAST_ROW = 200  # bytes; a row of a short sample without reflections takes as much
_UNKNOWN = "unknown: --probe asks the engines for a minute, --like RUN takes what an earlier run took"
_GIB, _MIB = 1 << 30, 1 << 20


def expected(plan: Plan, settings: Settings, wanted: SftSettings, owed: set[str], fleet: Fleet | None) -> list[str]:
    """Return the lines of the plan on what to expect of what is owed. With --probe the engines are asked first.

    Raises ValueError for a --like that is no run, and what a run raises where its engines fail.
    """
    if not owed:
        return []
    if (source := find_source(plan, settings, owed, fleet)) is None:
        return [f"expected    {_UNKNOWN}"]
    lines = [*_amounts(plan, settings, wanted, owed, source), *_measured(plan, source)]
    return [*lines, *(f"note        {note}" for note in source.notes)]


def with_room(plan: Plan, owed: Collection[str]) -> Plan:
    """Return the plan with a note if its disk has less room than the rows that are owed take at the least."""
    merged = set(plan.merged)
    kept = sum(key in merged for key in owed)
    rows = kept * (1 if plan.rollout.lacking else plan.each) + (len(owed) - kept) * plan.rollout.rl_samples
    return plan.with_notes(lack_of_room(plan.out, 2 * rows * _LEAST_ROW, "at least "))


def lack_of_room(folder: Path, size: float, told: str = "") -> str:
    """Return a note if so many bytes find no room on the disk of a folder, which need not exist; "" if they do."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if (free := shutil.disk_usage(there).free) >= size:
        return ""
    return f"the disk of {folder} has {_size(free)} left, and what will be made takes {told}{_size(size)}"


def _amounts(plan: Plan, settings: Settings, wanted: SftSettings, owed: set[str], source: Source) -> Iterator[str]:
    """Yield the lines on tokens, time, cost, disk and formats."""
    order = plan.merged
    left = sum(key in owed for key in order)
    bare = len(owed) - left
    coverage = Coverage(wanted)
    cells = _cells(plan, coverage, source)
    formats = _formats(plan, wanted, coverage, cells)
    until = Range(1.0)
    if settings.traces and formats and left:
        until = _until(settings.traces, formats, len(order), left)
        if until.value < left:
            yield f"ending      after {amount(until)} more questions, when {settings.traces:,} traces are possible"
        left = round(until.value)
    groups = groups_of(source.measured, plan.rollout, left, bare, whole=source.whole)
    enough, asked = plan.rollout.lacking, Range(1.0)
    if isinstance(enough, Enough) and cells and not source.whole:
        asked = asked_share([*cells.values()], plan.each, enough.lacking, settings.seed)
        yield f"ending      of each question when it has enough, after {percent(asked)} of its samples on average"
    tokens = total([groups[0].scaled(asked.value), *groups[1:]], settings.seed)
    for part in (asked, until):
        low, high = (end / part.value for end in part.ends)
        tokens = tokens.times(low, 1.0, high)
    more = "more " if len(owed) < len(plan.keys) else ""
    few = "" if tokens.low is not None else "; too few questions for a range"
    yield f"expected    {amount(tokens)} {more}tokens written (90% range, from {source.name}{few})"
    yield from _time(plan, settings, tokens, source)
    size = tokens.times(*[source.token_bytes * _STORED] * 3)
    yield f"disk        about {_size(size.ends[1])}, with SFT_DATA"
    if lack := lack_of_room(plan.out, size.value):
        yield f"note        {lack}"
    for one in formats:
        yield f"format      {one.name} from {percent(one.share)} of the questions: {amount(one.traces)} traces"


def _until(traces: int, formats: Sequence[Foretold], questions: int, left: int) -> Range:
    """Return how many of the questions `left` are still asked until so many traces are possible; one at least."""
    ends = [sum(one.traces.ends[side] for one in formats) for side in (1, 0)]
    value = sum(one.traces.value for one in formats)
    needed = [traces * questions / max(each, 1e-9) - (questions - left) for each in (value, *ends)]
    return Range(*(float(min(left, max(1, round(one)))) for one in needed))


def _cells(plan: Plan, coverage: Coverage, source: Source) -> dict[str, tuple[int, ...]]:
    """Return for each question that was measured how many of its samples are of each kind, as `foretell` takes them.

    All its rows are added to the coverage.
    """
    names = [variant.name for variant in plan.rollout.variants]
    measured = source.measured.under(names)
    for table in source.tables:
        rows = table.filter(pc.is_in(table["prompt_variant"], pa.array([*names, RETRY])))
        columns = find_columns(rows.schema, _HERE)
        for batch in rows.to_batches():
            coverage.add(as_rows(batch, columns, _HERE, 0))
    found = coverage.by_question()
    counts = zip(measured.questions, np.bincount(measured.question, minlength=len(measured.questions)), strict=True)
    return {key: (*found[key], int(samples) - sum(found[key])) for key, samples in counts}


def _formats(plan: Plan, wanted: SftSettings, coverage: Coverage, cells: Mapping[str, Sequence[int]]) -> list[Foretold]:
    """Return what each format asked for will give of all questions of the plan; nothing if no sample tells."""
    if not cells:
        return []
    formats, sizes, questions = wanted.chosen, [sum(one) for one in cells.values()], len(plan.questions)
    plain = [one for one in formats if not one.retried]
    told = foretell([*cells.values()], plan.each, questions, plain, wanted.bounds, seed=wanted.seed) if plain else []
    for one in (one for one in formats if one.retried and coverage.has_retries):
        traces = [coverage.retried(one).get(key, 0) for key in cells]
        told.append(foretell_retried(one.name, traces, sizes, plan.each, questions, seed=wanted.seed))
    return told


def _time(plan: Plan, settings: Settings, tokens: Range, source: Source) -> Iterator[str]:
    """Yield the lines on time and cost."""
    speed = source.speed
    if speed is None:
        yield "time        unknown: the source tells no speed"
        return
    engines, gpus_each = _engines(plan, settings, speed)
    if (speed.gpus_each > 0, speed.served) != (gpus_each > 0, plan.model.served is not None):
        yield f"time        unknown: the source's speed is of {_kind(speed.gpus_each, speed.served)}"
        return
    factor = engines * gpus_each / (speed.engines * speed.gpus_each) if gpus_each else 1.0
    factor = engines / speed.engines if speed.served else factor
    needed = seconds(tokens, speed, factor).plus(source.ending_s)
    rate = amount(Range(*(one * factor for one in (speed.mean, speed.low, speed.high))))
    loading = f", and {duration(Range(source.loaded_s))} to load" if source.loaded_s else ""
    scaled = f", taken as {factor:g} times that of the source" if factor != 1 else ""
    if engines != speed.engines and not (gpus_each or speed.served):
        scaled = ", not scaled, as engines on one CPU share its cores"
    count = f"{engines:,} {'server' if speed.served else 'engine'}{'s' * (engines != 1)}"
    yield f"time        {duration(needed)} on {count} at {rate} tokens/s{scaled}{loading}"
    if gpus_each:
        hours = needed.times(*[engines * gpus_each / 3600] * 3)
        yield f"cost        {amount(hours)} GPU-hours, of {engines * gpus_each:,} GPUs"
    elif not speed.served:
        cores = sum(node.cores for node in local_resources().nodes)
        yield f"cost        {amount(needed.times(*[cores / 60] * 3))} CPU-minutes, of {cores:,} cores"


def _engines(plan: Plan, settings: Settings, speed: Speed) -> tuple[int, int]:
    """Return how many engines the run would have, and the GPUs of each; as many as the source's if only Ray knows."""
    if plan.model.served:
        return len(settings.server), 0
    here = usable(local_resources())
    if settings.probe:
        return speed.engines, speed.gpus_each
    if settings.address is not None:
        return settings.engines or speed.engines, settings.tensor_parallel if speed.gpus_each else 0
    engines = count_engines(settings, here, plan.model.weight_bytes)
    return engines, settings.tensor_parallel if here.gpus else 0


def _kind(gpus_each: int, served: bool) -> str:
    return "a server" if served else "GPUs" if gpus_each else "the CPU"


def _measured(plan: Plan, source: Source) -> Iterator[str]:
    """Yield the lines on lengths, outcomes and verdicts."""
    names = [variant.name for variant in plan.rollout.variants]
    found = source.measured.under(names)
    if not found.questions:
        return
    ones, seed = np.ones(len(found.tokens)), plan.rollout.seed

    def pair(values: np.ndarray, keep: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return by_question(found, values, keep), by_question(found, ones, keep)

    under = {name: found.variant == place for place, name in enumerate(found.variants) if name in names}
    lengths = shares([pair(found.tokens, keep) for keep in under.values()], seed)
    told = [f"{name} {amount(length)}" for name, length in zip(under, lengths, strict=True)]
    looks = by_question(found, found.reflections)
    if looks.any():
        of_look, agreeing, unsaid = shares(
            [(by_question(found, each), looks) for each in (found.reflection_tokens, found.agreeing, found.unsaid)],
            seed,
        )
        told.append(f"a reflection {amount(of_look)}")
    yield f"lengths     {', '.join(told)} tokens"
    kinds = [(found.outcome == outcome) for outcome in ("right", "wrong", "unknown")]
    right, wrong, unknown, cut = shares([pair(each, ones) for each in (*kinds, found.cut)], seed)
    outcomes = f"{percent(right)} right, {percent(wrong)} wrong, {percent(unknown)} unknown"
    yield f"outcomes    {outcomes}; {percent(cut)} cut at the length limit"
    if looks.any():
        yield f"verdicts    {percent(agreeing)} agree with the grade, {percent(unsaid)} of reflections have none"


def amount(of: Range) -> str:
    """Return a range as text: both ends with as many digits as matter, or the value alone."""
    unit = next((name for name, size in (("billion", 1e9), ("million", 1e6)) if of.value >= size), "")
    size = {"billion": 1e9, "million": 1e6}.get(unit, 1.0)
    low, high = (_digits(end / size) for end in of.ends)
    text = low if low == high else f"{low} to {high}"
    return f"{text} {unit}".rstrip()


def _digits(value: float) -> str:
    """Return three digits of a number, at most one of them a decimal."""
    if value < 100:
        return f"{value:.1f}".removesuffix(".0")
    places = 10 ** max(0, len(str(round(value))) - 3)
    return f"{round(value / places) * places:,}"


def duration(of: Range) -> str:
    """Return a range of seconds as text, in the unit that fits."""
    unit, size = next(((name, size) for name, size in (("h", 3600), ("min", 60)) if of.value >= 2 * size), ("s", 1))
    return f"{amount(of.times(*[1 / size] * 3))} {unit}"


def percent(of: Range) -> str:
    """Return a range of shares as text."""
    low, high = (f"{end:.0%}" for end in of.ends)
    return low if low == high else f"{low.removesuffix('%')} to {high}"


def _size(count: float) -> str:
    return f"{count / _GIB:,.1f} GiB" if count >= _GIB / 10 else f"{count / _MIB:,.1f} MiB"
