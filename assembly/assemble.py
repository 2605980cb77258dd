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

from assembly.dealing import count_piles, orders_of, scattered
from assembly.exports import check_destination, write_sft
from assembly.formats import choose_formats
from assembly.piles import MadeRows, make_part, make_pile, tokenizer
from assembly.progress import follow
from assembly.settings import SftSettings, read_attempts
from assembly.summary import AssemblySummary
from assembly.workers import Run, workers
from cluster.atomic import replace_folder
from cluster.provenance import now, this_command
from generation.raw_reader import Part, models_of, open_parts

_WORK = ".work"


def assemble(
    raw: str | Path,
    out: Path,
    settings: SftSettings,
    processes: int | None = None,
    *,
    starts: Sequence[Mapping[str, Any]] | None = None,
) -> AssemblySummary:
    """Make SFT_DATA in the place of `out` from a RAW_DATA folder, file or hub repository.

    The set is ordered by a hash of the question's key. By default as many processes as cores, and one
    where there is little to do. `starts` are for the card: those of the run that the set belongs to.
    ValueError for settings, places and files that are wrong.
    """
    check_settings(settings)
    check_destination(out, raw)
    begun, command = time.monotonic(), this_command(state="assembled")
    parts = open_parts(raw)
    summary = AssemblySummary(folder=out, models=models_of(parts))

    def build(folder: Path) -> None:
        work = folder / _WORK
        work.mkdir()
        with workers(processes or min(len(parts), os.cpu_count() or 1)) as run:
            made = _make(run, parts, settings, work, summary)
            alone = {"ended": now(), "seconds": time.monotonic() - begun, "questions": summary.questions}
            summary.starts = starts if starts is not None else [command | alone]
            write_sft(run, made, settings, summary, folder)
        shutil.rmtree(work)

    replace_folder(build, out)
    return summary


def check_settings(settings: SftSettings) -> None:
    """Raise ValueError for formats that are unknown or cannot be made so, and a tokenizer that is not there."""
    choose_formats(settings.formats, read_attempts(settings.attempts))
    if settings.tokenizer is not None:
        tokenizer(settings.tokenizer)


def _make(
    run: Run, parts: Sequence[Part], settings: SftSettings, work: Path, summary: AssemblySummary
) -> list[MadeRows]:
    piles = [work / f"pile-{pile:04}" for pile in range(count_piles(parts))]
    apart = work / "apart.npy"
    orders = follow(run(orders_of, [(part,) for part in parts]), len(parts), "reading")
    np.save(apart, scattered(list(orders)))
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
    return made
