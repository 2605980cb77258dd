"""Answers to people's own questions: the same text or the same number, and nothing cleverer."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation.grading import grade
from generation.records import OUT_OF_BOUNDS, Grade, Question


def _grade(answer: str, gold: str) -> Grade:
    return grade(f"<answer>{answer}</answer>", Question("?", gold, "own", "file", "answer", "answer"), "stop")


@pytest.mark.parametrize(
    ("answer", "gold", "why"),
    [
        ("8", "7", "another number"),
        ("70", "7", "a number that begins alike"),
        ("7 8", "78", "a space is not nothing between digits"),
        ("2+2", "4", "arithmetic is not worked out"),
        ("50%", "0.5", "a percentage is not converted"),
        ("50%", "50", "nor is its sign dropped"),
        ("x²", "x2", "a power is no digit"),
        ("1,5", "1.5", "a decimal comma is not guessed at"),
        ("1,23,456", "123456", "groups of three only"),
        ("1_000", "1000", "Python's underscore is no number"),
        ("1/0", "0", "no number at all"),
        ("1/0", "2/0", "two things that are no number are not equal"),
        ("0.33", "1/3", "rounded is not equal"),
        ("0.30000000000000004", "0.3", "equal only in floats' neighbourhood"),
        ("9007199254740993", "9007199254740992", "equal as floats"),
        (r"2\frac{1}{2}", "21/2", "a mixed number is no fraction of 21"),
        ("nan", "inf", "names of floats are text"),
        ("inf", "1e99", "likewise"),
        ("1e999999999", "1", "a number too large is text, in no time"),
        ("1e999999999", "1e99", "likewise"),
        ("7 apples", "7", "a unit is not dropped"),
        ("7 or 8", "7", "a choice"),
        ("-7", "7", "a sign"),
        ("not Paris", "Paris", "contains the gold answer"),
        ("Paris...", "Paris", "trails off"),
        ("(B) or (C)", "(B)", "contains the gold answer"),
        ("5!", "5", "a factorial is no exclamation"),
        ("(1, 2)", "1, 2", "brackets round a list are a part of it"),
        ("$", "", "nothing against nothing but a mark"),
        ("True", "1", "a word is no number"),
        ("\ud800", "7", "a lone surrogate"),
        ("\x00", "7", "a NUL"),
        ("9" * 5000, "9" * 4999, "more digits than int() takes"),
    ],
)
def test_wrong(answer: str, gold: str, why: str) -> None:
    assert _grade(answer, gold) == Grade("wrong", "differs from the gold answer", answer), why


@pytest.mark.parametrize(
    ("answer", "gold", "why"),
    [
        ("7", "7", "the same"),
        ("7.", "7", "a full stop"),
        ("7.0", "7", "a decimal"),
        ("+7", "7", "a sign that says nothing"),
        ("007", "7", "leading zeros"),
        (".5", "1/2", "without the zero"),
        ("3/4", "0.75", "a fraction and a decimal"),
        ("6/8", "3/4", "not in lowest terms"),
        ("-3/4", "-0.75", "negative"),
        ("−3", "-3", "the minus sign"),
        ("1,234", "1234", "thousands"),
        ("1,234,567.50", "1234567.5", "thousands and decimals"),
        ("$18", "18", "dollars"),
        (r"\$18.00", "18", "dollars in LaTeX"),
        ("-$5", "-5", "a sign before the dollar"),
        ("$18$", "18", "LaTeX in dollars"),
        ("1e3", "1000", "an exponent"),
        ("1.5E-2", "0.015", "an exponent in capitals"),
        (r"\frac{3}{4}", "0.75", "LaTeX"),
        (r"-\dfrac{3}{4}", "-3/4", "LaTeX with a sign"),
        (r"$\boxed{42}$", "42", "a box"),
        (r"\[ 42 \]", "42", "displayed"),
        ("７", "7", "full width"),
        ("٧", "7", "Arabic-Indic"),
        ("**Paris**", "Paris", "bold"),
        ("paris", "Paris", "case"),
        ("STRASSE", "straße", "case where a letter becomes two"),
        ("  New \n  York ", "New York", "spaces"),
        ('"New York"', "New York", "quotation marks"),
        (r"\text{Paris}", "Paris", "text in LaTeX"),
        ("Answer: Paris", "Paris", "a label"),
        ("The final answer is Paris.", "Paris", "a label of several words"),
        ("`x + 1`", "x + 1", "code"),
        ("2–3", "2-3", "a dash between numbers, as text"),
        ("(7)", "7", "brackets"),
        ("7,", "7", "a comma behind it"),
        ("*7*", "7", "italics"),
        ("Paris!", "Paris", "an exclamation mark"),
        ("So my answer is (Paris).", "Paris", "a longer label, and brackets"),
        ("1/0", "1/0", "no number, but the same text"),
        ("e.g.", "e.g", "a full stop that belongs to the word goes on both sides"),
        ("9" * 5000, "9" * 5000, "the same text, whatever its size"),
    ],
)
def test_right(answer: str, gold: str, why: str) -> None:
    assert _grade(answer, gold) == Grade("right", "", answer.strip()), why


def test_a_long_answer_is_not_looked_at() -> None:
    answer = "7" * 10_001
    assert _grade(answer, answer) == Grade("unknown", OUT_OF_BOUNDS, answer)


@given(st.fractions(max_denominator=10**6), st.fractions(max_denominator=10**6))
def test_fractions_are_equal_as_fractions_are(said: Fraction, gold: Fraction) -> None:
    assert (_grade(f" {said} ", f"{gold}").outcome == "right") == (said == gold)
    unreduced = f"{3 * said.numerator}/{3 * said.denominator}"
    assert _grade(unreduced, f"{said}").outcome == "right"


@given(st.text(st.characters(exclude_categories=()), min_size=1, max_size=200))
def test_any_text_equals_itself(text: str) -> None:
    result = _grade(text, text)
    assert result.outcome == "right" or not text.strip() or "answer>" in text.lower()
