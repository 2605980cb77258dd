"""A grader of your own, in one file: lists of numbers, in order only where the question asks for it.

    python -m generation.run --questions examples/lists.jsonl --grader examples/my_grader.py

`grade` gets the answer that a sample gives, as text, and the facts of its question: the gold answer as "answer", and
the columns that COLUMNS names. It returns True or False, or "right", "wrong" or "unknown"; with a reason, if it likes.
"""

from __future__ import annotations

import re
from typing import Any

COLUMNS = ["ordered"]
ANSWER_TYPE = "list of numbers"  # "give your resulting list of numbers", "a correct list of numbers is 2, 3"


def grade(answer: str, facts: dict[str, Any]) -> bool | str | tuple[bool | str, str]:
    """The same numbers, in the same order where the question is "ordered"."""
    said, gold = (re.findall(r"-?\d+", text) for text in (answer, facts["answer"]))
    if not said:
        return "unknown", "no number in it"
    if sorted(said) != sorted(gold):
        return False, "other numbers"
    return said == gold or not facts["ordered"], "another order"
