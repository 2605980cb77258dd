"""The tables of answers labelled by hand: one file a grader, one row an answer, traps first.

A label is what a careful human would say. A row on which the grader falls short of it says so in
`shortfall`: the outcome that it gives instead, which is never "right".
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from generation.grading import grade
from generation.records import Grade, Question

_FOLDER = Path(__file__).parent / "tables"


class Row(NamedTuple):
    """One labelled answer."""

    gold: str
    answer: str
    expected: str
    why: str
    facts: dict[str, Any] = {}  # noqa: RUF012 - nobody changes it
    shortfall: str = ""


def rows(grader: str) -> list[Row]:
    """The rows of a grader's table."""
    lines = (_FOLDER / f"{grader}.jsonl").read_text(encoding="utf-8").splitlines()
    return [Row(**json.loads(line)) for line in lines]


def question(row: Row, grader: str) -> Question:
    """The question that a row answers."""
    return Question("?", row.gold, "table", "made", grader, "answer", row.facts)


def graded(row: Row, grader: str) -> Grade:
    """What the grader says of a row."""
    return grade(f"<answer>{row.answer}</answer>", question(row, grader), "stop")
