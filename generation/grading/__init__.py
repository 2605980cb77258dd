"""Grades a response: finds its answer, then calls the question's grader. "unknown" is not "wrong".

`grade` is the only entry point and `GRADERS` the only list of graders of ours; neither knows how samples are made.
"""

from collections.abc import Callable, Mapping

from cluster.inference.engine import FinishReason
from generation.grading.answers import find
from generation.grading.choice import judge_choice
from generation.grading.countdown import judge_countdown
from generation.grading.errors import RefusedError
from generation.grading.gym import judge_gym
from generation.grading.mathematics import judge_math
from generation.grading.number import judge_number
from generation.grading.own import judge_own
from generation.grading.text import check_readable, judge_exact, judge_own_answer
from generation.grading.word import judge_word
from generation.records import ANSWER_IN, CUT, CUT_THOUGHT, NO_ANSWER, ONLY_THOUGHT, REQUEST_FAILED, Grade, Question

Grader = Callable[[str, Question], Grade]  # grades the text of an answer, already extracted and never empty


def _grader(judge: Callable[[str, Question], str], longest: int = 10_000) -> Grader:
    """Make a grader of `judge`, which returns what is wrong with an answer, "" for nothing, or raises RefusedError."""

    def graded(answer: str, question: Question) -> Grade:
        try:
            check_readable(answer, longest, question.answer)
            fault = judge(answer, question)
        except RefusedError as error:
            return Grade("unknown", error.reason, answer)
        return Grade("wrong", fault, answer) if fault else Grade("right", "", answer)

    return graded


GRADERS: Mapping[str, Grader] = {
    "answer": _grader(judge_own_answer),
    "choice": _grader(judge_choice, 2000),
    "countdown": _grader(judge_countdown, 1000),
    "exact": _grader(judge_exact),
    "gym": _grader(judge_gym),
    "math": _grader(judge_math),
    "number": _grader(judge_number, 2000),
    "word": _grader(judge_word, 1000),
}


def grade(response: str, question: Question, finish_reason: FinishReason, thought: str | None = None) -> Grade:
    """Grade one response; `finish_reason` and `thought`, the one before it, only say why there is no answer.

    Raises ValueError for an unknown grader.
    """
    judge = judge_own if question.program else GRADERS.get(question.grader)
    if judge is None:
        raise ValueError(f"no grader is called {question.grader!r}; the graders are {', '.join(GRADERS)}")
    if finish_reason == "error":
        return Grade("unknown", REQUEST_FAILED)
    was_cut = finish_reason == "length"
    try:
        found = find(response, question.answer_in, was_cut=was_cut)
    except RefusedError as error:
        return Grade("unknown", error.reason)
    if found is None:
        reasons = (NO_ANSWER, CUT) if thought is None or response.strip() else (ONLY_THOUGHT, CUT_THOUGHT)
        return Grade("unknown", reasons[was_cut])
    judged = judge(found.answer, question)
    return Grade(judged.outcome, judged.reason, judged.extracted, found.place)


def find_answer(response: str) -> str | None:
    """Return the stripped text of the last closed `<answer>` block; None if there is none, or if it is empty."""
    found = find(response, ANSWER_IN)
    return found.answer if found else None
