"""The results of several seeds as Markdown, and the learning curves as a picture.

python -m benchmarks.proof.table RESULT.json … [--figure FILE.svg]
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.proof.parts import AT_STEPS, AT_TOKENS
from benchmarks.proof.plan import ARMS, BASE
from benchmarks.proof.results import TOKENS, Result, all_judged, joined, seen
from cluster.jobs.card import Table

_HEADS = {
    "pass@1": "right",
    "traces": "a trace",
    "attempts_per_trace": "attempts",
    "incorrect_f1": "F1 Incorrect",
    "false_acceptances": "wrong, not rejected",
    "cut": "cut",
    "tokens_per_reply": "tokens",
    "tokens_spent_per_right_reply": "tokens a right reply",
}
_WHEN = {"": "", "sft": "before RL", "steps": "after RL", AT_TOKENS: "after RL of as many tokens as C"}
_COLOURS = {
    "A": "#D55E00",
    "B": "#E69F00",
    "C": "#0072B2",
    "D": "#009E73",
    "E": "#CC79A7",
    "F": "#000000",
    "G": "#56B4E9",
}
_SMOOTH = 9  # steps of a moving mean


def markdown(results: Sequence[Result]) -> str:
    """Return thresholds and figures, a table for each task."""
    tasks = list(dict.fromkeys(task for one in results for figures in one["evaluations"].values() for task in figures))
    parts = [thresholds(results)]
    for task in tasks:
        rows = [_row(name, task, results) for name in seen(results)]
        parts.append(f"`{task}`\n\n" + Table(("arm", *_HEADS.values()), rows).markdown())
    return "\n\n".join([*parts, differences(results, tasks)])


def differences(results: Sequence[Result], tasks: Sequence[str]) -> str:
    """Return all paired differences of pass@1, in points."""
    names = list(dict.fromkeys(name for one in results for name in one["differences"]))
    rows = [(name, *(_difference(name, task, results) for task in tasks)) for name in names]
    return Table(("paired difference, points [95%]", *(f"`{task}`" for task in tasks)), rows).markdown()


def _difference(name: str, task: str, results: Sequence[Result]) -> str:
    found = [one["differences"].get(name, {}).get(task) for one in results]
    return "; ".join(_number(limits, True) if limits else "–" for limits in found)


def thresholds(results: Sequence[Result]) -> str:
    """Return each claim with what the seeds say of it."""
    rows = []
    for claim, task, when, found in all_judged(results):
        points = [f"{_number(limits, claim.less != '')} {'holds' if holds else 'FAILS'}" for limits, holds in found]
        at = f"{claim.what}{', at the same tokens' if when == AT_TOKENS else ''}"
        rows.append((at, f"`{task}`", "; ".join(points) or "not measured"))
    return Table(("threshold", "task", "each seed, 95% interval"), rows).markdown()


def _number(limits: Sequence[float | None], signed: bool) -> str:
    told = [("?" if one is None else f"{100 * one:{'+' if signed else ''}.1f}") for one in limits]
    return f"{told[0]} [{told[1]}, {told[2]}]"


def _row(name: str, task: str, results: Sequence[Result]) -> list[str]:
    arm, _, when = name.partition("-")
    what = "the built-in model" if arm == BASE else f"{arm}: {ARMS[arm].what}"
    return [f"{what}{', ' if when else ''}{_WHEN[when]}", *(_cell(figure, name, task, results) for figure in _HEADS)]


def _cell(figure: str, name: str, task: str, results: Sequence[Result]) -> str:
    """Return the figure of each seed; of one alone with its limits."""
    taken = "incorrect_recall" if figure == "false_acceptances" else figure
    found = [one["evaluations"].get(name, {}).get(task, {}).get(taken) for one in results]
    known = [limits if limits and limits[0] is not None else None for limits in found]
    if not any(known):
        return ""
    if len(known) == 1 and figure == "pass@1" and known[0]:
        return _number(known[0], False)
    return ", ".join(_told(figure, limits[0]) if limits else "–" for limits in known)


def _told(figure: str, value: float) -> str:
    if figure in TOKENS or figure == "attempts_per_trace":
        return f"{value:,.{0 if figure in TOKENS else 1}f}"
    return f"{100 * (1 - value if figure == 'false_acceptances' else value):.1f}"


def draw(results: Sequence[Result], path: Path) -> None:
    """Draw each arm's reward over RL, by steps and by sampled tokens, a line for each seed; and fresh questions."""
    from matplotlib.figure import Figure

    picture = Figure(figsize=(11, 3.4), layout="constrained")
    by_step, by_tokens, fresh = picture.subplots(1, 3, sharey=True)
    labelled = set[str]()
    for result in results:
        for name, curve in sorted(result["curves"].items()):
            label = None if name in labelled else f"{name}: {ARMS[name].what}"
            labelled.add(name)
            reward = smooth([step["reward"] for step in curve])
            style = {"color": _COLOURS[name], "linewidth": 1.4, "label": label}
            by_step.plot([step["step"] for step in curve], reward, **style)
            by_tokens.plot([step["sampled"] / 1e6 for step in curve], reward, **style)
    by_step.set_xlabel("steps of RL, 128 samples each")
    by_tokens.set_xlabel("million tokens sampled")
    by_step.set_ylabel("right")
    by_step.set_title("questions of RL", loc="left", fontsize=10)
    _draw_fresh(results, fresh)
    steps = [curve[-1]["step"] for result in results for name, curve in result["curves"].items() if name == "C"]
    if steps:
        by_step.set_xlim(0, max(steps))
    for axes in (by_step, by_tokens, fresh):
        axes.set_ylim(-0.03, 1.03)
        axes.grid(alpha=0.3)
    picture.legend(*by_step.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=160)


def _draw_fresh(results: Sequence[Result], axes: Any) -> None:
    """Draw what is right after RL of each task's fresh questions, and of what the model had right before."""
    tasks = list(results[0]["evaluations"].get(BASE, {}))
    arms = [name for name in ARMS if any(f"{name}-{AT_STEPS}" in one["evaluations"] for one in results)]
    for place, task in enumerate(tasks):
        for number, name in enumerate(arms):
            for seed, one in enumerate(results):
                if limits := one["evaluations"].get(f"{name}-{AT_STEPS}", {}).get(task, {}).get("pass@1"):
                    value, *ends = limits
                    at = place + (number + (seed + 0.5) / len(results) + 0.25) / (len(arms) + 0.5) - 0.5
                    away = [[abs(value - (value if end is None else end))] for end in ends]
                    axes.errorbar([at], [value], away, color=_COLOURS[name], marker="o", markersize=4, capsize=2)
        before = [one["evaluations"][BASE][task]["pass@1"][0] for one in results if BASE in one["evaluations"]]
        axes.hlines(statistics.fmean(before), place - 0.4, place + 0.4, color="grey", linestyle="--", linewidth=1)
    axes.set_xticks(range(len(tasks)), [task.removeprefix("countdown_") for task in tasks])
    axes.set_title("fresh questions after RL (dashed: untrained)", loc="left", fontsize=10)


def smooth(values: Sequence[float]) -> list[float]:
    """Return the mean of the values around each."""
    half = _SMOOTH // 2
    return [statistics.fmean(values[max(0, place - half) : place + half + 1]) for place in range(len(values))]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", type=Path)
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args(argv)
    try:
        results = joined([json.loads(path.read_text(encoding="utf-8")) for path in given.results])
    except ValueError as error:
        parser.error(str(error))
    print(markdown(results))
    if given.figure:
        draw(results, given.figure)


if __name__ == "__main__":
    main()
