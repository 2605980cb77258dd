"""Whatever a model writes, a grade comes back: soon, short, and without an exception."""

from __future__ import annotations

import sys
import time
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from generation.grading import grade
from generation.grading.countdown import read
from generation.grading.errors import OutOfBoundsError, UnreadableError
from generation.records import Grade, Question

_FACTS = {"numbers": [3, 7, 4], "target": 25}
_QUESTIONS = [Question("?", "25", "any", "made", name, "equation", _FACTS) for name in ("countdown", "answer")]
_MILLIONS = 10_000_000

RESPONSES = {
    "nothing but text": "a" * _MILLIONS,
    "text beyond ASCII": "é" * (_MILLIONS // 2),
    "lone surrogates": "\ud800" * (_MILLIONS // 3),
    "less-than signs": "<" * _MILLIONS,
    "closing tags without an end": "</answer" * (_MILLIONS // 8),
    "opening tags": "<answer>" * (_MILLIONS // 8),
    "opening tags, one closing": "<answer>" * (_MILLIONS // 8) + "</answer>",
    "closing tags": "</answer>" * (_MILLIONS // 9),
    "pairs of tags": "<answer>1</answer>" * (_MILLIONS // 18),
    "nested tags": "<answer>" * 100_000 + "1" + "</answer>" * 100_000,
}
ANSWERS = {
    "megabytes of digits": "9" * _MILLIONS,
    "100,000 brackets": "(" * 100_000 + ")" * 100_000,
    "a power tower": "9**9**9**9",
    "code": "__import__('os').system('x')",
    "a huge exponent": "1e999999999",
    "a huge denominator": "1/" + "9" * 5000,
    "brackets": "(" * 1000,
    "brackets round an equation": "(" * 499 + "=" + ")" * 499,
    "square brackets": "[" * 500 + "]" * 500,
    "braces": "{" * 500 + "}" * 500,
    "fractions": r"\frac{" * 140 + "}" * 140,
    "signs": "-" * 999 + "1",
    "equality signs": "=" * 1000,
    "many sides": "=".join("1" * 500),
    "many long sides": "=".join(["1+1+1+1"] * 120),
    "many steps": "1\n" * 500,
    "many operators": "1+" * 499 + "1",
    "big products": "99999999999999999999*" * 45 + "1",
    "a continued fraction": "1/(1+" * 31 + "1" + ")" * 31,
    "denominators without a common one": "+".join(f"1/{number}" for number in range(9001, 9060)),
    "spaces": "3" + " " * 998 + "x",
    "stars": "*" * 1000,
    "labels": "answer: " * 125,
    "backslashes": "\\" * 1000,
    "separators": ";" * 1000,
    "fences": "`" * 1000,
    "characters that NFKC makes 18 of": "ﷺ" * 1000,
    "many wrappers": "**" * 5000,
    "many thousands": "1," + "000," * 2000,
}


def _check(result: Grade) -> None:
    assert result.outcome in ("right", "wrong", "unknown")
    assert len(result.reason) <= 80
    assert "\n" not in result.reason


@pytest.mark.parametrize("question", _QUESTIONS, ids=lambda question: question.grader)
@pytest.mark.parametrize("name", [*RESPONSES, *ANSWERS])
def test_within_50_ms(name: str, question: Question) -> None:
    response = RESPONSES[name] if name in RESPONSES else f"<answer>{ANSWERS[name]}</answer>"
    times = []
    for _ in range(3):
        started = time.process_time()
        _check(grade(response, question, "stop"))
        times.append(time.process_time() - started)
    assert min(times) < 0.05


_CHARACTERS = st.characters(exclude_categories=())
_PIECES = st.lists(
    st.sampled_from(
        [
            *"0123456789+-*/()[]{}=.,:;xX$`\\ \n\t#_^%!<>²½３×−…\x00\ud800\u202e\u200b",
            *("**", "//", "==", "<answer>", "</answer>", "Step 1:", "and", "Answer:", "1e99", "if", "0x"),
            *(r"\frac", r"\text", r"\boxed", r"\times", r"\\", r"\left"),
        ]
    )
).map("".join)


def hostile_texts() -> st.SearchStrategy[str]:
    """Any characters, lone surrogates too, and pieces of what graders look for."""
    return st.text(_CHARACTERS) | _PIECES


@given(st.text(_CHARACTERS) | _PIECES, st.sampled_from(_QUESTIONS))
@example("1(2)", _QUESTIONS[0])
@example("1 .real", _QUESTIONS[0])
@example("'\\d'", _QUESTIONS[0])
@example("1if 1else 2", _QUESTIONS[0])
def test_any_answer_gets_a_grade(answer: str, question: Question) -> None:
    _check(grade(f"<answer>{answer}</answer>", question, "stop"))


@given(st.text(_CHARACTERS) | _PIECES, st.sampled_from(_QUESTIONS))
def test_any_response_gets_a_grade(response: str, question: Question) -> None:
    _check(grade(response, question, "stop"))
    _check(grade(response, question, "length"))
    assert grade(response, question, "error").is_correct is None


@given(st.text(_CHARACTERS) | st.text("0123456789+-*/(). "))
def test_reading_raises_only_what_it_says(text: str) -> None:
    try:
        value = read(text).value
    except (UnreadableError, OutOfBoundsError):
        return
    assert value is None or type(value) in (int, Fraction)


def test_the_deepest_expression_within_bounds_needs_little_stack() -> None:
    deepest = "(" * 32 + "-" * 32 + "1" + ")" * 32 + "+1" * 32
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(_frames()) + 180)
    try:
        assert read(deepest).value == 33
    finally:
        sys.setrecursionlimit(limit)


def _frames() -> list[object]:
    frame, frames = sys._getframe(), list[object]()
    while frame.f_back is not None:
        frames.append(frame)
        frame = frame.f_back
    return frames
