"""Which questions of a plan stand for all of them: those of a probe, and those of a preview, a small run of its own."""

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from cluster.jobs.store import KEY, finished_in
from generation.plan import Plan
from generation.records import Question

_SHARDS = "shards"


def evenly(questions: Iterable[Question], seed: int) -> list[Question]:
    """Return the questions in an order of which each beginning is drawn at random, with each task its share.

    It is the same for the same questions and seed.
    """
    drawn = [*questions]
    random.Random(f"{seed}/evenly").shuffle(drawn)
    there, met = Counter(question.task for question in drawn), Counter[str]()
    places = []
    for question in drawn:
        places.append((met[question.task] + 0.5) / there[question.task])
        met[question.task] += 1
    return [drawn[place] for place in sorted(range(len(drawn)), key=places.__getitem__)]


def previewed(plan: Plan, count: int | None) -> Plan:
    """Return the plan of a preview of this many questions, in a folder beside the run's own; the same plan for None.

    Its rows are those that the run would have. A folder that holds more questions already keeps them.
    """
    if count is None:
        return plan
    out = Path(f"{plan.out}-preview")
    kept = max(count, len(finished_in(out / _SHARDS, KEY)))
    return replace(
        plan,
        name=f"{plan.name}-preview",
        configuration={**plan.configuration, "preview": True},
        earlier=None,
        out=out,
        questions=tuple(evenly(plan.questions, plan.rollout.seed)[:kept]),
        rl_questions=(),
        rollout=replace(plan.rollout, rl_samples=0),
        previewed=min(count, len(plan.questions)),
    )
