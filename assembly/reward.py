"""The reward for RL training, as each trainer calls it: 1.0 if our graders judge an answer right, else 0.0.

As in a run, only the reply is graded, not the thought before it. The `reward.py` of every RL_DATA imports it. Needs
only the standard library, so that `pip install --no-deps` of this project suffices in a trainer's environment; the
graders `word`, `math`, `gym` and the user's own need their packages there. A `reward.py` carries the text of the last.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from typing import Any

from cluster.inference.thoughts import part_unknown
from generation.grading import GRADERS, grade
from generation.grading.answers import WORDS, read_answer_in
from generation.grading.workers import pool_size
from generation.records import ANSWER_IN, Question, hash_of_program

Completion = str | Sequence[Mapping[str, Any]]
_TAIL = 200  # characters of a prompt that its query surely holds
_ENDS = re.compile(r"(?:\s|<\|[^<>|]*\|>|<｜[^<>｜]*｜>|</s>|<eos>|<end_of_turn>)+\Z")
_IN_PROCESSES = {"math", "gym"}  # graders that use worker processes, as a search for a regular expression does


_carried: dict[str, str] = {}
"""The texts of the user's own graders by their hashes, as every reward.py that was loaded here carries them."""


def carry(*sources: str) -> None:
    """Grade by these programs where a ground truth names their hash; nothing else is ever executed."""
    _carried.update({hash_of_program(source): source for source in sources})


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


def reward(completions: Sequence[Completion], **columns: Any) -> list[float]:
    """Return the rewards as TRL and ms-swift ask for them: completions as texts or turns, columns as lists.

    The truths are in column `ground_truth`, or in `reward_model` as verl has it. Raises as compute_score does.
    """
    truths = columns.get("ground_truth") or [_truth_in(one) for one in columns.get("reward_model") or ()]
    texts = [one if isinstance(one, str) else str(one[-1]["content"]) for one in completions]
    if len(truths) != len(texts):
        raise ValueError(f"{len(texts)} completions and {len(truths)} truths: the rows need a column ground_truth")
    return compute_score_batch([""] * len(texts), texts, truths)


def replies_of(queries: Sequence[str], prompts: Sequence[str]) -> list[str]:
    """Return what was written after each prompt, without the tokens that end it; OpenRLHF gives both as one text.

    Raises ValueError for a text that does not begin with its prompt.
    """
    replies = []
    for query, prompt in zip(queries, prompts, strict=True):
        # A prompt that is too long has lost its beginning.
        _, found, reply = query.partition(prompt) if prompt in query else query.rpartition(prompt[-_TAIL:])
        if not found:
            raise ValueError(f"this query does not begin with its prompt: {query!r:.80}")
        replies.append(_ENDS.sub("", reply))
    return replies


def _truth_in(label: str | Mapping[str, Any]) -> str:
    """Return the truth of a label, which may be verl's whole `reward_model`."""
    return label if isinstance(label, str) else str(label["ground_truth"])


async def score(args: object, sample: Any, **_: Any) -> float | list[float]:
    """Return the reward of a sample of slime's, or of a list; its label is the truth, or verl's `reward_model`."""
    some = sample if isinstance(sample, list) else [sample]
    found = reward([one.response for one in some], ground_truth=[_truth_in(one.label) for one in some])
    return found if isinstance(sample, list) else found[0]


def _needs_processes(question: Question) -> bool:
    return bool(question.program) or question.grader in _IN_PROCESSES or not WORDS.issuperset(question.answer_in)


# A GRPO step grades each question once per rollout.
@lru_cache(maxsize=4096)
def _question(truth: str) -> Question:
    try:
        said = json.loads(truth)
        places = read_answer_in(",".join(said.get("answer_in", ANSWER_IN)))
        question = Question("", said["answer"], "", "", said["grader"], "", said["facts"], places)
        if (program := said.get("grader_sha256")) is None:
            # No grader can read "?", so this only checks that no fact is missing, before the first rollout would.
            GRADERS[question.grader]("?", question)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ValueError(f"this ground truth is not from an RL_DATA of this project: {truth!r:.80}") from error
    if program is None:
        return question
    if program not in _carried:
        told = f"this ground truth is graded by {question.grader} (SHA-256 {program:.12}…)"
        raise ValueError(f"{told}: load the reward.py of its own RL_DATA, which carries that")
    return replace(question, program=_carried[program])
