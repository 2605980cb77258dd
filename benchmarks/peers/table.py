"""Medians of what was measured, and ratios to a plain script, as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.peers.contenders import CONTENDERS, SCRIPT, SCRIPT_OURS
from cluster.jobs.card import Table

Round = Mapping[str, Mapping[str, Any]]  # what is known of each contender in one round

_HEAD = (
    *("contender", "rounds", "generation, tokens/s", "of the script", "of the script, our settings"),
    *("whole, tokens/s", "of the script", "whole, s", "first token, s", "memory, MiB", "processor, s", "others, s"),
)


def median(rounds: Sequence[Round], name: str, figure: str) -> float | None:
    """Return the median of a figure over the rounds that a contender finished, None without any."""
    found = [one[name][figure] for one in rounds if name in one and one[name].get(figure) is not None]
    return statistics.median(found) if found else None


def ratio(rounds: Sequence[Round], name: str, other: str, figure: str) -> float | None:
    """Return the median of the ratios within a round, since the machine is another one in each."""
    both = [(one.get(name, {}).get(figure), one.get(other, {}).get(figure)) for one in rounds]
    ratios = [first / second for first, second in both if first and second]
    return statistics.median(ratios) if ratios else None


def markdown(rounds: Sequence[Round]) -> str:
    """Return the table, what failed, and where the processor's time went."""
    names = [name for name in CONTENDERS if any(name in one for one in rounds)]
    rows = [_row(rounds, name) for name in names if median(rounds, name, "rate") is not None]
    parts = [Table(_HEAD, rows).markdown() if rows else "Nobody finished."]
    failures = [
        f"- {CONTENDERS[name].what}, round {number}: {one[name]['failure']}"
        for number, one in enumerate(rounds, 1)
        for name in names
        if name in one and one[name]["failure"]
    ]
    return "\n\n".join([*parts, _processor(rounds, names), "\n".join(failures)]).strip()


def _row(rounds: Sequence[Round], name: str) -> list[str]:
    def told(value: float | None, digits: int = 0) -> str:
        return "" if value is None else f"{value:,.{digits}f}"

    rates = [one[name]["rate"] for one in rounds if name in one and one[name].get("rate")]
    spread = f" ({min(rates):,.0f} to {max(rates):,.0f})" if len(rates) > 1 else ""
    return [
        CONTENDERS[name].what,
        f"{len(rates)} of {sum(name in one for one in rounds)}",
        told(median(rounds, name, "rate")) + spread,
        told(ratio(rounds, name, SCRIPT, "rate"), 2),
        told(ratio(rounds, name, SCRIPT_OURS, "rate"), 2),
        told(median(rounds, name, "whole_rate")),
        told(ratio(rounds, name, SCRIPT, "whole_rate"), 2),
        *(told(median(rounds, name, figure), digits) for figure, digits in (("seconds", 0), ("first_token", 1))),
        told(median(rounds, name, "memory_mib")),
        told(median(rounds, name, "processor")),
        told(median(rounds, name, "others")),
    ]


def _processor(rounds: Sequence[Round], names: Sequence[str]) -> str:
    """Return the processor seconds of the generation part by kind of process, medians."""
    spent = [
        {name: {**one[name]["generation_spent"], "rate": one[name].get("rate")} for name in names if name in one}
        for one in rounds
    ]
    kinds = sorted({kind for one in spent for told in one.values() for kind in told} - {"rate"})
    rows = []
    for name in names:
        medians = [median(spent, name, kind) for kind in kinds]
        if median(spent, name, "rate") is not None:
            rows.append([CONTENDERS[name].what, *("" if one is None else f"{one:,.1f}" for one in medians)])
    return Table(("generation, processor seconds", *kinds), rows).markdown() if rows else ""
