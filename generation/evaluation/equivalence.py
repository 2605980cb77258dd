"""Which replies to a question give the same answer, right or wrong, by the question's own grader."""

from collections.abc import Sequence
from dataclasses import replace

from generation.grading import GRADERS
from generation.grading.choice import named_option
from generation.grading.countdown import value_of
from generation.grading.errors import RefusedError
from generation.grading.word import word_in
from generation.records import (
    ANOTHER_UNIT,
    GOLD_UNREADABLE,
    GRADER_DIED,
    GRADER_TIMED_OUT,
    UNDECIDED,
    Grade,
    Question,
    collapse_spaces,
)

_COMPARED = frozenset({"answer", "exact", "math", "number"})
"""Graders that compare an answer with the gold one, for which any other answer can stand in."""
_READ = frozenset({UNDECIDED, ANOTHER_UNIT, GOLD_UNREADABLE})
"""Why an answer may be undecided that the grader could read; it is asked about no other undecided ones."""

_MOST_ASKED = 1000  # of one question; 34 replies that are all different take 561
_COSTLY = frozenset({GRADER_TIMED_OUT, GRADER_DIED})  # after which it is asked no more about an answer


def same_answers(question: Question, grades: Sequence[Grade]) -> list[int | None]:
    """Return for each reply the place of the first with an equivalent answer, None without an answer.

    All right answers are one class. Others are the same if their texts are, but for spaces; or by what the grader reads
    in them: the option, the word, or the value and the fault of a countdown expression; or if the grader takes one for
    right where the other is the gold answer. The grader is asked at most once for each answer and class, and no more
    than _MOST_ASKED times: among very many answers, what is equal in other words then counts apart.
    """
    right: int | None = None
    firsts = dict[tuple[str, ...], int]()  # of each class, by the text or by what is read in it
    readable = list[int]()  # the first of each class that the grader can be asked about
    found, asked = list[int | None](), 0
    for place, grade in enumerate(grades):
        if grade.extracted is None:
            found.append(None)
            continue
        if grade.outcome == "right":
            right = place if right is None else right
            found.append(right)
            continue
        names = [("text", collapse_spaces(grade.extracted)), *_read(question, grade)]
        same = next((firsts[name] for name in names if name in firsts), None)
        if same is None and _is_compared(question, grade):
            others = [(first, grades[first]) for first in readable[: max(0, _MOST_ASKED - asked)]]
            same, calls = _equal_one(question, grade, others)
            asked += calls
            if same is None:
                readable.append(place)
        same = place if same is None else same
        firsts |= {name: same for name in names if name not in firsts}
        found.append(same)
    return found


def _read(question: Question, grade: Grade) -> list[tuple[str, ...]]:
    """Return what the grader reads in an answer, in a list; an empty one if it reads nothing, or compares answers."""
    assert grade.extracted is not None
    if grade.outcome != "wrong":
        return []
    try:
        if question.grader == "choice":
            return [("option", named_option(grade.extracted, question))]
        if question.grader == "word":
            return [("word", word_in(grade.extracted))]
        if question.grader == "countdown":
            return [("value", str(value_of(grade.extracted)), grade.reason)]
    except RefusedError:
        pass  # graded by another grader, or in another version of ours
    return []


def _is_compared(question: Question, grade: Grade) -> bool:
    return question.grader in _COMPARED and (grade.outcome == "wrong" or grade.reason in _READ)


def _equal_one(question: Question, grade: Grade, others: Sequence[tuple[int, Grade]]) -> tuple[int | None, int]:
    """Return the place of the first of these whose answer, as the gold one, makes this one right; and the calls."""
    calls = 0
    assert grade.extracted is not None
    for place, other in others:
        assert other.extracted is not None
        judged = GRADERS[question.grader](grade.extracted, replace(question, answer=other.extracted))
        calls += 1
        if judged.outcome == "right":
            return place, calls
        if judged.reason in _COSTLY:
            break
    return None, calls
