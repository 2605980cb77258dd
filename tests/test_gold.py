"""A gold answer of the user's own that its own grader would not take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from generation.records import Question
from generation.tasks.custom_facts import Reading
from generation.tasks.gold import find_faults
from tests.custom_questions import load
from tests.rows import check_rows

CASES: list[tuple[Any, dict[str, Any], str]] = [
    ("number", {"answer": "rather many"}, "line 1: the gold answer 'rather many' is none for number: "),
    ("word", {"answer": "xqzt", "letters": "xqzt"}, "line 1: the gold answer 'xqzt' is none for word: "),
    ("word", {"answer": "cat", "letters": "cat", "min_length": 9}, "line 1: the gold answer 'cat' is none for word: "),
    (
        "word",
        {"answer": "cat", "letters": "cat", "min_length": "x"},
        "line 1: 'min_length' must be a whole number, not 'x'",
    ),
]


def test_a_gold_answer_that_could_never_be_given_is_told(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    for grader, row, told in CASES:
        path.write_text(json.dumps({"question": "Which?", **row}) + "\n")
        with pytest.raises(ValueError, match=r"mine\.jsonl line 1") as error:
            load(str(path), Reading(grader=grader))
        assert told in str(error.value)


def test_a_countdown_question_may_have_any_text_for_a_gold_answer(tmp_path: Path) -> None:
    def check(grader: Any) -> None:
        path = tmp_path / "mine.jsonl"
        text = "Using the numbers in the list [1, 2], create an equation that equals 3."
        path.write_text(json.dumps({"question": text, "answer": "3"}) + "\n")
        (question,) = load(str(path), Reading(grader=grader))
        assert (question.grader, question.answer) == ("countdown", "3")

    check_rows(check, [None, "countdown"])


def test_a_mathematical_gold_answer_without_a_value_is_told() -> None:
    """Nobody can match it: it does not equal itself."""

    def check(answer: str) -> None:
        question = Question("?", answer, "table", "made", "math", "answer", {})
        (fault,) = find_faults([question]).by_key.values()
        assert "does not equal itself" in str(fault)

    check_rows(check, [r"\frac{1}{0}", "1/0", r"\frac{0}{0}", r"5+\frac{1}{0}", r"\tan\frac{\pi}{2}", r"\ln 0"])


def test_a_mathematical_gold_answer_with_a_value_is_taken() -> None:
    def check(answer: str) -> None:
        assert not find_faults([Question("?", answer, "table", "made", "math", "answer", {})]).by_key

    check_rows(check, [r"\infty", "0^0", r"\frac{0}{1}", r"\frac{x}{0.5}", r"\tan\frac{\pi}{4}", r"\ln|x|+C"])
