"""What the whole job asks of the assembly: whether its traces can come, then the traces."""

from __future__ import annotations

import sys
from dataclasses import replace

from assembly.assemble import assemble
from assembly.exports import check_destination
from assembly.foresight import Supply, foresee
from assembly.settings import SftSettings
from assembly.shortfall import NothingMadeError
from assembly.summary import AssemblySummary
from generation.plan import Plan
from generation.raw_data import RAW_DATA
from generation.settings import Settings
from generation.terminal import folded

SFT_DATA = "SFT_DATA"


def sft_settings(settings: Settings) -> SftSettings:
    return SftSettings(settings.formats, settings.attempts, settings.seed)


def foreseen(plan: Plan, settings: Settings) -> Plan:
    """The plan, with a note on each format that cannot come of it. Raises ValueError where none can."""
    check_destination(plan.out / SFT_DATA, plan.raw_data)
    rollout = plan.rollout
    supply = Supply(
        samples=len(rollout.variants) * rollout.samples,
        variants=tuple(variant.name for variant in rollout.variants),
        reflections=rollout.reflections > 0,
        more_samples=", or more --samples or --variants",
        more_reflections="give --reflections 1 or more, or --formats star, which needs none",
    )
    return replace(plan, notes=(*plan.notes, *map(folded, foresee(sft_settings(settings), supply))))


def make_traces(plan: Plan, settings: Settings) -> AssemblySummary | None:
    """SFT_DATA from the RAW_DATA of the run; None, and a word to the person, where no trace comes of it."""
    published = f"{settings.push_to}/{RAW_DATA}-{plan.name}" if settings.push_to else ""
    out = plan.out / SFT_DATA
    try:
        return assemble(plan.raw_data, out, sft_settings(settings), license=plan.license, published=published)
    except NothingMadeError as error:
        kept = f"{out} stays as it was" if out.exists() else f"there is no {SFT_DATA}"
        print(f"failed: {error}", file=sys.stderr)
        print(f"{RAW_DATA} is whole in {plan.out}; {kept}", file=sys.stderr)
        return None
