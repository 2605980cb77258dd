"""Replies with the same answer, by the graders of all kinds of questions."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generation.evaluation.equivalence import same_answers
from generation.grading import GRADERS
from generation.records import GRADER_TIMED_OUT, UNREADABLE, Grade, Question

FACTS: dict[str, dict[str, Any]] = {
    "countdown": {"numbers": [3, 5, 7], "target": 22},
    "choice": {"choices": {"A": "red", "B": "green", "C": "blue"}},
    "word": {"letters": "stare", "min_length": 4, "in_order": False},
}
GOLD = {
    "countdown": "3 * 5 + 7",
    "choice": "A",
    "word": "rates",
    "number": "12",
    "math": "12",
    "exact": "Rome",
    "answer": "12",
}


def _question(grader: str) -> Question:
    return Question("?", GOLD[grader], "table", "made", grader, "answer", FACTS.get(grader, {}))


def _same(grader: str, answers: list[str | None]) -> list[int | None]:
    question = _question(grader)
    judge = GRADERS[grader]
    grades = [Grade("unknown", "no answer") if one is None else judge(one, question) for one in answers]
    return same_answers(question, grades)


ROWS = [
    ("number", ["12", None, "13", "$12.00", "13.0", " 13 ", "14"], [0, None, 2, 0, 2, 2, 6]),
    ("number", ["1,000", "1000", "1e3", "999"], [0, 0, 0, 3]),
    ("number", ["5 km", "5 m", "5"], [0, 1, 0]),
    ("math", ["12", "1/2", "0.5", r"\frac{1}{2}", "x+1", "1+x", "x-1"], [0, 1, 1, 1, 4, 4, 6]),
    ("exact", ["rome", "Paris", "**paris**", "PARIS.", "Oslo"], [0, 1, 1, 1, 4]),
    ("answer", ["12.0", "11", "11.0", "22/2", "10"], [0, 1, 1, 1, 4]),
    ("choice", ["(a)", "B", "(b) green", "green", "C", "A"], [0, 1, 1, 1, 4, 0]),
    ("word", ["tears", "RATES", "zzzz", "Zzzz", "**zzzz**", "star"], [0, 0, 2, 2, 2, 0]),
    ("countdown", ["5*3+7", "7+3*5", "3+5", "5+3", "3+5=8", "7+1", "3*5", "7-5"], [0, 0, 2, 2, 2, 5, 6, 7]),
    ("countdown", ["(3/(5-5))", "7/(3-3)", "3 + 5", "3  + 5"], [0, 0, 2, 2]),
]


@pytest.mark.parametrize(("grader", "answers", "expected"), ROWS)
def test_which_answers_are_the_same(grader: str, answers: list[str | None], expected: list[int | None]) -> None:
    assert _same(grader, answers) == expected


def test_the_same_value_with_another_fault_is_another_answer() -> None:
    """8 by given numbers misses the target; 8 by a number that is not given breaks a rule before."""
    assert _same("countdown", ["3+5", "2*4"]) == [0, 1]


def test_what_cannot_be_read_is_the_same_by_its_text_alone() -> None:
    assert _same("number", ["about  five or six", "about five or six", "5 or 6"]) == [0, 0, 2]
    assert _same("choice", ["A or B", "A  or B", "B or A"]) == [0, 0, 2]


def test_gym_answers_are_compared_as_text() -> None:
    question = Question("?", "1 2", "gym:x", "made", "gym", "answer", {})
    grades = [Grade("wrong", "differs", text) for text in ("1 3", "1  3", "1 3.")] + [Grade("right", "", "1 2")]
    assert same_answers(question, grades) == [0, 0, 2, 3]


@given(st.sampled_from([*GOLD]), st.lists(st.one_of(st.none(), st.text(max_size=12).filter(str.strip)), max_size=8))
@settings(max_examples=150, deadline=None)
def test_places_are_those_of_first_ones_and_nothing_is_raised(grader: str, answers: list[str | None]) -> None:
    if grader == "math":
        grader = "number"  # whose answers need no process
    found = _same(grader, answers)
    for place, same in enumerate(found):
        assert (same is None) == (answers[place] is None)
        if same is not None:
            assert same <= place
            assert found[same] == same
    texts = [" ".join(one.split()) if one else one for one in answers]
    for place, same in enumerate(found):
        assert found[texts.index(texts[place])] == same


@given(st.permutations(["13", "13.0", "26/2", "14", "14.0", "-13", "1.4e1"]))
@settings(deadline=None)
def test_classes_do_not_depend_on_the_order(answers: list[str]) -> None:
    found = _same("number", list(answers))
    classes = {frozenset(answers[place] for place, one in enumerate(found) if one == first) for first in found}
    assert classes == {frozenset({"13", "13.0", "26/2"}), frozenset({"14", "14.0", "1.4e1"}), frozenset({"-13"})}


def test_a_grader_is_asked_once_for_each_answer_and_class(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def judge(answer: str, question: Question) -> Grade:
        asked.append((answer, question.answer))
        return Grade("wrong", "differs", answer)

    monkeypatch.setattr("generation.evaluation.equivalence.GRADERS", {"number": judge})
    grades = [Grade("wrong", "differs", str(place % 17)) for place in range(34)]
    assert same_answers(_question("number"), grades) == [place % 17 for place in range(34)]
    assert len(asked) == len(set(asked)) == 17 * 16 / 2


def test_an_answer_that_exhausts_the_grader_is_tried_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def judge(answer: str, question: Question) -> Grade:
        asked.append(answer)
        return Grade("unknown", GRADER_TIMED_OUT, answer)

    monkeypatch.setattr("generation.evaluation.equivalence.GRADERS", {"math": judge})
    grades = [Grade("wrong", "differs", str(place)) for place in range(34)]
    assert same_answers(_question("math"), grades) == [*range(34)]
    assert len(asked) == 33
    unread = [Grade("unknown", reason, str(place)) for place, reason in enumerate([UNREADABLE, GRADER_TIMED_OUT] * 17)]
    assert same_answers(_question("math"), unread) == [*range(34)]
    assert len(asked) == 33


def test_thirty_four_different_answers_take_a_moment() -> None:
    for grader, answers in (
        ("number", [f"{place}.5 km" for place in range(34)]),
        ("countdown", [f"3 + 5 * {place}" for place in range(34)]),
        ("exact", [f"the {place}. one" for place in range(34)]),
    ):
        began = time.process_time()
        assert _same(grader, [*answers]) == [*range(34)]
        assert time.process_time() - began < 1
