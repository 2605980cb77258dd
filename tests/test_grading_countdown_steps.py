"""Countdown answers in steps, labelled by hand: traps first, a reason beside each."""

from __future__ import annotations

import pytest

from generation.grading import grade
from generation.records import OUT_OF_BOUNDS, UNREADABLE, Question

RIGHT = ""

# The question is [3, 7, 4, 10] -> 25 throughout.
STEPS = [
    ("3*7 = 21\n21 + 5 = 26", "uses 5, not given", "a later step is held to the numbers too"),
    ("3*7 = 22\n22 + 3 = 25", "false equality: 21 = 22", "a false step that leads to the target"),
    ("3*7 = 21\n21 + 4 = 26", "false equality: 25 = 26", "a false last step"),
    ("3*7 = 21\n21 - 4 = 17", "misses the target: 17", "true steps, elsewhere"),
    ("3*7 + 4 = 25\n25 - 10 = 15", "misses the target: 15", "the target was passed on the way"),
    ("3*7 = 21\n21 + 3 = 24\n24 + 1 = 25", "uses 3 twice", "a number used in two steps"),
    ("7 - 3 = 4\n4 + 4 + 4 = 12", "uses 4 3 times", "given once and made once: used three times"),
    ("3+7 = 10\n10 + 10 + 10 - 5 = 25", "uses 10 3 times", "likewise"),
    ("3*7 = 21\n21 + 21 - 17 = 25", "uses 21 twice", "a result is there once"),
    ("21 + 4 = 25\n3*7 = 21", "uses 21, not given", "a result used before it is made"),
    ("21 + 4 = 25", "uses 21, not given", "the last step alone"),
    ("3*7 = 21\n4 = 25", "false equality: 4 = 25", "a number alone, falsely equal"),
    ("3*7 = 21\n3-3 = 0\n21/0 = 0", "divides by zero", "in a later step"),
    (
        "3 - 3*1 = 0\n7/0 = 25 and some",
        UNREADABLE,
        "unreadable in part is unreadable, whatever else is wrong",
    ),
    ("3*7 = 21\n25", UNREADABLE, "a number that follows from nothing"),
    ("25\n3*7 + 4", UNREADABLE, "a number, then an expression"),
    ("10, 25", UNREADABLE, "two guesses, the second of them the target"),
    ("3*7 = 21\nso add four", UNREADABLE, "words between steps"),
    ("3*7 = 21 -> 21 + 4 = 25", UNREADABLE, "an arrow is not a separator we know"),
    ("3*7=21,21+4=25", UNREADABLE, "a comma inside digits is not guessed at"),
    ("\n".join(["3*7 = 21"] * 17), OUT_OF_BOUNDS, "17 steps"),
    ("3+4 = 7; 7*10 = 70; 7 - 3 = 4", "uses 3 twice", "the 3 went into the first step"),
    ("3*7 = 21\n21 + 4 = 25", RIGHT, "on lines"),
    ("Step 1: 3 * 7 = 21\nStep 2: 21 + 4 = 25", RIGHT, "labelled"),
    ("**Step 1:** 3 × 7 = 21\n**Step 2:** 21 + 4 = 25", RIGHT, "labelled in bold"),
    ("Step 1:\n3*7 = 21\nStep 2:\n21+4 = 25", RIGHT, "labels on lines of their own"),
    ("step 1) 3*7=21; step 2) 21+4=25.", RIGHT, "other marks"),
    ("Step 1: 3*7 = 21, Step 2: 21+4 = 25", RIGHT, "between commas"),
    ("Steps: 3*7 = 21, 21+4 = 25", RIGHT, "one label for all"),
    ("3*7 = 21; 21 + 4 = 25", RIGHT, "between semicolons"),
    ("3*7 = 21, then 21 + 4 = 25", RIGHT, "between words"),
    ("3*7 = 21 and 21 + 4 = 25", RIGHT, "between words"),
    ("1. 3*7 = 21\n2. 21 + 4 = 25", RIGHT, "numbered"),
    ("1) 3*7 = 21\n2) 21 + 4 = 25", RIGHT, "numbered"),
    ("1: 3*7 = 21\n2: 21 + 4 = 25", RIGHT, "numbered with the sign of division"),
    ("- 3*7 = 21\n- 21 + 4 = 25", RIGHT, "a list, not minus signs"),
    ("* 3*7 = 21\n* 21 + 4 = 25", RIGHT, "a list"),
    ("• 3*7 = 21\n• 21 + 4 = 25", RIGHT, "a list"),
    (r"$3 \times 7 = 21$, $21 + 4 = 25$", RIGHT, "LaTeX, each in dollars"),
    (r"3 \times 7 = 21 \\ 21 + 4 = 25", RIGHT, "LaTeX line breaks"),
    (r"\boxed{3*7 = 21; 21+4 = 25}", RIGHT, "all in one box"),
    ("```\n3*7 = 21\n\n21+4 = 25\n```", RIGHT, "fenced, a blank line between"),
    ("3*7 = 21\n21 + 4", RIGHT, "the last step without its result"),
    ("3*7\n21 + 4 = 25", RIGHT, "a step without its result: what it makes is plain"),
    ("21 = 3*7\n25 = 21 + 4", RIGHT, "results ahead"),
    ("3*7 = 21\n4 + 21 = 25\n25", RIGHT, "the result once more"),
    ("3*7 = 21\n4 + 21 = 25\nAnswer: 25", RIGHT, "the result once more, labelled"),
    ("3*7 = 21\n21 + 4 = 25\n(3*7) + 4 = 25", RIGHT, "written out as one at the end, valid alone"),
    ("10 - 7 = 3\n3*7+4 = 25", RIGHT, "a detour, then an expression that is valid alone"),
    ("3*7 = 21\n21 + 4 = 25\n21 + 10 - 6 = 25", "uses 21 twice", "the last is not valid alone"),
    ("4 - 7 = -3\n-3 + 28 = 25", "uses 28, not given", "a negative result as an operand is found"),
    ("3 - 10 = -7\n4*7 + -7 = 21", "misses the target: 21", "the made -7 and the given 7 are two operands"),
    ("3 - 10 = -7\n-7 * 4 = -28", "misses the target: -28", "a line may open with a negative result"),
    ("7/4 = 1.75\n1.75 * 10 = 17.5\n17.5 - 3 = 14.5", "misses the target: 29/2", "exact decimals"),
    ("7/4 = 7/4\n7/4 * 10 = 35/2\n35/2 - 3 = 29/2", "misses the target: 29/2", "made fractions as operands"),
    ("10/4 = 2.5\n2.5*7 = 17.5\n17.5+3 = 20.5", "misses the target: 41/2", "four numbers, three steps"),
    ("7 - 4 = 3\n3*3 = 9\n9 + 10 = 19", "misses the target: 19", "a made 3 beside the given 3"),
]


