"""Graders agree with judges that share nothing with them: a second countdown grader, and math-verify run plainly."""

from __future__ import annotations

import random
from collections import Counter

import math_verify

from generation.grading import grade
from generation.records import Question
from tests.countdown_oracle import judge, made_up
from tests.grading_tables import graded, rows

ANSWERS = 10_000


def test_countdown_agrees_with_the_second_implementation() -> None:
    rng = random.Random("made-up countdown answers")
    outcomes: Counter[str] = Counter()
    apart = []
    for _ in range(ANSWERS):
        answer, numbers, target = made_up(rng)
        question = Question(
            "?", "?", "countdown", "made", "countdown", "equation", {"numbers": numbers, "target": target}
        )
        ours, theirs = grade(f"<answer>{answer}</answer>", question, "stop").outcome, judge(answer, numbers, target)
        outcomes[theirs] += 1
        if ours != theirs:
            apart.append((answer, numbers, target, ours, theirs))
    assert not apart[:10]
    assert min(outcomes[name] for name in ("right", "wrong", "unknown")) > ANSWERS / 20


def _plainly(gold: str, answer: str) -> bool | None:
    """As its manual has it; None where it has no answer in time, or reads nothing in one of the two."""
    wanted, said = math_verify.parse(f"${gold}$"), math_verify.parse(f"${answer}$")
    if not wanted or not said or any(isinstance(parsed[0], str) for parsed in (wanted, said)):
        return None
    return bool(math_verify.verify(wanted, said))


MENDED = {
    "math-verify drops the unit",
    "math-verify drops the base",
    "math-verify adds or drops what stands side by side",
    "math-verify takes variables or labels for something else",
    "an inequality and its interval",
    "degrees, roots and the imaginary unit",
    "words",
    "a time is no ratio",
}


def test_math_agrees_with_math_verify_on_the_table() -> None:
    """Where it differs, the label says that we are right, or the grader says that it does not know."""
    apart = []
    for row in rows("math"):
        plainly, ours = _plainly(row.gold, row.answer), graded(row, "math").outcome
        if plainly is None or ours == "unknown" or (ours == "right") == plainly:
            continue
        apart.append((row.gold, row.answer, ours))
        assert ours == row.expected
    assert len(apart) == 0
