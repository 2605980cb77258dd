"""Tables of replies for tests of figures: written by hand, a mark a reply, or drawn from a seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from generation.evaluation.schema import REPLIES, SKILLS, VERDICTS
from generation.records import CUT, NO_ANSWER, REQUEST_FAILED, UNDECIDED

MARKS: Mapping[str, tuple[str, str]] = {
    "R": ("right", ""),
    "u": ("unknown", UNDECIDED),
    "c": ("unknown", CUT),
    "n": ("unknown", NO_ANSWER),
    "F": ("unknown", REQUEST_FAILED),
}
"""Outcome and reason of a reply; any other mark is a wrong answer, and equal marks are equal answers."""
_EMPTY: dict[str, Any] = dict.fromkeys(
    ("answer", "same_answer", "tokens", "trigger", "attempts", "reflections", *VERDICTS, *SKILLS)
)


def row(mark: str, key: str = "q", task: str = "sums", **more: Any) -> dict[str, Any]:
    """One reply; `more` are further columns."""
    outcome, reason = MARKS.get(mark, ("wrong", "differs"))
    answer = None if mark in "cnF" else mark
    told = {"question_key": key, "task": task, "arm": "", "variant": "question", "sample": 0, "outcome": outcome}
    told |= {"reason": reason, "answer_forced": False}
    return {**_EMPTY, **told, "answer": answer, **more}


def marked(marks: Mapping[str, str], task: str = "sums", **more: Any) -> list[dict[str, Any]]:
    """A reply for each mark, by question."""
    rows = []
    for key, of_question in marks.items():
        for sample, mark in enumerate(of_question):
            same = None if mark in "cnF" else of_question.index(mark)
            rows.append(row(mark, key, task, **{"sample": sample, "same_answer": same, **more}))
    return rows


def table(*parts: Sequence[Mapping[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist([one for part in parts for one in part], schema=REPLIES)


def shuffled(replies: pa.Table, seed: int) -> pa.Table:
    """The same rows in another order, in several chunks."""
    order = np.random.default_rng(seed).permutation(len(replies))
    middle = len(order) // 3
    return pa.concat_tables([replies.take(order[:middle]), replies.take(order[middle:])])


def drawn(seed: int, task: str, questions: int, samples: int, better: float = 0.0) -> list[dict[str, Any]]:
    """Replies whose questions are of different difficulty, the same for each seed."""
    rng, own = np.random.default_rng(len(task)), np.random.default_rng(seed)
    rows = []
    for place, rate in enumerate(rng.beta(1, 2, questions)):
        marks = ["R" if own.random() < rate + better else str(own.integers(1, 5)) for _ in range(samples)]
        for sample, mark in enumerate(marks):
            same, tokens = marks.index(mark), int(own.integers(10, 99))
            skills = {name: bool(own.random() < 0.3) for name in SKILLS}
            rows.append(row(mark, f"{task}{place:04}", task, sample=sample, same_answer=same, tokens=tokens, **skills))
    return rows
