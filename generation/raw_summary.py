"""What a RAW_DATA holds, for a person at a terminal: outcomes, why some are unknown, how true the verdicts are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from generation.raw_counts import OUTCOMES, VERDICTS, RawCounts, share

WIDTH = 80
_REASONS = 5


def summary(counts: RawCounts) -> str:
    """A few lines, none longer than WIDTH."""
    lines = [f"{counts.samples:,} samples of {len(counts.questions):,} questions"]
    groups = {"": counts.variants()} | ({"by task": counts.tasks()} if len(counts.tasks()) > 1 else {})
    wide = max((len(name) for found in groups.values() for name in found), default=7)
    wide = min(max(wide, len("by task") - 2), WIDTH - 2 - 16 * len(OUTCOMES))
    for head, found in groups.items():
        lines.append(f"{head:<{wide + 2}}" + "".join(f"{outcome:>16}" for outcome in OUTCOMES))
        lines += [f"  {cut(name or '(none)', wide):<{wide}}{_shares(found[name])}" for name in found]
    lines += _reasons("unknown because", counts.unknown)
    lines += _verdicts(counts)
    if counts.lost:
        lines += _reasons(f"{counts.lost.total():,} questions failed and have no samples:", counts.lost)
    if counts.kept:
        lines += _reasons(f"{counts.kept.total():,} rows failed and stay as they were:", counts.kept)
    if counts.failed:
        lines.append(f"{counts.failed:,} requests failed; the reasons are in sample__provenance.error")
    if counts.refused:
        lines.append(f"{counts.refused:,} reflections failed; see reflections__provenance.error")
    return "\n".join(lines)


def cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _shares(found: Mapping[str, int]) -> str:
    total = sum(found.values())
    return "".join(f"{found[outcome]:>11,} {found[outcome] / total:>4.0%}" for outcome in OUTCOMES)


def _reasons(head: str, found: Counter[str]) -> list[str]:
    """The most frequent ones, and how many more there are."""
    if not found:
        return []
    lines = [head, *(cut(f"  {count:>7,}  {reason}", WIDTH) for reason, count in found.most_common(_REASONS))]
    rest = found.most_common()[_REASONS:]
    if rest:
        lines.append(f"  {sum(count for _, count in rest):>7,}  for {len(rest):,} other reasons")
    return lines


def _verdicts(counts: RawCounts) -> list[str]:
    """Two by two, with F1 of each class; a reflection without a verdict is a miss."""
    silent = sum(count for key, count in counts.verdicts.items() if key[1] == "none")
    given = counts.reflections - silent
    lines = [f"{counts.reflections:,} reflections, {given:,} with a verdict, {counts.valid:,} with a right one"]
    if not given:
        return lines
    lines.append(f"  {'on samples':<12}" + "".join(f"{verdict:>12}" for verdict in VERDICTS))
    for outcome in OUTCOMES:
        row = [counts.verdicts[outcome, verdict] for verdict in VERDICTS]
        if any(row) or outcome != "unknown":
            lines.append(f"  {outcome:<12}" + "".join(f"{count:>12,}" for count in row))
    lines.append(f"  {'verdict':<12}" + "".join(f"{name:>12}" for name in ("precision", "recall", "F1")))
    for verdict in VERDICTS[:2]:
        lines.append(f"  {verdict:<12}" + "".join(f"{_percent(one):>12}" for one in share(counts.verdicts, verdict)))
    return lines + _agreement_by_task(counts)


def _agreement_by_task(counts: RawCounts) -> list[str]:
    """F1 of both classes, where there are several tasks."""
    if len(counts.of_task) < 2:
        return []
    wide = WIDTH - 2 - 2 * 12
    wide = min(wide, max(len("F1 by task"), *map(len, counts.of_task)))
    lines = [f"  {'F1 by task':<{wide}}" + "".join(f"{verdict:>12}" for verdict in VERDICTS[:2])]
    for task, found in sorted(counts.of_task.items()):
        values = "".join(f"{_percent(share(found, verdict).f1):>12}" for verdict in VERDICTS[:2])
        lines.append(f"  {cut(task or '(none)', wide):<{wide}}{values}")
    return lines


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
