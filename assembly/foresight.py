"""Which of the formats asked for can come at all, told before a trace is made or, in the whole job, a sample drawn.

Knows how many samples there are or will be, and nothing of what stands in them.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from assembly.formats import Format, choose_formats, least_samples, least_variants
from assembly.settings import SftSettings, read_attempts
from cluster.messages import nearest


class Supply(NamedTuple):
    """What a question has at most, and what a person may do for more of it."""

    samples: int
    """Under the variants asked for."""
    variants: tuple[str, ...]
    """Under which there are any of those."""
    reflections: bool
    more_samples: str
    """Behind "give --attempts 8 or fewer"; empty where there is no way."""
    more_reflections: str


def check_variants(wanted: Collection[str], there: Collection[str]) -> None:
    """Raise ValueError for a prompt variant that no sample of a RAW_DATA is of."""
    named = sorted(name for name in there if name)
    for name in wanted:
        if name in there:
            continue
        if not named:
            raise ValueError(f"--variants {name}: this RAW_DATA names no prompt variants; leave --variants out")
        near = nearest(name, named)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"--variants {name}: the RAW_DATA has no sample under it, only under {', '.join(named)}{hint}")


class Lack(NamedTuple):
    """What keeps every question from giving a format."""

    why: str
    help: str


def foresee(settings: SftSettings, supply: Supply) -> tuple[str, ...]:
    """Return a note for each format that no sample could give. Raises ValueError if all formats are such."""
    formats = choose_formats(settings.formats, read_attempts(settings.attempts))
    lacking = {format_.name: _lack(format_, settings, supply) for format_ in formats}
    found = {name: lack for name, lack in lacking.items() if lack is not None}
    if len(found) < len(formats):
        return tuple(f"no trace of {name} can come: {lack.why}" for name, lack in found.items())
    told: dict[Lack, list[str]] = {}
    for name, lack in found.items():
        told.setdefault(lack, []).append(name)
    reasons = [f"no trace of {', '.join(names)} can come: {lack.why}; {lack.help}" for lack, names in told.items()]
    raise ValueError("; ".join(reasons))


def _lack(format_: Format, settings: SftSettings, supply: Supply) -> Lack | None:
    attempts = read_attempts(settings.attempts)
    if format_.reflected and not supply.reflections:
        return Lack("it takes samples that a reflection judged rightly, and none has any", supply.more_reflections)
    wanted = least_samples(format_, attempts)
    if wanted > supply.samples:
        asked = f"--attempts {settings.attempts}" if format_.whole_pool else "it"
        there = f"{_there(supply.samples)} at most"
        return Lack(f"{asked} needs {wanted} samples of a question, and {there}", _fewer(format_, supply))
    wanted = least_variants(format_, attempts)
    if settings.unique_variants and wanted > len(supply.variants):
        asked = f"--attempts {settings.attempts} with --unique_variants needs samples under {wanted} prompt variants"
        remedy = "give fewer --attempts, or leave --unique_variants out"
        return Lack(f"{asked}, and {_there(len(supply.variants))}", remedy)
    return None


def _there(count: int) -> str:
    return f"there {'is' if count == 1 else 'are'} {count}"


def _fewer(format_: Format, supply: Supply) -> str:
    """What to do where a question has too few samples."""
    if format_.shortest > supply.samples:
        return f"take another format{supply.more_samples}"
    return f"give --attempts {supply.samples} or fewer{supply.more_samples}"
