"""What an assembly was asked for, what it made and what it could not: as values, and as printed text."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class SftSettings:
    """How a set of traces was asked for; with the RAW_DATA, all that decides its bytes."""

    formats: tuple[str, ...]
    attempts: int
    seed: int


@dataclass
class AssemblySummary:
    """Counts over all questions of one assembly."""

    folder: Path
    questions: int = 0
    samples: int = 0
    traces: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By (format, label)."""
    not_given: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Questions that could not give a format, by (format, reason)."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Samples that may stand in no trace, by reason."""


def summary_text(summary: AssemblySummary) -> str:
    """For people to read: a few lines, the last one naming the folder."""
    lines = [f"{summary.questions:,} questions with {summary.samples:,} samples in all"]
    lines.append(f"{summary.traces.total():,} traces")
    lines += [f"  {count:7,}  {_named(*key)}" for key, count in sorted(summary.traces.items())]
    if summary.not_given:
        lines.append("questions that could not give a format")
        lines += [f"  {count:7,}  {key[0]}: {key[1]}" for key, count in sorted(summary.not_given.items())]
    if summary.left_out:
        lines.append("samples that no trace may use")
        lines += [f"  {count:7,}  {reason}" for reason, count in sorted(summary.left_out.items())]
    if not summary.traces:
        lines.append("no question could give any trace: the set is empty")
    lines.append(f"SFT set in {summary.folder}")
    return "\n".join(lines)


def _named(format_name: str, label: str) -> str:
    return label if label == format_name else f"{label} of {format_name}"
