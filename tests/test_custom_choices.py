"""The gold answer of a question with choices: a letter, a label, a text, a place; one line where it is two of these."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from generation.tasks.custom_facts import Reading
from tests.custom_questions import load
from tests.rows import check_rows
from tests.test_custom_questions import lines, parquet, told_about

TWO = "give the letter"


def gold(tmp_path: Path, choices: Any, answer: Any) -> str:
    (tmp_path / "mine.jsonl").write_bytes(lines({"question": "Which?", "choices": choices, "answer": answer}))
    (question,) = load(str(tmp_path / "mine.jsonl"), Reading(grader="choice"))
    return question.answer


def test_an_answer_that_may_be_two_options_or_none_is_refused(tmp_path: Path) -> None:
    def check(choices: Any, answer: Any, told: str) -> None:
        with pytest.raises(ValueError, match=r"mine\.jsonl line 1: ") as error:
            gold(tmp_path, choices, answer)
        assert told in str(error.value)
        assert "\n" not in str(error.value)

    check_rows(
        check,
        [
            (
                [2, 3, 4, 5],
                3,
                "line 1: the answer '3' is option B by its text and D by its place counted from 0: " + TWO,
            ),
            ([2, 3, 4, 5], "3", "is option B by its text and D by its place counted from 0: " + TWO),
            ([10, 0, 1], 1, "is option C by its text and B by its place counted from 0: " + TWO),
            (["1", "0"], 0, "is option B by its text and A by its place counted from 0: " + TWO),
            (
                [2, 3, 4, 5],
                3.0,
                "line 1: the answer '3.0' is option B by its text and D by its place counted from 0: " + TWO,
            ),
            (["B", "A"], "A", "is option A as a letter and B by its text: " + TWO),
            (["x", "a"], "a", "is option A as a letter and B by its text: " + TWO),
            (["sun", "moon"], "stars", "the answer 'stars' is none of the choices A, B"),
            (["sun", "moon"], -1, "the answer '-1' is none of the choices A, B"),
            (["sun", "moon"], 3, "the answer '3' is none of the choices A, B"),
            (
                ["sun", "moon"],
                2,
                "is none of the choices A, B; a place is counted from 0, and these seem to be counted from 1",
            ),
            ([5, 6], 2, "the answer '2' is none of the choices A, B"),
        ],
    )


def test_an_answer_that_is_one_option_is_taken(tmp_path: Path) -> None:
    def check(choices: Any, answer: Any, letter: str, why: str) -> None:
        assert gold(tmp_path, choices, answer) == letter, why

    check_rows(
        check,
        [
            ([0, 1, 2], 1, "B", "place and text agree"),
            (["sun", "moon"], 1, "B", "a place alone"),
            (["sun", "moon"], "1", "B", "likewise as text"),
            (["sun", "moon"], 1.0, "B", "likewise in a column of floats"),
            (["sun", "moon"], "0", "A", "the first"),
            ([12, 15, 27], 15, "B", "a text alone"),
            ([12, 15, 27], "15", "B", "likewise as text"),
            ([5, 6, 1], 2, "C", "a place alone, among numbers"),
            (["a", "b"], "b", "B", "letter and text agree"),
            (["sun", "moon"], "b", "B", "a letter in lower case"),
            ({"label": ["1", "2", "3"], "text": ["sun", "moon", "stars"]}, "2", "B", "a label is no place"),
            ({"label": ["1", "2", "3"], "text": ["2", "3", "4"]}, 2, "B", "nor a text"),
            ({"label": [1, 2, 3], "text": ["2", "3", "4"]}, 2.0, "B", "a label in a column of floats"),
            ({"A": "sun", "B": "moon"}, "B", "B", "a label that is a letter"),
        ],
    )


def test_a_column_of_parquet(tmp_path: Path) -> None:
    path = tmp_path / "mine.parquet"
    columns: dict[str, Sequence[Any]] = {
        "question": ["a?", "b?"],
        "choices": [["sun", "moon"], ["2", "4"]],
        "answer": [1, 0],
    }
    path.write_bytes(parquet(columns))
    assert [q.answer for q in load(str(path), Reading(grader="choice"))] == ["B", "A"]
    path.write_bytes(parquet({**columns, "choices": [["sun", "moon"], ["2", "0"]]}))
    with pytest.raises(ValueError, match=r"row 2: the answer '0' is option B by its text and A by its place"):
        load(str(path), Reading(grader="choice"))


def test_nothing_is_left_out_of_a_file(tmp_path: Path) -> None:
    """Its rows are the user's to mend, so each fault is told."""
    rows = [{"question": f"{n}?", "answer": "1"} for n in range(3)]
    for bad in ({"question": "4?", "answer": None}, {"question": "0?", "answer": "1"}, {"question": "", "answer": "1"}):
        path = tmp_path / "mine.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, bad]))
        assert "line 4" in told_about(str(path))
