"""When a question has enough samples for the formats asked for, and how many traces a run can give so far.

Both by the assembly's own rules, so that what a rollout leaves out would not have given a trace more.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from assembly.candidates import choose, questions_of
from assembly.formats import Format
from assembly.settings import SftSettings
from assembly.traces import assemble_question
from cluster.jobs.goal import Goal
from generation.raw.reader import as_rows, find_columns

_HERE = Path("rollout")  # stands for a file in messages on its rows


def check_enough(settings: SftSettings) -> None:
    """Raise ValueError for formats of which every sample gives more, so that no question has enough."""
    for format_ in settings.chosen:
        if format_.lengths in ("alone", "used_up"):
            told = f"format {format_.name} takes every right sample there is, so no question ever has enough"
            raise ValueError(f"--enough: {told}: leave --enough out, or take other formats")
        if format_.retried:
            told = f"format {format_.name} takes every retry there is, so no question ever has enough"
            raise ValueError(f"--enough: {told}: leave --enough out, or take other formats")


@dataclass(frozen=True)
class Enough:
    """Says how many more samples a question needs, given the rows of those it has."""

    settings: SftSettings
    formats: tuple[Format, ...]  # those that can come at all

    def __call__(self, rows: pa.Table) -> int:
        """Return the least number of samples that could make all formats possible; 0 if they are."""
        counts = Counter[bool]()
        if rows.num_rows:
            pool = _pool(rows, self.settings)
            usable = [not why for why in pool["left_out"].to_pylist()]
            counts.update(right for right, use in zip(pool["correct"].to_pylist(), usable, strict=True) if use)
        return self.lacking(counts[True], counts[False])

    def lacking(self, right: int, wrong: int) -> int:
        """Return the same, given the numbers of usable samples."""
        more = 0
        while not any(self._serve(right + added, wrong + more - added) for added in range(more + 1)):
            more += 1
        return more

    def _serve(self, right: int, wrong: int) -> bool:
        bounds = self.settings.bounds
        return not any(format_.shortage(right, wrong, bounds) for format_ in self.formats)


def traces_goal(settings: SftSettings, wanted: int | None) -> Goal | None:
    """Return the goal of a run that is to give so many traces; None for None."""
    formats: Sequence[Format] = settings.chosen

    def traces_of(rows: pa.Table) -> dict[str, int]:
        """Return how many traces each question gives, as the set to be made has them."""
        asked = questions_of(_pool(rows, settings)) if rows.num_rows else ()
        return {one.key: len(assemble_question(one, formats, settings).made) for one in asked}

    return None if wanted is None else Goal(wanted, "traces", traces_of)


def _pool(rows: pa.Table, settings: SftSettings) -> pa.Table:
    columns = find_columns(rows.schema, _HERE)
    (batch,) = rows.combine_chunks().to_batches()
    return choose(as_rows(batch, columns, _HERE, 0), settings)