@pytest.mark.parametrize(("answer", "reason", "why"), STEPS)
def test_steps(answer: str, reason: str, why: str) -> None:
    facts = {"numbers": [3, 7, 4, 10], "target": 25}
    question = Question("?", "?", "countdown", "made", "countdown", "equation", facts)
    result = grade(f"<answer>{answer}</answer>", question, "stop")
    assert result.reason == reason, why
    unknown = reason in (UNREADABLE, OUT_OF_BOUNDS)
    assert result.outcome == ("unknown" if unknown else "wrong" if reason else "right")


@pytest.mark.parametrize(
    ("numbers", "target", "answer", "reason"),
    [
        ([3, 3, 8, 8], 24, "8/3 = 8/3, 3 - 8/3 = 1/3, 8/(1/3) = 24", RIGHT),
        ([3, 3, 8, 8], 24, "8/3 = 2.67\n3 - 2.67 = 0.33\n8/0.33 = 24", "false equality: 8/3 = 267/100"),
        ([2, 6, 6, 50], 53, "6 - 4 = 2", "uses 4, not given"),
        ([3, 10, 17], 10, "3 - 10 = -7\n-7 + 17 = 10", RIGHT),
        ([3, 10, 17], 10, "3 - 10 = -7\n17 - 7 = 10", "uses 7, not given"),
        ([6, 2, 5, 8, 4], 3, "8 - 5 = 3\n6/2 = 3", RIGHT),
        ([2, 2, 2], 8, "2*2 = 4\n4*2 = 8", RIGHT),
        ([2, 2], 8, "2*2 = 4\n4*2 = 8", "uses 2 3 times"),
        ([2, 2, 4, 4], 1, "2/4 = 1/2\n2/4 = 1/2\n1/2 + 1/2 = 1", RIGHT),
        ([1, 1, 2, 2], 1, "1/2 = 1/2\n1/2 + 1/2 = 1", RIGHT),
        ([6, 4, 2], 3, "6/4 = 6/4\n6/4 * 2 = 3", RIGHT),
        ([6, 2, 5], 8, "6/2 = 3\n6/2 + 5 = 8", RIGHT),
        ([6, 2, 5], 9, "6/2 = 3\n6/2 + 6 = 9", "uses 6 twice"),
        ([1, 1, 2], 2, "1*1 = 1\n1*2 = 2", RIGHT),
    ],
)
def test_steps_of_other_questions(numbers: list[int], target: int, answer: str, reason: str) -> None:
    facts = {"numbers": numbers, "target": target}
    question = Question("?", "?", "countdown", "made", "countdown", "equation", facts)
    assert grade(f"<answer>{answer}</answer>", question, "length").reason == reason
