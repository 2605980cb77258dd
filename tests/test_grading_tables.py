"""Every grader says of every labelled answer what a careful human says of it."""

from __future__ import annotations

from collections import Counter

import pytest

from generation.grading import GRADERS, mathematics
from generation.grading.workers import close_pools
from tests import test_grading_countdown, test_grading_countdown_steps, test_grading_own_answer
from tests.grading_tables import Row, graded, rows

LEAST = {"choice": 60, "exact": 60, "math": 150, "number": 60, "word": 60}


@pytest.mark.parametrize(("grader", "row"), [(grader, row) for grader in LEAST for row in rows(grader)])
def test_a_labelled_answer(grader: str, row: Row) -> None:
    result = graded(row, grader)
    assert result.outcome == (row.shortfall or row.expected), (row.why, result.reason)
    assert (result.reason == "") == (result.outcome == "right")
    assert result.extracted is None or result.extracted == row.answer.strip()


@pytest.mark.parametrize("grader", LEAST)
def test_a_table_is_long_enough_and_traps_come_first(grader: str) -> None:
    table = rows(grader)
    assert len({(row.gold, row.answer, str(row.facts)) for row in table}) == len(table) >= LEAST[grader]
    outcomes = Counter(row.expected for row in table)
    assert set(outcomes) == {"right", "wrong", "unknown"}
    assert all(row.why for row in table)
    half = len(table) // 2
    assert sum(row.expected != "right" for row in table[:half]) > sum(row.expected != "right" for row in table[half:])


@pytest.mark.parametrize("grader", LEAST)
def test_falling_short_of_a_label_never_means_a_wrong_answer_is_right(grader: str) -> None:
    short = [row for row in rows(grader) if row.shortfall]
    assert all(row.shortfall not in ("right", row.expected) for row in short)
    assert len(short) <= 3


def test_countdown_and_answer_have_their_tables_in_modules_of_their_own() -> None:
    one = test_grading_countdown
    marks = [*one.test_other_questions.pytestmark, *test_grading_countdown_steps.test_steps.pytestmark]  # type: ignore[attr-defined]
    countdown = len(one.TRAPS) + len(one.TYPINGS) + sum(len(mark.args[1]) for mark in marks)
    assert countdown >= 150
    own = [*test_grading_own_answer.test_wrong.pytestmark, *test_grading_own_answer.test_right.pytestmark]  # type: ignore[attr-defined]
    assert sum(len(mark.args[1]) for mark in own) >= 60
    # What `gym` says is reasoning-gym's own score, which tests/test_gym.py compares it with.
    assert set(GRADERS) == {*LEAST, "countdown", "answer", "gym"}


def test_math_grades_the_same_by_another_worker() -> None:
    table = [row for row in rows("math") if row.expected != "unknown"][::12]
    first = [graded(row, "math") for row in table]
    close_pools()
    mathematics.compare.cache_clear()
    assert [graded(row, "math") for row in table] == first
