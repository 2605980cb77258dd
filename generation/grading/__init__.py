"""Judging a response: find its answer, then ask the question's grader. Not knowing is not "wrong".

`grade` is the only entrance, and `GRADERS` the only list of graders; neither knows how samples are made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from cluster.inference.engine import FinishReason
from generation.grading.answer_tag import locate_answer
from generation.grading.choice import grade_choice
from generation.grading.countdown import grade_countdown
from generation.grading.exact import grade_exact
from generation.grading.gym import grade_gym
from generation.grading.mathematics import grade_math
from generation.grading.number import grade_number
from generation.grading.own_answer import grade_own_answer
from generation.grading.word import grade_word
from generation.records import CUT, NO_ANSWER, REQUEST_FAILED, Grade, Question

__all__ = ["GRADERS", "Grader", "grade"]

Grader = Callable[[str, Question], Grade]
"""Judges the text of an answer, already found and never empty."""

GRADERS: Mapping[str, Grader] = MappingProxyType(
    {
        "answer": grade_own_answer,
        "choice": grade_choice,
        "countdown": grade_countdown,
        "exact": grade_exact,
        "gym": grade_gym,
        "math": grade_math,
        "number": grade_number,
        "word": grade_word,
    }
)


def grade(response: str, question: Question, finish_reason: FinishReason) -> Grade:
    """Judge one response; once an answer is there, it does not matter how the response ended.

    Raises ValueError when the question names a grader that does not exist.
    """
    if question.grader not in GRADERS:
        known = ", ".join(sorted(GRADERS))
        raise ValueError(f"no grader is called {question.grader!r}; the graders are {known}")
    if finish_reason == "error":
        return Grade("unknown", REQUEST_FAILED)
    found = locate_answer(response)
    if found is None:
        return Grade("unknown", CUT if finish_reason == "length" else NO_ANSWER)
    judged = GRADERS[question.grader](found.text, question)
    return Grade(judged.outcome, judged.reason, judged.extracted, found.place)
