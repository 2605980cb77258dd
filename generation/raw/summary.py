"""What a RAW_DATA holds, for a person at a terminal: outcomes, why some are unknown, how true the verdicts are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from generation.raw.counts import OUTCOMES, VERDICTS, RawCounts, Tally, share

WIDTH = 80
_REASONS = 5


def summary(counts: RawCounts) -> str:
    """A few lines, none longer than WIDTH; and as many for each task, where there are several."""
    whole, tasks = counts.all(), counts.several()
    lines = [f"{whole.samples:,} samples of {len(counts.questions):,} questions"]
    lines += _outcomes(whole.variants())
    if tasks:
        lines += _outcomes({name: _by_outcome(tally) for name, tally in tasks.items()}, "by task")
    lines += _told(whole)
    if counts.lost:
        lines += _reasons(f"{counts.lost.total():,} questions failed and have no samples:", counts.lost)
    if counts.kept:
        lines += _reasons(f"{counts.kept.total():,} rows failed and stay as they were:", counts.kept)
    if counts.failed:
        lines.append(f"{counts.failed:,} requests failed; the reasons are in sample__provenance.error")
    if counts.refused:
        lines.append(f"{counts.refused:,} reflections failed; see reflections__provenance.error")
    for name, tally in tasks.items():
        lines += ["", cut(f"task {name or '(none)'}: {tally.samples:,} samples", WIDTH)]
        lines += [*_outcomes(tally.variants()), *_told(tally)]
    return "\n".join(lines)


def _outcomes(found: Mapping[str, Counter[str]], head: str = "") -> list[str]:
    """A table by name, "" for those without one."""
    wide = min(max((len(name) for name in found), default=7), WIDTH - 2 - 16 * len(OUTCOMES))
    wide = max(wide, len(head) - 2, 7)
    lines = [f"{head:<{wide + 2}}" + "".join(f"{outcome:>16}" for outcome in OUTCOMES)]
    return lines + [f"  {cut(name or '(none)', wide):<{wide}}{_shares(found[name])}" for name in found]


def _by_outcome(tally: Tally) -> Counter[str]:
    return Counter({outcome: tally.outcome(outcome) for outcome in OUTCOMES})


def _told(tally: Tally) -> list[str]:
    return [*_reasons("unknown because", tally.unknown), *_verdicts(tally)]


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


def _verdicts(tally: Tally) -> list[str]:
    """Two by two, with F1 of each class; a reflection without a verdict is a miss."""
    given = tally.reflections - tally.verdict("none")
    lines = [f"{tally.reflections:,} reflections, {given:,} with a verdict, {tally.valid:,} with a right one"]
    if not given:
        return lines
    lines.append(f"  {'on samples':<12}" + "".join(f"{verdict:>12}" for verdict in VERDICTS))
    for outcome in OUTCOMES:
        row = [tally.verdicts[outcome, verdict] for verdict in VERDICTS]
        if any(row) or outcome != "unknown":
            lines.append(f"  {outcome:<12}" + "".join(f"{count:>12,}" for count in row))
    lines.append(f"  {'verdict':<12}" + "".join(f"{name:>12}" for name in ("precision", "recall", "F1")))
    for verdict in VERDICTS[:2]:
        lines.append(f"  {verdict:<12}" + "".join(f"{_percent(one):>12}" for one in share(tally.verdicts, verdict)))
    return lines


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
