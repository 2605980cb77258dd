"""What the whole job asks of the assembly: whether its traces can come, then the sets, and what may follow."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from assembly.assemble import assemble
from assembly.cards import SFT_DATA, summary_text
from assembly.exports import check_destination
from assembly.feasibility import NothingMadeError, Supply, foresee
from assembly.rl import RL_DATA, rl_data
from assembly.serving import Serving, serving_text
from assembly.settings import SftSettings
from assembly.traces import PHRASES
from cluster.jobs.atomic import check_replaceable
from cluster.jobs.progress import say
from generation.plan import Plan, amounts
from generation.raw.counts import RawCounts
from generation.raw.report import summary
from generation.raw.schema import RAW_DATA
from generation.settings import Settings
from generation.variants import Variant, parse_names

SETS = (RAW_DATA, SFT_DATA, RL_DATA)
"""The folders that the whole job makes in its run directory."""
_WORTH = ("*C*IC", "*CC", "*C_full", "algorithm1", "0C", "star")
"""Formats in the order in which they are proposed."""


class Sets(NamedTuple):
    """What was made of a RAW_DATA."""

    names: tuple[str, ...]
    """Of the folders in the run directory, with RAW_DATA."""
    traces: int


def sft_settings(settings: Settings) -> SftSettings:
    """Return what the flags of the whole job ask of the assembly. Raises ValueError if it cannot be assembled."""
    return SftSettings(settings.formats, settings.attempts, settings.seed)


def check_flags(settings: Settings) -> None:
    """Raise ValueError for settings of which no trace can come, whatever a model answers."""
    foresee(sft_settings(settings), _supply(parse_names(settings.variants), *amounts(settings)))


def _supply(variants: Sequence[Variant], samples: int, reflections: int) -> Supply:
    return Supply(
        samples=len(variants) * samples,
        variants=tuple(variant.name for variant in variants),
        reflections=reflections > 0,
        more_samples=", or more --samples or --variants",
        more_reflections="give --reflections 1 or more, or --formats star, which needs none",
    )


def foreseen(plan: Plan, wanted: SftSettings) -> Plan:
    """Add the phrases of traces to the plan, and a note for each format that cannot come.

    Raises ValueError if none can.
    """
    check_destination(plan.out / SFT_DATA, plan.out / RAW_DATA)
    if plan.rl_questions:
        check_replaceable(plan.out / RL_DATA)
    rollout = plan.rollout
    supply = _supply(rollout.variants, rollout.samples, rollout.reflections)
    texts = {**plan.texts, "phrases": PHRASES}
    return replace(plan, texts=texts).noting(*foresee(wanted, supply))


def say_counts(counts: RawCounts, serving: Serving) -> None:
    """Print what a RAW_DATA holds, and what traces can come of it."""
    print(f"\n{summary(counts)}\n\n{serving_text(serving, counts)}\n", flush=True)


def make_sets(plan: Plan, wanted: SftSettings, starts: Sequence[Mapping[str, Any]], published: str) -> Sets:
    """Make SFT_DATA and RL_DATA and print a summary. If no trace comes of the rows, SFT_DATA stays as it was.

    `starts` are those of the run and `published` is where its RAW_DATA goes on the hub, both for the cards.
    """
    out = plan.out / SFT_DATA
    names, traces = [RAW_DATA], 0
    try:
        made = assemble(plan.out / RAW_DATA, out, wanted, license=plan.license, published=published, starts=starts)
    except NothingMadeError as error:
        kept = f"{out} stays as it was" if out.exists() else f"there is no {SFT_DATA}"
        print(f"failed: {error}", file=sys.stderr)
        print(f"{RAW_DATA} is kept in {plan.out}; {kept}", file=sys.stderr)
    else:
        print(f"{summary_text(made)}\n", flush=True)
        names.append(SFT_DATA)
        traces = made.traces.total()
    if plan.rl_questions:
        rl_data(plan.rl_questions, plan.out / RL_DATA, plan.configuration, plan.license, starts=starts)
        names.append(RL_DATA)
    return Sets(tuple(names), traces)


def say_next(run: Path, sets: Sets, wanted: SftSettings, served: Mapping[str, int]) -> None:
    """Name the commands that may follow; `served` counts the questions that can serve each format."""
    if sets.traces:
        say("next", training(run / SFT_DATA))
    if others := [name for name in _WORTH if name not in wanted.formats and served[name]]:
        say("next", f"{assembling(run)} --formats {shlex.quote(others[0])} --out traces", whole=True)


def training(sft_data: Path) -> str:
    """Return where it stands how to fine-tune a model on the set: the command depends on the model and its template."""
    return f"train on {sft_data.name}: docs/training.md"


def assembling(raw: Path) -> str:
    """Return the command that makes traces of a run or RAW_DATA."""
    return f"python -m assembly.run --raw {shlex.quote(str(raw))}"
