"""What the whole job asks of the assembly: whether its traces can come, then the sets, and what may follow."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from assembly.assemble import assemble
from assembly.coverage import Coverage, coverage_text
from assembly.exports import check_destination
from assembly.feasibility import NothingMadeError, Supply, notes_on_supply
from assembly.rl import RL_DATA, rl_data
from assembly.settings import SftSettings
from assembly.summary import SFT_DATA, summary_text
from assembly.traces import PHRASES
from cluster.jobs.atomic import check_replaceable
from cluster.jobs.progress import say
from generation.plan import Plan, amounts
from generation.raw.counts import RawCounts
from generation.raw.report import summary
from generation.raw.schema import RAW_DATA
from generation.settings import Settings
from generation.variants import parse_names

SETS = (RAW_DATA, SFT_DATA, RL_DATA)
"""The folders that the whole job makes in its run directory."""
_PROPOSED = ("*C*IC", "*CC", "*C_full", "algorithm1", "0C", "star")
"""Formats in the order in which they are proposed."""


def sft_settings(settings: Settings) -> SftSettings:
    """Return what the flags of the whole job ask of the assembly. Raises ValueError if it cannot be assembled."""
    return SftSettings(settings.formats, settings.attempts, settings.seed)


def check_flags(settings: Settings) -> None:
    """Raise ValueError for settings from which no trace can come, whatever a model answers."""
    _notes(sft_settings(settings), len(parse_names(settings.variants)), *amounts(settings))


def _notes(wanted: SftSettings, variants: int, samples: int, reflections: int) -> tuple[str, ...]:
    more = (", or more --samples or --variants", "give --reflections 1 or more, or --formats star, which needs none")
    return notes_on_supply(wanted, Supply(variants * samples, variants, reflections > 0, *more))


def with_traces(plan: Plan, wanted: SftSettings) -> Plan:
    """Add the phrases of traces to the plan, and a note for each format that cannot come.

    Raises ValueError if none can, or if the sets cannot be put where they belong.
    """
    check_destination(plan.out / SFT_DATA, plan.out / RAW_DATA)
    if plan.rl_questions:
        check_replaceable(plan.out / RL_DATA)
    rollout = plan.rollout
    notes = _notes(wanted, len(rollout.variants), rollout.samples, rollout.reflections)
    return replace(plan, texts={**plan.texts, "phrases": PHRASES}).noting(*notes)


def say_counts(counts: RawCounts, coverage: Coverage) -> None:
    """Print what a RAW_DATA holds, and what traces can come of it."""
    print(f"\n{summary(counts)}\n\n{coverage_text(coverage, counts)}\n", flush=True)


def make_sets(
    plan: Plan, wanted: SftSettings, starts: Sequence[Mapping[str, Any]], published: str
) -> tuple[list[str], int]:
    """Make SFT_DATA and RL_DATA and print a summary; return the folders made, and the number of traces.

    Without any trace SFT_DATA stays as it was. `starts` are those of the run and `published` is where its RAW_DATA goes
    on the hub, both for the cards.
    """
    out, folders, traces = plan.out / SFT_DATA, [RAW_DATA], 0
    try:
        made = assemble(plan.out / RAW_DATA, out, wanted, license=plan.license, published=published, starts=starts)
        print(f"{summary_text(made)}\n", flush=True)
        folders.append(SFT_DATA)
        traces = made.traces.total()
    except NothingMadeError as error:
        kept = f"{out} stays as it was" if out.exists() else f"there is no {SFT_DATA}"
        print(f"failed: {error}", file=sys.stderr)
        print(f"{RAW_DATA} is kept in {plan.out}; {kept}", file=sys.stderr)
    if plan.rl_questions:
        rl_data(plan.rl_questions, plan.out / RL_DATA, plan.configuration, plan.license, starts=starts)
        folders.append(RL_DATA)
    return folders, traces


def say_next(run: Path, wanted: SftSettings, traces: int, served: Mapping[str, int]) -> None:
    """Name the commands that may follow; `served` counts the questions that can serve each format."""
    if traces:
        say("next", training(run / SFT_DATA))
    if others := [name for name in _PROPOSED if name not in wanted.formats and served[name]]:
        say("next", f"{assembling(run)} --formats {shlex.quote(others[0])} --out traces", whole=True)


def training(sft_data: Path) -> str:
    """Say where to read how to train on the set: the command depends on the model and its template."""
    return f"train on {sft_data.name}: docs/training.md"


def assembling(raw: Path) -> str:
    """Return the command that makes traces of a run or RAW_DATA."""
    return f"python -m assembly.run --raw {shlex.quote(str(raw))}"
