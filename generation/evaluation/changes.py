"""What going on has changed: each reply as its limit stopped it, beside the one that was forced to go on from there."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cluster.jobs.card import Table
from generation.evaluation.averages import average, averages_over
from generation.evaluation.figures import Evaluation, in_order, seed_of
from generation.evaluation.schema import ARM, FORCED, STOPPED
from generation.evaluation.shown import lines, percent
from generation.evaluation.statistics import Draws, Figure, Ratio, bootstrap, figures_of
from generation.records import REQUEST_FAILED

TO_RIGHT, TO_WRONG = "changed to right", "changed to wrong"
ASKED = "Replies that only had to be asked for an answer are among those that changed."
CHANGES = (TO_RIGHT, TO_WRONG)
_PAIR = ("task", "variant", "question_key", "sample")


class Change(NamedTuple):
    """Shares of the replies of a task, or of an average over tasks."""

    name: str
    tasks: tuple[str, ...]  # that an average is over; empty for a task itself
    variant: str
    questions: int
    figures: Mapping[str, Figure]  # by CHANGES


def changes(evaluation: Evaluation, seed: int = 0) -> list[Change]:
    """Return the shares of replies that forcing changed to right and from right; failed requests are left out.

    Raises ValueError for an evaluation without the two arms.
    """
    replies = evaluation.replies
    there = set(replies[ARM].unique().to_pylist())
    if not there.issuperset((STOPPED, FORCED)):
        raise ValueError(f"--{ARM}: {evaluation.name} has no arms {STOPPED} and {FORCED}")
    told = replies.filter(pc.invert(pc.equal(pc.fill_null(replies["reason"], ""), REQUEST_FAILED)))
    right = pc.equal(told["outcome"], "right")
    arms = [told.select(_PAIR).append_column(arm, right).filter(pc.equal(told[ARM], arm)) for arm in (STOPPED, FORCED)]
    pairs = arms[0].join(arms[1], [*_PAIR], join_type="inner")
    before, after = pairs[STOPPED], pairs[FORCED]
    pairs = pairs.append_column(TO_RIGHT, pc.and_not(after, before)).append_column(TO_WRONG, pc.and_not(before, after))
    counts = [(TO_RIGHT, "sum"), (TO_WRONG, "sum"), ([], "count_all")]
    of_question = (
        pairs.group_by(["variant", "task", "question_key"])
        .aggregate(counts)
        .sort_by([(name, "ascending") for name in ("variant", "task", "question_key")])
    )
    found = list[Change]()
    for variant in of_question["variant"].unique().to_pylist():
        found += _of_variant(of_question.filter(pc.equal(of_question["variant"], variant)), variant, evaluation, seed)
    return found


def _of_variant(rows: pa.Table, variant: str, evaluation: Evaluation, seed: int) -> list[Change]:
    drawn, questions = dict[str, Draws](), dict[str, int]()
    for task in in_order(rows["task"].unique().to_pylist(), evaluation.order):
        of_task = rows.filter(pc.equal(rows["task"], task))
        counts = of_task["count_all"].to_numpy()
        one = np.ones(len(counts))
        shares = [Ratio(of_task[f"{name}_sum"].to_numpy() / counts, one) for name in CHANGES]
        drawn[task], questions[task] = bootstrap(shares, seed_of(seed, task)), len(counts)
    told = [Change(task, (), variant, questions[task], _figures(drawn[task])) for task in drawn]
    for name, groups in averages_over([*drawn]).items():
        tasks = tuple(task for group in groups for task in group)
        asked = sum(questions[task] for task in tasks)
        told.append(Change(name, tasks, variant, asked, _figures(average(groups, drawn))))
    return told


def _figures(drawn: Draws) -> dict[str, Figure]:
    return dict(zip(CHANGES, figures_of(drawn), strict=True))


def changes_json(found: Sequence[Change]) -> list[dict[str, Any]]:
    """Return the shares as JSON values."""
    return [
        {
            **({"average": one.name, "tasks": [*one.tasks]} if one.tasks else {"task": one.name}),
            **{"variant": one.variant, "questions": one.questions},
            "figures": {name.replace(" ", "_"): figure._asdict() for name, figure in one.figures.items()},
        }
        for one in found
    ]


def changes_text(found: Sequence[Change]) -> list[str]:
    """Return the shares as lines for a terminal of 80 columns, in percent."""
    rows = [[one.name, one.questions, *(percent(one.figures[name]) for name in CHANGES)] for one in _shown(found)]
    return [*lines(("task", "asked", *CHANGES), rows, (30, 8, 21, 21)), ASKED]


def changes_markdown(found: Sequence[Change]) -> str:
    """Return the shares as a table for a card, and what they are."""
    rows = [
        [_name(one, found), one.questions, *(percent(one.figures[name], unit="%") for name in CHANGES)]
        for one in _shown(found)
    ]
    return f"{Table(('task', 'questions', *CHANGES), rows).markdown(1)}\n{ASKED}\n"


def _shown(found: Sequence[Change]) -> list[Change]:
    return [one for one in found if len(one.tasks) != 1]


def _name(one: Change, found: Sequence[Change]) -> str:
    return f"{one.name}, {one.variant}" if len({it.variant for it in found}) > 1 else one.name
