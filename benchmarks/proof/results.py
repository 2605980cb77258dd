"""What a seed has shown: figures and paired differences of its evaluations, learning curves, and the thresholds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.proof.parts import AT_STEPS, AT_TOKENS, BEFORE
from benchmarks.proof.plan import ARMS, BASE, CLAIMS, NEEDED, Claim
from generation.evaluation.figures import Evaluation, figures, seed_of
from generation.evaluation.reader import read_evaluation
from generation.evaluation.statistics import Figure, Ratio, bootstrap, figures_of
from generation.evaluation.tallies import tally

FIGURES = ("pass@1", "cut", "traces", "attempts_per_trace", "incorrect_f1", "incorrect_recall", "correct_f1")
TOKENS = ("tokens_per_reply", "tokens_spent_per_right_reply")
Result = Mapping[str, Any]


def result_of(folder: Path, tasks: Mapping[str, str]) -> dict[str, Any]:
    """Return what the seed in this folder has shown so far, as JSON; `tasks` by the hash of a question's text."""
    made = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("parts/*.json"))}
    evaluations = {path.parent.name: _read(path, tasks) for path in sorted(folder.glob("evals/*/EVAL_DATA"))}
    right = {name: _right(one, tasks) for name, one in evaluations.items()}
    return {
        "questions": sha256("".join(tasks).encode()).hexdigest()[:16],
        "dates": sorted({one["date"] for one in made.values()}),
        "commits": sorted({str(one["commit"]) for one in made.values()}),
        "versions": [
            json.loads(one) for one in sorted({json.dumps(one["versions"], sort_keys=True) for one in made.values()})
        ],
        "evaluations": {name: _figures(one) for name, one in evaluations.items()},
        "right": right,
        "differences": dict(_differences(right)),
        "curves": {
            path.parent.name.split("-")[1]: [json.loads(line) for line in path.read_text().splitlines()]
            # Of an arm's two trainings the later name, the one of as many tokens as C.
            for path in sorted(folder.glob("rl-*/log.jsonl"))
        },
        "seconds": {name: one["seconds"] for name, one in made.items()},
    }


def _read(path: Path, tasks: Mapping[str, str]) -> Evaluation:
    """Return an evaluation with its questions' own tasks, and without variants, of which each arm has one."""
    found = read_evaluation(path)
    of_each = [tasks[key] for key in found.replies["question_key"].to_pylist()]
    replies = found.replies.set_column(found.replies.schema.get_field_index("task"), "task", pa.array(of_each))
    variant = pa.array([""] * len(of_each))
    replies = replies.set_column(replies.schema.get_field_index("variant"), "variant", variant)
    return found._replace(replies=replies, order=tuple(dict.fromkeys(tasks.values())))


def _figures(evaluation: Evaluation) -> dict[str, Any]:
    """Return value and limits by task and figure."""
    rows = [row for row in figures(evaluation) if not row.tasks]
    return {row.name: {name: _limits(row.figures[name]) for name in (*FIGURES, *TOKENS)} for row in rows}


def _limits(figure: Figure) -> list[float | None]:
    return [None if one is None else round(one, 4) for one in figure[:3]]


def _right(evaluation: Evaluation, tasks: Mapping[str, str]) -> dict[str, list[float | None]]:
    """Return by task the share of right replies to each question, in the order of `tasks`; None without any reply."""
    found = dict[str, list[float | None]]()
    counted = {cell.task: one for cell, one in tally(evaluation.replies).items()}
    shares = {
        task: dict(zip(one.keys.tolist(), (one.counts["right"] / one.counts["replies"]).round(4).tolist(), strict=True))
        for task, one in counted.items()
    }
    for key, task in tasks.items():
        found.setdefault(task, []).append(shares.get(task, {}).get(key))
    return found


def joined(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Return one result for each seed, of what was measured apart; of what stands in several files, the first's.

    Raises ValueError if they are of different sizes or questions.
    """
    if len({(one.get("size"), one.get("questions")) for one in results}) > 1:
        raise ValueError("the results are of different sizes or questions: each needs a table of its own")
    found = dict[int, dict[str, Any]]()
    for one in results:
        known = found.setdefault(one["seed"], {})
        for name, value in one.items():
            if isinstance(value, dict):
                known[name] = {**value, **known.get(name, {})}
            elif isinstance(value, list):
                known[name] = known.get(name, []) + [some for some in value if some not in known.get(name, [])]
            else:
                known.setdefault(name, value)
        known["differences"] = {**known["differences"], **dict(_differences(known.get("right", {})))}
    return [found[seed] for seed in sorted(found)]


def _differences(right: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the pass@1 of C less that of another arm, by task, and what RL has added to each arm."""
    pairs = [
        (f"{NEEDED}-{name} {when}", f"{NEEDED}-{AT_STEPS if when == AT_TOKENS else when}", f"{name}-{when}")
        for name in ARMS
        for when in (BEFORE, AT_STEPS, AT_TOKENS)
        if name != NEEDED
    ]
    # RL alone begins with the model itself.
    pairs += [
        (f"{name} by RL", f"{name}-{AT_STEPS}", f"{name}-{BEFORE}" if arm.assembled else BASE)
        for name, arm in ARMS.items()
    ]
    for told, one, other in pairs:
        if one in right and other in right:
            yield told, {task: _difference(right[one][task], right[other][task], task) for task in right[one]}


def _difference(one: Sequence[float | None], other: Sequence[float | None], task: str) -> list[float | None]:
    """Return the mean over questions of the one less the other, with limits as generation.evaluate's."""
    less = np.array([a - b for a, b in zip(one, other, strict=True) if a is not None and b is not None])
    drawn = bootstrap([Ratio(less, np.ones(len(less)), (-1.0, 1.0))], seed_of(0, task))
    return _limits(figures_of(drawn)[0])


def judged(claim: Claim, results: Sequence[Result], task: str, when: str = AT_STEPS) -> list[tuple[Any, bool]]:
    """Return the figure of a claim, with its limits, and whether the claim holds, for each seed that has it."""
    found = []
    for result in results:
        if claim.less:
            limits = result["differences"].get(f"{claim.arm}-{claim.less} {when}", {}).get(task)
        else:
            limits = result["evaluations"].get(f"{claim.arm}-{AT_STEPS}", {}).get(task, {}).get(claim.figure)
        if limits and limits[0] is not None:
            # Without limits nothing is known of other questions.
            above = not claim.less or (limits[1] is not None and limits[1] > 0)
            found.append((limits, limits[0] >= claim.least and above))
    return found


def all_judged(results: Sequence[Result]) -> list[tuple[Claim, str, str, list[tuple[Any, bool]]]]:
    """Return each claim with a task, when it is measured, and what each seed says of it."""
    asked = [
        (claim, task, when)
        for claim in CLAIMS
        for when in ((AT_STEPS, AT_TOKENS) if claim.less else (AT_STEPS,))
        for task in claim.tasks
    ]
    return [(claim, task, when, judged(claim, results, task, when)) for claim, task, when in asked]


def seen(results: Sequence[Result]) -> list[str]:
    """Return the names of all evaluations, base first."""
    names = {*chain.from_iterable(result["evaluations"] for result in results)}
    order = {when: place for place, when in enumerate((BEFORE, AT_STEPS, AT_TOKENS))}
    return sorted(names, key=lambda name: (name != BASE, name.partition("-")[0], order.get(name.partition("-")[2], 0)))
