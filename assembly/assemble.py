"""RAW_DATA to SFT_DATA: rows are dealt by question, questions become traces, traces are written.

Dealing and making are shared out among processes; what comes out does not depend on how many, nor
on the order of the rows in RAW_DATA. Memory holds a part of the rows at a time.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from assembly.dealing import count_piles, deal
from assembly.exports import check_destination, write_sft
from assembly.formats import choose_formats
from assembly.piles import MadePile, make_pile, tokenizer
from assembly.progress import follow
from assembly.settings import SftSettings, read_attempts
from assembly.summary import AssemblySummary
from assembly.workers import Run, workers
from cluster.atomic import replace_folder
from generation.raw_reader import Part, models_of, open_parts

_WORK = ".work"


def assemble(raw: str | Path, out: Path, settings: SftSettings, processes: int | None = None) -> AssemblySummary:
    """Make SFT_DATA in the place of `out` from a RAW_DATA folder, file or hub repository.

    The set is ordered by a hash of the question's key. By default as many processes as cores, and one
    where there is little to do. ValueError for settings, places and files that are wrong.
    """
    check_settings(settings)
    check_destination(out, raw)
    parts = open_parts(raw)
    summary = AssemblySummary(out, models_of(parts))

    def build(folder: Path) -> None:
        work = folder / _WORK
        work.mkdir()
        piles = count_piles(parts)
        with workers(processes or min(piles, os.cpu_count() or 1)) as run:
            _deal(run, parts, piles, settings, work, summary=summary)
            made = _make(run, piles, settings, work, summary)
        write_sft(made, kept_scores(made, settings.subsample), summary, settings, folder)
        shutil.rmtree(work)

    replace_folder(build, out)
    return summary


def check_settings(settings: SftSettings) -> None:
    """Raise ValueError for formats that are unknown or cannot be made so, and a tokenizer that is not there."""
    choose_formats(settings.formats, read_attempts(settings.attempts))
    if settings.tokenizer is not None:
        tokenizer(settings.tokenizer)


def _deal(
    run: Run, parts: Sequence[Part], piles: int, settings: SftSettings, work: Path, *, summary: AssemblySummary
) -> None:
    calls = [(part, number, piles, settings, work) for number, part in enumerate(parts)]
    for found in follow(run(deal, calls), len(calls), "reading"):
        summary.samples += found.samples
        summary.left_out.update(found.left_out)


def _make(run: Run, piles: int, settings: SftSettings, work: Path, summary: AssemblySummary) -> list[MadePile]:
    made = list(follow(run(make_pile, [(pile, settings, work) for pile in range(piles)]), piles, "assembling"))
    for pile in made:
        summary.questions += pile.questions
        summary.not_given.update(pile.not_given)
        summary.too_long.update(pile.too_long)
    return made


def kept_scores(made: Sequence[MadePile], subsample: int | None) -> Mapping[tuple[str, str], int]:
    """The largest score that is kept of each (format, label); every trace where no subsample is asked for.

    Of each label its share, by largest remainders.
    """
    scores: dict[tuple[str, str], list[int]] = {}
    for pile in made:
        for label, found in pile.scores.items():
            scores.setdefault(label, []).extend(found)
    counts = {label: len(found) for label, found in sorted(scores.items())}
    shares = _shares(counts, subsample) if subsample is not None else counts
    return {label: sorted(found)[shares[label] - 1] if shares[label] else -1 for label, found in scores.items()}


def _shares(counts: Mapping[tuple[str, str], int], wanted: int) -> dict[tuple[str, str], int]:
    total = sum(counts.values())
    if wanted >= total:
        return dict(counts)
    shares = {label: wanted * count // total for label, count in counts.items()}
    remainders = sorted(counts, key=lambda label: (-(wanted * counts[label] % total), label))
    for label in remainders[: wanted - sum(shares.values())]:
        shares[label] += 1
    return shares
