"""Whether a user's own gold answer is one by its own grader: else no answer to that question could be right."""

from __future__ import annotations

from generation.grading import GRADERS
from generation.records import Question

_LOOKED_AT = frozenset({"choice", "exact", "number", "word"})
"""Fast ones; a countdown question may have any text for a gold answer, as published ones do."""


def check_gold(place: str, question: Question) -> None:
    """Raise ValueError, beginning with the place, when the gold answer is not right or cannot be judged."""
    if question.grader not in _LOOKED_AT:
        return
    try:
        graded = GRADERS[question.grader](question.answer, question)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{place}: the grader {question.grader} lacks a fact, or cannot read it: {error!r}") from error
    if graded.outcome != "right":
        told = graded.reason or graded.outcome
        raise ValueError(f"{place}: the gold answer {question.answer[:60]!r} is none for {question.grader}: {told}")
