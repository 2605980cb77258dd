"""The reward of RL training in the calls that verl makes: 1.0 where our graders call the answer right, else 0.0.

The `reward.py` of every RL_DATA imports it. Needs the standard library alone, so that `pip install --no-deps` of this
project is enough in a trainer's environment; only the graders `word`, `math` and `gym` need their own packages there.
"""

import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

from generation.grading import GRADERS, grade
from generation.grading.workers import pool_size
from generation.records import Question

_IN_PROCESSES = {"math", "gym"}
"""Graders that judge in other processes."""


def truth_of(question: Question) -> str:
    """Return what a row of RL_DATA says of its question: all that judging an answer needs, as JSON."""
    truth = {"answer": question.answer, "facts": dict(question.facts), "grader": question.grader}
    return json.dumps(truth, sort_keys=True)


def compute_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: Mapping[str, Any] | None = None
) -> float:
    """Return the reward of any response, 0 or 1.

    Raises ValueError for a `ground_truth` of another dataset: training on one would learn from zeros alone.
    """
    # verl does not say how the rollout ended; that would only change the reason why an answer is missing.
    return float(grade(solution_str, _question(ground_truth), "stop").outcome == "right")


def compute_score_batch(
    data_sources: Iterable[str],
    solution_strs: Iterable[str],
    ground_truths: Iterable[str],
    extra_infos: Iterable[Mapping[str, Any]] | None = None,
) -> list[float]:
    """Return the rewards of many responses, in their order; raises as compute_score does."""
    given = list(zip(data_sources, solution_strs, ground_truths, strict=True))
    if not any(_question(truth).grader in _IN_PROCESSES for _, _, truth in given):
        return [compute_score(*one) for one in given]
    # As many at a time as there are such processes.
    with ThreadPoolExecutor(pool_size()) as threads:
        return list(threads.map(compute_score, *zip(*given, strict=True)))


# A step of GRPO asks for each question as often as it has rollouts.
@lru_cache(maxsize=4096)
def _question(truth: str) -> Question:
    try:
        said = json.loads(truth)
        question = Question("", said["answer"], "", "", said["grader"], "", said["facts"])
        # No grader can read "?", so it only looks at the question; or the first rollout would find a fact missing.
        GRADERS[question.grader]("?", question)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ValueError(f"this ground truth is not from an RL_DATA of this project: {truth!r:.80}") from error
    return question
