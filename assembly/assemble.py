"""RAW_DATA to SFT_DATA: parts are read, their questions become traces, traces are put in order and written.

All three are shared out among processes; what comes out does not depend on how many, nor on the order of
the rows in RAW_DATA. Memory holds a part of the rows at a time.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from assembly.dealing import Surveyed, count_piles, most_samples, scattered, survey
from assembly.exports import check_destination, write_sft
from assembly.foresight import Supply, check_variants, foresee
from assembly.formats import check_formats
from assembly.piles import MadeRows, check_tokenizer, make_part, make_pile
from assembly.progress import follow
from assembly.settings import SftSettings
from assembly.shortfall import NothingMadeError, notes_on, why_nothing
from assembly.summary import AssemblySummary
from assembly.workers import Run, workers
from cluster.jobs.atomic import replace_folder
from cluster.jobs.card import UNKNOWN
from cluster.jobs.provenance import now, this_command
from generation.raw.files import Part, source_of
from generation.raw.reader import open_parts

_WORK = ".work"


def assemble(
    raw: str | Path,
    out: Path,
    settings: SftSettings,
    processes: int | None = None,
    *,
    license: str = UNKNOWN,
    published: str = "",
    starts: Sequence[Mapping[str, Any]] | None = None,
) -> AssemblySummary:
    """Make SFT_DATA in the place of `out` from a RAW_DATA folder, file or hub repository.

    By default as many processes as cores, and one where there is little to do. The card names `license`,
    `published`, the repository that a local RAW_DATA is pushed to, and the `starts` of the run that the set belongs
    to. ValueError for settings, places and files that are wrong, NothingMadeError where no trace comes of them;
    what lies in `out` stays then.
    """
    check_settings(settings)
    check_destination(out, raw)
    begun, command = time.monotonic(), this_command(state="assembled")
    parts = open_parts(raw)
    source = source_of(raw, parts, published)
    summary = AssemblySummary(source=source, license=license, notes=[*source.notes])

    def build(folder: Path) -> None:
        work = folder / _WORK
        work.mkdir()
        with workers(processes or min(len(parts), os.cpu_count() or 1)) as run:
            surveyed = list(follow(run(survey, [(part, settings.variants) for part in parts]), len(parts), "reading"))
            _check_supply(parts, surveyed, settings)
            made = _make(run, parts, surveyed, settings, work=work, summary=summary)
            if not any(len(rows.orders) for rows in made):
                raise NothingMadeError(why_nothing(summary, settings))
            summary.notes += notes_on(summary, settings, made)
            alone = {"ended": now(), "seconds": time.monotonic() - begun, "questions": summary.questions}
            summary.starts = starts if starts is not None else [command | alone]
            write_sft(run, made, settings, summary, folder)
        shutil.rmtree(work)

    replace_folder(build, out)
    return summary


def check_settings(settings: SftSettings) -> None:
    """Raise ValueError for formats that are unknown or cannot be made so, and a tokenizer that is not there."""
    check_formats(settings)
    if settings.tokenizer is not None:
        check_tokenizer(settings.tokenizer)


def _check_supply(parts: Sequence[Part], surveyed: Sequence[Surveyed], settings: SftSettings) -> None:
    """Raise ValueError for variants that are not there, and where what is there can give no trace."""
    there = frozenset[str]().union(*(part.variants for part in surveyed))
    check_variants(settings.variants, there)
    variants = tuple(sorted(set(settings.variants) or there))
    reflected = any("reflections" in part.columns for part in parts)
    more = "`python -m reflection.run` adds some; --formats star needs none"
    foresee(settings, Supply(most_samples(surveyed), variants, reflected, "", more))


def _make(
    run: Run,
    parts: Sequence[Part],
    surveyed: Sequence[Surveyed],
    settings: SftSettings,
    *,
    work: Path,
    summary: AssemblySummary,
) -> list[MadeRows]:
    piles = [work / f"pile-{pile:04}" for pile in range(count_piles(parts))]
    apart = work / "apart.npy"
    np.save(apart, scattered(surveyed))
    calls = [(part, number, settings, piles, apart) for number, part in enumerate(parts)]
    made = []
    for found in follow(run(make_part, calls), len(calls), "assembling"):
        summary.samples += found.samples
        summary.left_out.update(found.left_out)
        made.append(found.made)
    piles = [pile for pile in piles if pile.exists()]
    made += follow(run(make_pile, [(pile, settings) for pile in piles]), len(piles), "gathering")
    for rows in made:
        summary.questions += rows.questions
        summary.not_given.update(rows.not_given)
        summary.too_long.update(rows.too_long)
        summary.shortest = min(filter(None, (summary.shortest, rows.shortest)), default=0)
    return made
