"""What an assembly made and what it could not: as values, and as printed text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from assembly.analysis import Analysis
from assembly.formats import TOO_ALIKE
from cluster.jobs.licenses import UNKNOWN
from cluster.jobs.progress import fitted
from generation.raw.source import RawSource


class Shown(NamedTuple):
    """The trace that the card shows."""

    rank: tuple[bool, bool, int]
    """The smallest is shown."""
    text: str


@dataclass
class Contents:
    """What some traces are."""

    traces: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By (format, label)."""
    analysis: Analysis = field(default_factory=Analysis)
    shown: Shown | None = None

    def add(self, later: Contents) -> None:
        """Add the contents of traces that come after these."""
        self.traces.update(later.traces)
        self.analysis.extend(later.analysis)
        if later.shown is not None and (self.shown is None or later.shown.rank < self.shown.rank):
            self.shown = later.shown


@dataclass
class AssemblySummary(Contents):
    """Counts over all questions of one assembly."""

    models: tuple[str, ...] = ()
    """That wrote the samples, as far as the rows say so."""
    starts: Sequence[Mapping[str, Any]] = ()
    """Of the run that this belongs to, or of this command alone, as `cluster.jobs.provenance` tells them."""
    source: RawSource | None = None
    license: str = UNKNOWN
    notes: list[str] = field(default_factory=list)
    """What of all that was asked for did not come."""
    questions: int = 0
    samples: int = 0
    not_given: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Questions that could not give a format, by (format, reason)."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Samples that may stand in no trace, by reason."""
    too_long: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Traces left out for their length in tokens, by (format, label)."""
    shortest: int = 0
    """Tokens of the shortest of those."""


def summary_text(summary: AssemblySummary) -> str:
    """Write the summary for a person, in a few lines."""
    lines = [f"{summary.questions:,} questions with {summary.samples:,} samples in all"]
    lines.append(f"{summary.traces.total():,} traces")
    lines += [f"  {count:7,}  {_named(*key)}" for key, count in sorted(summary.traces.items())]
    tasks = summary.analysis.counts("task")
    if len(tasks) > 1:
        lines.append("traces by task")
        lines += [f"  {count:7,}  {name or '(none)'}" for name, count in tasks.items()]
    if summary.not_given:
        alike = any(why == TOO_ALIKE for _, why in summary.not_given)
        lines.append(f"questions that could not give a format{', or not all of it' if alike else ''}")
        lines += [f"  {count:7,}  {key[0]}: {key[1]}" for key, count in sorted(summary.not_given.items())]
    if summary.left_out:
        lines.append("samples that no trace may use")
        lines += [f"  {count:7,}  {reason}" for reason, count in sorted(summary.left_out.items())]
    if summary.too_long:
        lines.append(f"{summary.too_long.total():,} traces left out: longer than --max_trace_tokens")
    lines += [fitted(f"note        {note}") for note in summary.notes]
    return "\n".join(lines)


def _named(format_name: str, label: str) -> str:
    return label if label == format_name else f"{label} of {format_name}"
