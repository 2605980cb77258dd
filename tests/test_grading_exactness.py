"""Exact values are equal or not, however near they are; decimals are near by one rule at every size."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation.grading.number import nearly_equal
from generation.records import UNDECIDED
from tests.grading_tables import Row, graded

PAIRS = 60


def _outcome(gold: str, answer: str) -> str:
    return graded(Row(gold, answer, "", ""), "math").outcome


def test_powers_of_fractions_are_compared_as_fractions() -> None:
    rng = random.Random("powers")
    for _ in range(PAIRS):
        (over, under, power), sign = [rng.randint(2, 99) for _ in range(3)], rng.choice("+-")
        gold = rf"\frac{{1}}{{{under}}}{sign}\left(\frac{{{over}}}{{{over + 1}}}\right)^{{{power}}}"
        other = power + rng.randint(0, 1)
        tail = Fraction(over, over + 1) ** other
        value = Fraction(1, under) + (tail if sign == "+" else -tail)
        assert _outcome(gold, f"({value.numerator})/({value.denominator})") == ("right" if other == power else "wrong")


def test_nested_roots_are_their_sums_and_nothing_near() -> None:
    rng = random.Random("roots")
    for _ in range(PAIRS // 2):
        one, other, depth = rng.randint(2, 40), rng.randint(2, 40), rng.randint(20, 400)
        nested = rf"\sqrt{{{one + other}+2\sqrt{{{one * other}}}}}"
        assert _outcome(nested, rf"\sqrt{{{one}}}+\sqrt{{{other}}}") == "right"
        assert _outcome(nested, rf"\sqrt{{{one}}}+\sqrt{{{other}}}+\frac{{1}}{{{other}^{{{depth}}}}}") == "wrong"


@pytest.mark.parametrize("power", [-300, -34, -7, -1, 0, 1, 7, 23, 300])
@pytest.mark.parametrize(
    ("gold", "answer", "outcome"),
    [
        ("6.62607015", "6.62607015", "right"),
        ("6.62607015", "6.62607", "right"),
        ("6.62607015", "6.6261", "wrong"),
        ("6.62607015", "6.62608", "wrong"),
        ("6.62607015", "-6.62607015", "wrong"),
        ("2.5", "3.4", "wrong"),
    ],
)
def test_the_size_of_a_decimal_changes_nothing(gold: str, answer: str, outcome: str, power: int) -> None:
    size = rf"\times10^{{{power}}}"
    assert _outcome(gold + size, answer + size) == outcome
    assert _outcome(rf"\pi\cdot {gold}{size}", rf"\pi\cdot {answer}{size}") == outcome or answer == "6.62607"


def test_what_cannot_be_told_says_so() -> None:
    assert graded(Row(r"\pi", "3.1416", "", ""), "math").reason == UNDECIDED


_DECIMALS = st.builds(
    lambda digits, power: Fraction(digits) * Fraction(10) ** power, st.integers(), st.integers(-40, 40)
)


@given(_DECIMALS, _DECIMALS, st.integers(-40, 40))
def test_near_is_far_when_a_thousandth_is_between(one: Fraction, other: Fraction, power: int) -> None:
    scale = Fraction(10) ** power
    assert nearly_equal(one, one)
    if abs(one - other) * 1000 > abs(one):
        assert not nearly_equal(other, one)
        assert not nearly_equal(other * scale, one * scale)
    assert nearly_equal(-other, -one) == nearly_equal(other, one)
