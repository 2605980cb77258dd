"""Retries of a RAW_DATA, counted for themselves: how often they mend a wrong answer, and spoil a right one."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cluster.jobs.card import Table
from generation.raw.schema import requests_in

_KNOWN = ("wrong", "right")  # outcomes of samples that are reflected on, and so may be retried
_OUTCOMES = ("right", "wrong", "unknown")
_CHANGED = {"wrong": "mended", "right": "spoiled"}
"""What a retry that is right after a wrong sample has done to it, and one that is wrong after a right sample."""
_Z = 1.959964  # of a normal distribution: 95% lie within
_ALL = ""
_INTRO = """A retry follows a reflection that calls a sample incorrect, truly or not. It mends a wrong sample when it is
right, and spoils a right one when it is wrong. The intervals (95%) are Wilson's, for the effective number of retries:
those of one question are alike.
"""


class Share(NamedTuple):
    """A share of retries, with its 95% interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.1%} ({self.low:.1%} to {self.high:.1%})"


@dataclass
class RetryCounts:
    """Retries by the variant and the outcome of the sample before, and by their own outcome."""

    outcomes: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    by_question: Counter[tuple[str, str, str, bool]] = field(default_factory=Counter)
    """Likewise by variant, outcome before and question, and by whether they mended or spoiled."""
    reflections: int = 0

    def add(self, rows: pa.Table) -> None:
        """Count the retries among rows of schema ROWS."""
        rows = rows.filter(rows["parent"].is_valid())
        if not rows.num_rows:
            return
        self.reflections += pc.sum(pc.list_value_length(rows["reflections"])).as_py() or 0
        before = pc.struct_field(rows["seen"], "outcome").to_pylist()
        named = variants_of(rows["parent"].combine_chunks()).to_pylist()
        told = zip(named, before, rows["outcome"].to_pylist(), rows["question_key"].to_pylist(), strict=True)
        for variant, was, outcome, key in told:
            changed = (was, outcome) in (("wrong", "right"), ("right", "wrong"))
            for under in (_ALL, variant):
                self.outcomes[under, was, outcome] += 1
                self.by_question[under, was, key, changed] += 1

    @property
    def total(self) -> int:
        return sum(self.after(before) for before in _KNOWN)

    def after(self, before: str, variant: str = _ALL) -> int:
        """Return how many retries follow samples of this outcome."""
        return sum(self.outcomes[variant, before, outcome] for outcome in _OUTCOMES)

    def changed(self, before: str, variant: str = _ALL) -> Share | None:
        """Return the share of these that mended, or spoiled, their sample; None without any."""
        found: dict[str, list[int]] = {}
        for (under, was, key, changed), count in self.by_question.items():
            if (under, was) == (variant, before):
                parts = found.setdefault(key, [0, 0])
                parts[0] += count * changed
                parts[1] += count
        return share_of([*found.values()]) if found else None

    def table(self) -> Table:
        """Return counts and shares by outcome of the sample before, and by its variant."""
        named = sorted({variant for variant, _, _ in self.outcomes} - {_ALL})
        rows = [
            (
                variant or "(all)",
                before,
                self.after(before, variant),
                *(self.outcomes[variant, before, outcome] for outcome in _OUTCOMES),
                f"{_CHANGED[before]} {self.changed(before, variant)}",
            )
            for before in _KNOWN
            for variant in (_ALL, *(named if len(named) > 1 else ()))
            if self.after(before, variant)
        ]
        return Table(("variant", "sample", "retries", *_OUTCOMES, "share"), rows)

    def markdown(self) -> str:
        """Return the section of a card; "" without retries."""
        return f"### Retries\n\n{_INTRO}\n{self.table().markdown(1)}" if self.total else ""

    def text(self) -> str:
        """Return one line; "" without retries."""
        told = [
            f"{share.value:.0%} of {self.after(before):,} {_CHANGED[before]} a {before} sample"
            for before in _KNOWN
            if (share := self.changed(before))
        ]
        return f"{self.total:,} retries: {', '.join(told)}" if told else ""


def tokens_in(batch: pa.RecordBatch, column: str, names: Iterable[str]) -> dict[str, int]:
    """Return the sums of these token counts in a column of REQUESTS, as far as it has them."""
    if (asked := requests_in(batch, column)) is None:
        return {}
    made = asked.flatten()
    there = [name for name in names if made.type.get_field_index(name) >= 0]
    return {name: pc.sum(pc.struct_field(made, name)).as_py() or 0 for name in there}


def variants_of(parents: pa.Array) -> pa.Array:
    """Return the variant in each name of column `parent`, null for null."""
    return pc.replace_substring_regex(parents, r"/\d+/\d+$", "")


def share_of(counts: Sequence[Sequence[int]]) -> Share:
    """Return the share of hits, given hits and number of each question, with its 95% interval.

    Wilson's (1927), for as many independent cases as have the variance that the share has between questions, by the
    linearized variance of a ratio (Cochran, Sampling Techniques, 1977, 6.4); where all are hits or none, the questions.
    """
    hits, sizes = np.array(counts, dtype=float).T
    total, questions = float(sizes.sum()), len(counts)
    share = float(hits.sum()) / total
    spread = float(((hits - share * sizes) ** 2).sum()) / total**2 * questions / max(1, questions - 1)
    cases = min(total, share * (1 - share) / spread) if spread else float(questions)
    middle = (share + _Z**2 / (2 * cases)) / (1 + _Z**2 / cases)
    half = _Z * math.sqrt(share * (1 - share) / cases + _Z**2 / (4 * cases**2)) / (1 + _Z**2 / cases)
    return Share(share, max(0.0, middle - half), min(1.0, middle + half))
