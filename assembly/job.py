"""What the whole job asks of the assembly: whether its traces can come, then the sets, and what may follow."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from assembly.assemble import assemble, check_settings
from assembly.cards import SFT_DATA
from assembly.exports import check_destination
from assembly.foresight import Supply, foresee
from assembly.next_steps import assembling_more, training
from assembly.phrases import load_phrases
from assembly.rl import RL_DATA, rl_data
from assembly.settings import SftSettings
from assembly.shortfall import NothingMadeError
from assembly.summary import AssemblySummary, summary_text
from cluster.jobs.atomic import check_replaceable
from cluster.jobs.progress import FAILED, say
from generation.plan import Plan
from generation.raw.schema import RAW_DATA
from generation.settings import Settings

SETS = (RAW_DATA, SFT_DATA, RL_DATA)
"""The folders that the whole job makes in its run directory."""


def sft_settings(settings: Settings) -> SftSettings:
    """Return what the flags of the whole job ask of the assembly. Raises ValueError for formats that are unknown."""
    wanted = SftSettings(settings.formats, settings.attempts, settings.seed)
    check_settings(wanted)
    return wanted


def foreseen(plan: Plan, settings: Settings) -> Plan:
    """Add the phrases of traces to the plan, and a note for each format that cannot come.

    Raises ValueError if none can.
    """
    check_destination(plan.out / SFT_DATA, plan.out / RAW_DATA)
    if plan.rl_questions:
        check_replaceable(plan.out / RL_DATA)
    rollout = plan.rollout
    supply = Supply(
        samples=len(rollout.variants) * rollout.samples,
        variants=tuple(variant.name for variant in rollout.variants),
        reflections=rollout.reflections > 0,
        more_samples=", or more --samples or --variants",
        more_reflections="give --reflections 1 or more, or --formats star, which needs none",
    )
    texts = {**plan.texts, "phrases": asdict(load_phrases())}
    return replace(plan, texts=texts).noting(*foresee(sft_settings(settings), supply))


class Sets(NamedTuple):
    """What was made of a RAW_DATA."""

    names: tuple[str, ...]
    """Of the folders in the run directory, with RAW_DATA."""
    traces: int

    def code(self, code: int) -> int:
        """Return the exit code of a run that would end with `code`: without any trace it has failed."""
        return code if self.traces else code or FAILED


def make_sets(plan: Plan, settings: Settings, starts: Sequence[Mapping[str, Any]]) -> Sets:
    """Make SFT_DATA and RL_DATA and print a summary. If no trace comes of the rows, SFT_DATA stays as it was.

    `starts` are those of the run, for the cards.
    """
    made = _traces(plan, settings, starts)
    if plan.rl_questions:
        rl_data(plan.rl_questions, plan.out / RL_DATA, plan.configuration, plan.license, starts=starts)
    names = (RAW_DATA, *([SFT_DATA] if made else []), *([RL_DATA] if plan.rl_questions else []))
    return Sets(names, made.traces.total() if made else 0)


def _traces(plan: Plan, settings: Settings, starts: Sequence[Mapping[str, Any]]) -> AssemblySummary | None:
    published = f"{settings.push_to}/{RAW_DATA}-{plan.name}" if settings.push_to else ""
    out, wanted = plan.out / SFT_DATA, sft_settings(settings)
    try:
        made = assemble(plan.out / RAW_DATA, out, wanted, license=plan.license, published=published, starts=starts)
    except NothingMadeError as error:
        kept = f"{out} stays as it was" if out.exists() else f"there is no {SFT_DATA}"
        print(f"failed: {error}", file=sys.stderr)
        print(f"{RAW_DATA} is kept in {plan.out}; {kept}", file=sys.stderr)
        return None
    print(f"{summary_text(made)}\n", flush=True)
    return made


def say_next(run: Path, sets: Sets, settings: Settings, served: Mapping[str, int]) -> None:
    """Name the commands that may follow; `served` counts the questions that can serve each format."""
    if sets.traces:
        say("next", training(run / SFT_DATA))
    if other := assembling_more(run, settings.formats, served):
        say("next", other, whole=True)
