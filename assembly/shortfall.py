"""What of all that was asked for did not come, and why: told from counts alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from assembly.formats import TOO_ALIKE, TOO_FEW, TOO_FEW_CORRECT, TOO_FEW_INCORRECT
from assembly.piles import MadeRows
from assembly.reasons import advice
from assembly.settings import SftSettings
from assembly.summary import AssemblySummary
from cluster.messages import counted

_HELPS = {
    TOO_FEW: "give fewer --attempts",
    TOO_FEW_CORRECT: "take other --formats, fewer --attempts, or samples of an easier task or a stronger model",
    TOO_FEW_INCORRECT: "take other --formats",
    TOO_ALIKE: "leave --unique_variants or --max_similarity out, or give fewer --attempts",
}


class NothingMadeError(ValueError):
    """The choice is one of which no trace comes; nothing was made of it and nothing replaced."""


def why_nothing(summary: AssemblySummary, settings: SftSettings) -> str:
    """Say why no question gave any trace, and what helps."""
    if summary.too_long:
        words = f"all {summary.too_long.total():,} are longer than --max_trace_tokens {settings.max_trace_tokens}"
        return f"no trace comes: {words}; the shortest has {summary.shortest:,} tokens"
    samples = f"{summary.samples:,} sample{'s' * (summary.samples != 1)}"
    if summary.left_out.total() == summary.samples:
        reasons = counted(summary.left_out)
        return f"no trace comes: of {samples} none may stand in one: {reasons}; {advice(summary.left_out, settings)}"
    why = Counter[str]()
    for (_, reason), count in summary.not_given.items():
        why[reason] = max(why[reason], count)
    told = ", ".join(f"{name}: {_reason(name, summary)}" for name in dict.fromkeys(settings.formats))
    left_out = f"; of {samples} no trace may use {counted(summary.left_out)}" if summary.left_out else ""
    helps = _HELPS[why.most_common(1)[0][0]]
    return f"no trace comes with --attempts {settings.attempts}: {told}{left_out}; {helps}"


def _reason(name: str, summary: AssemblySummary) -> str:
    """Those that kept questions from the format, the most frequent first."""
    reasons = Counter({why: count for (of, why), count in summary.not_given.items() if of == name})
    told = ", ".join(f"{why} in {count:,}" for why, count in reasons.most_common())
    return f"{told} of {summary.questions:,} questions"


def notes_on(summary: AssemblySummary, settings: SftSettings, made: Sequence[MadeRows]) -> list[str]:
    """Return notes on formats of which nothing came, and on a subsample larger than the set."""
    traces = sum(len(rows.orders) for rows in made)
    came = {format_name for rows in made for format_name, _ in rows.labels}
    notes = []
    for name in dict.fromkeys(settings.formats):
        long = sum(count for (of, _), count in summary.too_long.items() if of == name)
        if name not in came and long:
            notes.append(f"no trace of {name} is kept: all {long:,} are longer than --max_trace_tokens")
        elif name not in came:
            notes.append(f"no trace of {name}: {_reason(name, summary)}")
    if settings.subsample is not None and settings.subsample > traces:
        notes.append(f"--subsample {settings.subsample:,} is more than there are: all {traces:,} traces are kept")
    return notes
