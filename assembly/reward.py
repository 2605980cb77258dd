"""The reward for RL training, in the signatures that verl calls: 1.0 if our graders judge an answer right, else 0.0.

As in a run, only the reply is graded, not the thought before it. The `reward.py` of every RL_DATA imports it. Needs
only the standard library, so that `pip install --no-deps` of this project suffices in a trainer's environment; the
graders `word`, `math` and `gym` need their own packages there.
"""

import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

from cluster.inference.thoughts import part_unknown
from generation.grading import GRADERS, grade
from generation.grading.answers import WORDS, read_answer_in
from generation.grading.workers import pool_size
from generation.records import ANSWER_IN, Question

_IN_PROCESSES = {"math", "gym"}  # graders that use worker processes, as a search for a regular expression does


def truth_of(question: Question) -> str:
    """Return a question's ground truth in RL_DATA: everything needed to grade an answer, as JSON."""
    return json.dumps({"answer": question.answer, **question.grading}, sort_keys=True)


def compute_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: Mapping[str, Any] | None = None
) -> float:
    """Return the reward, 0 or 1. Raises ValueError for a `ground_truth` of another dataset, rather than return 0."""
    # verl does not report the finish reason; it would only change why an answer is missing.
    return float(grade(part_unknown(solution_str).reply, _question(ground_truth), "stop").outcome == "right")


def compute_score_batch(
    data_sources: Iterable[str],
    solution_strs: Iterable[str],
    ground_truths: Iterable[str],
    extra_infos: Iterable[Mapping[str, Any]] | None = None,
) -> list[float]:
    """Return the rewards of many responses, in order. Raises as compute_score does."""
    given = list(zip(data_sources, solution_strs, ground_truths, strict=True))
    if not any(_needs_processes(_question(truth)) for _, _, truth in given):
        return [compute_score(*one) for one in given]
    # As many threads as workers.
    with ThreadPoolExecutor(pool_size()) as threads:
        return list(threads.map(compute_score, *zip(*given, strict=True)))


def _needs_processes(question: Question) -> bool:
    return question.grader in _IN_PROCESSES or not WORDS.issuperset(question.answer_in)


# A GRPO step grades each question once per rollout.
@lru_cache(maxsize=4096)
def _question(truth: str) -> Question:
    try:
        said = json.loads(truth)
        places = read_answer_in(",".join(said.get("answer_in", ANSWER_IN)))
        question = Question("", said["answer"], "", "", said["grader"], "", said["facts"], places)
        # No grader can read "?", so this only checks that no fact is missing, before the first rollout would.
        GRADERS[question.grader]("?", question)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ValueError(f"this ground truth is not from an RL_DATA of this project: {truth!r:.80}") from error
    return question
