"""What an assembly made and what it could not: as values, and as printed text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from assembly.analysis import Analysis
from assembly.formats import TOO_ALIKE
from cluster.jobs.progress import fitted
from cluster.jobs.tables import NONE, counts_text
from generation.raw.files import RawSource


@dataclass(kw_only=True)
class AssemblySummary(Analysis):
    """Counts over all questions of one assembly."""

    source: RawSource
    license: str
    starts: Sequence[Mapping[str, Any]] = ()
    """Of the run that this belongs to, or of this command alone, as `cluster.jobs.provenance` tells them."""
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
    """Return the summary for a person, in a few lines."""
    traces = [
        (label if label == name else f"{label} of {name}", n) for (name, label), n in sorted(summary.traces.items())
    ]
    lines = [f"{summary.questions:,} questions with {summary.samples:,} samples in all"]
    lines += [f"{summary.traces.total():,} traces", *counts_text(traces)]
    if len(tasks := summary.counts("task")) > 1:
        lines += ["traces by task", *counts_text((name or NONE, count) for name, count in tasks.items())]
    if summary.not_given:
        some = ", or not all of it" if any(why == TOO_ALIKE for _, why in summary.not_given) else ""
        not_given = sorted(summary.not_given.items())
        lines.append(f"questions that could not give a format{some}")
        lines += counts_text((f"{name}: {why}", count) for (name, why), count in not_given)
    if summary.left_out:
        lines += ["samples that no trace may use", *counts_text(sorted(summary.left_out.items()))]
    if summary.too_long:
        lines.append(f"{summary.too_long.total():,} traces left out: longer than --max_trace_tokens")
    return "\n".join([*lines, *(fitted(f"note        {note}") for note in summary.notes)])
