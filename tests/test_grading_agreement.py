"""Graders agree with judges that share nothing with them: a second countdown grader, and math-verify run plainly."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import math_verify

from generation.grading import grade
from generation.records import Question
from tests.countdown_oracle import judge, made_up
from tests.grading_tables import Row, graded, rows

ANSWERS = 10_000
PAIRS = 300


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


def test_math_agrees_with_math_verify_on_the_table() -> None:
    """Where they differ the label says that we are right, and the row is listed; where we do not know, that is all."""
    agreed, apart = 0, set()
    for row in rows("math"):
        plainly, ours = _plainly(row.gold, row.answer), graded(row, "math").outcome
        if plainly is None or ours == "unknown":
            continue
        if (ours == "right") == plainly:
            agreed += 1
        else:
            apart.add((row.gold, row.answer))
            assert ours == row.expected, (row.gold, row.answer)
    # Units, bases, letters side by side, labels, degrees, words, small numbers, points by name: the table's traps.
    unknown = {(row.gold, row.answer) for row in rows("math") if row.expected == "unknown"}
    listed = (Path(__file__).parent / "tables" / "math_verify_misread.jsonl").read_text(encoding="utf-8").splitlines()
    assert apart == {(row["gold"], row["answer"]) for row in map(json.loads, listed)} - unknown
    assert agreed > 150


_FORMS: list[tuple[str, str]] = [
    ("{a}x^2+{b}x", "x({a}x+{b})"),
    ("({a}x+{b})^2", "{a}^2x^2+2\\cdot {a}\\cdot {b}x+{b}^2"),
    (r"\frac{{{a}}}{{{b}}}", r"{a}/{b}"),
    (r"{a}\sqrt{{{b}}}", r"\sqrt{{{a}^2\cdot {b}}}"),
    (r"\left[{a},\infty\right)", r"x\ge {a}"),
    (r"\{{{a},{b}\}}", r"\{{{b},{a}\}}"),
    ("({a},{b},{c})", "({a}, {b}, {c})"),
    (r"\frac{{{a}\pi}}{{{b}}}", r"\frac{{{a}}}{{{b}}}\pi"),
    ("y={a}x+{b}", "y={b}+{a}x"),
    (r"\log_{{{b}}} {b}^{{{a}}}", "{a}"),
    (r"\begin{{pmatrix}}{a}\\{b}\end{{pmatrix}}", r"\begin{{bmatrix}}{a}\\{b}\end{{bmatrix}}"),
    (r"\binom{{{c}}}{{2}}", r"\frac{{{c}({c}-1)}}{{2}}"),
    ("{a}a-{b}b", "-{b}b+{a}a"),
    (r"e^{{{a}}}", r"e^{{{a}}}\cdot 1"),
    ("{a}.{b}", "{a}.{b}0"),
]


def test_math_agrees_with_math_verify_on_generated_pairs() -> None:
    rng = random.Random("pairs of formulas")
    outcomes: Counter[bool] = Counter()
    for number in range(PAIRS):
        gold, answer = _FORMS[number % len(_FORMS)]
        numbers = {"a": rng.randint(2, 9), "b": rng.randint(2, 9), "c": rng.randint(4, 9)}
        slip = {**numbers, rng.choice("abc"): rng.randint(2, 9)}
        gold, answer = gold.format(**numbers), answer.format(**(slip if rng.random() < 0.5 else numbers))
        plainly, ours = _plainly(gold, answer), graded(Row(gold, answer, "", ""), "math").outcome
        if plainly is None or gold.startswith(r"\left["):
            continue  # an interval for an inequality is right by us alone
        assert (ours == "right") == plainly, (gold, answer, ours)
        outcomes[plainly] += 1
    assert min(outcomes[True], outcomes[False]) > PAIRS / 5
