"""The figures of an evaluation with intervals over questions: by task, arm and variant, and averaged over tasks."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from generation.evaluation.averages import average, averages_over
from generation.evaluation.schema import CONTROL, SKILLS, STOPPED
from generation.evaluation.schema import FORCED as FORCED_ARM
from generation.evaluation.statistics import LEVEL, RESAMPLES, Draws, Figure, bootstrap, figures_of
from generation.evaluation.tallies import (
    ATTEMPTS,
    FORCING_OF,
    MAJORITY,
    REFLECTIONS,
    RIGHT_TOKENS,
    SHARES,
    SPENT,
    TOKENS,
    TRACES,
    Cell,
    pass_name,
    ratios,
    tally,
)
from generation.records import request_seed

VERDICT_FIGURES = tuple(
    f"{verdict}_{score}" for verdict in ("correct", "incorrect") for score in ("precision", "recall", "f1")
)
NAMES = (MAJORITY, *SHARES, TOKENS, RIGHT_TOKENS, SPENT, TRACES, ATTEMPTS, REFLECTIONS, *VERDICT_FIGURES, *SKILLS)
"""The figures that every cell has, besides pass@k; some may be undefined. A forced arm has two more."""
NOTE = (
    f"Intervals of {LEVEL:.0%} are over questions: a bootstrap that draws whole questions with all their replies, and "
    f"each task by itself ({RESAMPLES:,} resamples, percentiles). They say how far other questions of the same kind "
    "could move a figure, and nothing about another training of the model. A share that is the same in every question "
    "has the exact binomial limits instead. Undecided replies count as not right."
)
COUNTS = ("questions", "replies", "failed", "unanswered")  # fields of Row
UNDEFINED = Figure(None, None, None, 0)


ARMS = ("", STOPPED, FORCED_ARM, CONTROL)
SEED = 0  # of the resamples


class Evaluation(NamedTuple):
    name: str
    model: str
    replies: pa.Table  # of schema REPLIES
    order: tuple[str, ...]  # of the tasks


class Row(NamedTuple):
    """The figures of a task, or of an average over tasks, in one arm and variant."""

    name: str
    tasks: tuple[str, ...]  # that an average is over; empty for a task itself
    cell: Cell  # task "" for an average
    questions: int  # with a reply
    replies: int
    failed: int  # requests
    unanswered: int  # questions all of whose requests failed
    samples: int  # the greatest number of replies to a question; of an average, what each of its tasks has
    figures: Mapping[str, Figure]


def figures(evaluation: Evaluation, seed: int = SEED) -> list[Row]:
    """Return a row for each task of each arm and variant, in their order, behind them the averages over these tasks."""
    counted = tally(evaluation.replies)
    rows = list[Row]()
    for arm, variant in sorted({cell[1:] for cell in counted}, key=_place):
        there = [cell.task for cell in counted if (cell.arm, cell.variant) == (arm, variant)]
        tasks = [task for task in in_order(there, evaluation.order) if len(counted[Cell(task, arm, variant)].keys)]
        of_task, drawn = dict[str, Row](), dict[str, tuple[list[str], Draws]]()
        for task in in_order(there, evaluation.order):
            one = counted[cell := Cell(task, arm, variant)]
            parts = ratios(one, arm)
            named = dict[str, Figure]()
            if parts:
                drawn[task] = [*parts], bootstrap([*parts.values()], seed_of(seed, task))
                named = dict(zip(parts, figures_of(drawn[task][1]), strict=True))
            replies = int(one.counts["replies"].sum())
            counts = (len(one.keys), replies, one.failed, one.unanswered)
            of_task[task] = Row(task, (), cell, *counts, one.samples, _whole(named, one.samples, arm))
        rows += of_task.values()
        for name, groups in averages_over(tasks).items():
            rows.append(_average(name, groups, of_task, drawn))
    return rows


def _place(block: tuple[str, str]) -> tuple[int, str, str]:
    arm, variant = block
    return (ARMS.index(arm) if arm in ARMS else len(ARMS), arm, variant)


def _average(
    name: str, groups: Sequence[Sequence[str]], rows: Mapping[str, Row], drawn: Mapping[str, tuple[list[str], Draws]]
) -> Row:
    tasks = tuple(task for group in groups for task in group)
    shared = [figure for figure in drawn[tasks[0]][0] if all(figure in drawn[task][0] for task in tasks)]
    same = {task: drawn[task][1].take([drawn[task][0].index(figure) for figure in shared]) for task in tasks}
    named = dict(zip(shared, figures_of(average(groups, same)), strict=True))
    of_tasks = [rows[task] for task in tasks]
    counts: dict[str, int] = {name: sum(getattr(row, name) for row in of_tasks) for name in COUNTS}
    cell = of_tasks[0].cell._replace(task="")
    samples = min(row.samples for row in of_tasks)
    told = _whole(named, samples, cell.arm)
    return Row(name, tasks, cell, **counts, samples=samples, figures=told)


def _whole(named: Mapping[str, Figure], samples: int, arm: str) -> dict[str, Figure]:
    """Return the figures in their order, with those that are undefined."""
    names = (*map(pass_name, range(1, samples + 1)), *NAMES, *FORCING_OF.get(arm, ()))
    return {name: named.get(name, UNDEFINED) for name in names}


def in_order(tasks: Sequence[str], order: Sequence[str]) -> list[str]:
    """Return the tasks in this order, and what it does not name behind them, sorted."""
    return [*(task for task in order if task in tasks), *sorted({*tasks} - {*order})]


def seed_of(seed: int, task: str) -> int:
    """Return the seed of a task's resamples, which do not change with the other tasks."""
    return request_seed("bootstrap", seed, task)


def figures_json(evaluation: Evaluation, rows: Sequence[Row] | None = None) -> dict[str, Any]:
    """Return all figures as JSON values: shares between 0 and 1, null where undefined; `rows` if made already."""
    rows = figures(evaluation) if rows is None else rows
    return {
        "name": evaluation.name,
        "model": evaluation.model,
        "interval": interval_json(SEED),
        "tasks": [_row_json(row) for row in rows if not row.tasks],
        "averages": [_row_json(row) for row in rows if row.tasks],
    }


def interval_json(seed: int) -> dict[str, Any]:
    return {"level": LEVEL, "method": "cluster bootstrap over questions", "resamples": RESAMPLES, "seed": seed}


def _row_json(row: Row) -> dict[str, Any]:
    named = {"average": row.name, "tasks": [*row.tasks]} if row.tasks else {"task": row.name}
    counts = {name: getattr(row, name) for name in (*COUNTS, "samples")}
    shown = {name: figure._asdict() for name, figure in row.figures.items()}
    return {**named, "arm": row.cell.arm, "variant": row.cell.variant, **counts, "figures": shown}
