"""pass@k, the majority vote, intervals over questions and McNemar's test, against counting everything out."""

from __future__ import annotations

import math
import subprocess
import sys
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from generation.evaluation.statistics import (
    Draws,
    Figure,
    Ratio,
    bootstrap,
    figures_of,
    majority,
    mcnemar,
    mean_of,
    pass_at_each,
)


@given(st.integers(1, 9).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_is_the_share_of_subsets_with_a_right_one(counts: tuple[int, int, int]) -> None:
    replies, right, k = counts
    subsets = list(combinations([place < right for place in range(replies)], k))
    expected = sum(map(any, subsets)) / len(subsets)
    assert pass_at_each(np.array([replies]), np.array([right]), k)[:, -1] == pytest.approx([expected], abs=1e-14)


@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_is_exact_for_many_replies(counts: tuple[int, int, int]) -> None:
    replies, right, k = counts
    expected = 1 - Fraction(math.comb(replies - right, k), math.comb(replies, k))
    assert pass_at_each(np.array([replies]), np.array([right]), k)[0, -1] == pytest.approx(
        float(expected), rel=1e-9, abs=1e-11
    )


def test_pass_at_each_takes_questions_with_different_numbers_of_replies() -> None:
    """Where k is more than there are it says nothing, and is left out of the mean."""
    found = pass_at_each(np.array([3, 2, 4]), np.array([1, 0, 4]), 3)
    assert found.tolist() == [[1 / 3, pytest.approx(2 / 3), 1], [0, 0, 0], [1, 1, 1]]


@pytest.mark.parametrize(("replies", "right", "k"), [(4, 2, 0), (0, 0, 1), (4, 5, 1), (4, -1, 1)])
def test_pass_at_k_refuses_what_cannot_be(replies: int, right: int, k: int) -> None:
    with pytest.raises(ValueError, match=r"takes k from 1|more replies are right"):
        pass_at_each(np.array([4, replies]), np.array([1, right]), k)


def _vote(replies: list[int]) -> Fraction:
    """The score of one question, by counting; class 0 is right, -1 no answer."""
    votes = [one for one in replies if one >= 0]
    leaders = {one for one in votes if votes.count(one) == max(map(votes.count, votes))}
    return Fraction(0 in leaders, len(leaders) or 1)


@given(st.lists(st.lists(st.integers(-1, 3), max_size=7), min_size=1, max_size=6))
def test_the_majority_vote_is_that_of_counting_with_ties_shared(questions: list[list[int]]) -> None:
    owner = np.array([place for place, replies in enumerate(questions) for _ in replies], dtype=np.int64)
    answer = np.array([one for replies in questions for one in replies], dtype=np.int64)
    found = majority(owner, answer, answer == 0, len(questions))
    assert found.tolist() == [float(_vote(replies)) for replies in questions]


def test_right_answers_are_one_class_whatever_their_places() -> None:
    answer, right = np.array([0, 1, 2, 2]), np.array([True, True, False, False])
    assert majority(np.zeros(4, dtype=int), answer, right, 1).tolist() == [0.5]


# By 2 * sum(C(n, i) for i <= min) / 2**n in whole numbers, and by hand where it is short.
MCNEMAR = [
    (0, 0, 1.0),
    (3, 3, 1.0),
    (1, 0, 1.0),
    (5, 0, 0.0625),
    (6, 1, 0.125),
    (8, 2, 0.109375),
    (10, 0, 0.001953125),
    (2, 3, 1.0),
    (15, 5, 0.04138946533203125),
    (22, 38, 0.051893895928921435),
    (1000, 1100, 0.0307207078642423),
]


@pytest.mark.parametrize(("one", "other", "p"), MCNEMAR)
def test_mcnemar_is_the_exact_binomial_test(one: int, other: int, p: float) -> None:
    assert mcnemar(one, other) == pytest.approx(p, rel=1e-8)
    assert mcnemar(other, one) == mcnemar(one, other)


@given(st.integers(0, 400), st.integers(0, 400))
@settings(max_examples=60)
def test_mcnemar_against_whole_numbers(one: int, other: int) -> None:
    total = one + other
    tail = sum(math.comb(total, count) for count in range(min(one, other) + 1))
    assert mcnemar(one, other) == pytest.approx(min(1.0, float(Fraction(2 * tail, 2**total))), rel=1e-10)


@given(st.integers(0, 2_000), st.integers(0, 2_000))
@settings(max_examples=60)
def test_mcnemar_is_that_of_scipy(one: int, other: int) -> None:
    expected = binomtest(one, one + other, 0.5).pvalue if one + other else 1.0
    assert mcnemar(one, other) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_of_large_counts_is_near_the_normal_one() -> None:
    assert mcnemar(500_000, 502_000) == pytest.approx(math.erfc(1999 / math.sqrt(2 * 1_002_000)), rel=1e-3)
    assert mcnemar(0, 1_000_000) == 0


def _share(values: list[float] | np.ndarray) -> Ratio:
    return Ratio(np.asarray(values, dtype=float), np.ones(len(values)))


def _one(ratio: Ratio, seed: int = 0) -> Figure:
    return figures_of(bootstrap([ratio], seed))[0]


@pytest.mark.parametrize("questions", [60, 250])
@pytest.mark.parametrize("mean", [0.1, 0.3, 0.5, 0.85])
def test_95_of_100_intervals_hold_the_true_share(questions: int, mean: float) -> None:
    """Questions of a beta-binomial: half of the variance between them, 4 replies each."""
    rng, held, trials = np.random.default_rng(1), 0, 400
    for trial in range(trials):
        rates = rng.beta(mean, 1 - mean, questions)  # correlation between two replies to a question: 1/2
        found = _one(_share(rng.binomial(4, rates) / 4), trial)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= mean <= found.high
    assert 0.90 <= held / trials <= 0.98


def test_the_interval_of_an_average_holds_the_mean_of_its_tasks() -> None:
    """One of the tasks is never solved in the sample, though it could be."""
    rng, held, trials = np.random.default_rng(2), 0, 300
    means = (0.4, 0.2, 0.004)
    for trial in range(trials):
        tasks = [_share(rng.binomial(1, mean, 100)) for mean in means]
        found = figures_of(mean_of([bootstrap([task], 10 * trial + place) for place, task in enumerate(tasks)]))[0]
        assert found.low is not None
        assert found.high is not None
        held += found.low <= sum(means) / 3 <= found.high
    assert 0.90 <= held / trials <= 0.99


def test_an_interval_over_questions_is_wider_than_one_over_replies() -> None:
    rng = np.random.default_rng(3)
    right = rng.binomial(4, rng.beta(0.25, 0.75, 250))
    over_questions = _one(_share(right / 4))
    over_replies = _one(_share(np.repeat([1.0, 0.0], [right.sum(), 1000 - right.sum()])))
    assert over_questions.high is not None
    assert over_questions.low is not None
    assert over_replies.high is not None
    assert over_replies.low is not None
    assert over_questions.high - over_questions.low > 1.3 * (over_replies.high - over_replies.low)


@pytest.mark.parametrize("questions", [2, 60, 250])
def test_a_share_that_is_the_same_everywhere_has_the_exact_limit(questions: int) -> None:
    limit = 1 - 0.025 ** (1 / questions)
    assert _one(_share(np.zeros(questions))) == (0, 0, limit, questions)
    assert _one(_share(np.ones(questions))) == (1, 1 - limit, 1, questions)
    half = _one(_share(np.full(questions, 0.5)))
    assert [*half[:3]] == pytest.approx([0.5, 0.5 - limit / 2, 0.5 + limit / 2])
    same = Ratio(np.zeros(questions), np.ones(questions), (-1.0, 1.0))
    assert [*_one(same)[:3]] == pytest.approx([0, -limit, limit])


def test_an_average_of_tasks_never_solved_has_no_empty_interval() -> None:
    alone = bootstrap([_share(np.zeros(100))], 1)
    found = figures_of(mean_of([alone, bootstrap([_share(np.zeros(100))], 2)]))[0]
    of_one, of_all = 1 - 0.025 ** (1 / 100), 1 - 0.025 ** (1 / 200)
    assert found[:2] == (0, 0)
    assert found.high is not None
    assert of_all < found.high < of_one
    assert figures_of(mean_of([alone])) == figures_of(alone)


def test_what_cannot_be_told_is_none() -> None:
    one = np.ones(3)
    assert _one(_share([0.5])) == (0.5, None, None, 1)
    assert _one(Ratio(np.array([5.0, 5, 5]), one, None)) == (5, None, None, 3)
    assert _one(Ratio(np.zeros(3), np.zeros(3))) == (None, None, None, 0)
    spent = _one(Ratio(np.array([9.0, 7, 8]), np.array([0.0, 1, 0]), None))
    assert spent == (24, None, None, 1)


def test_a_figure_without_an_upper_limit_says_so() -> None:
    """Where a resample may have no right reply, there is no telling how much is spent for one."""
    found = _one(Ratio(np.arange(9.0) + 5, np.array([1.0, 1] + [0] * 7), None))
    assert found.value == pytest.approx(81 / 2)
    assert found.low is not None
    assert found.high is None


def test_ratios_of_sums_weigh_questions_by_their_denominators() -> None:
    found = _one(Ratio(np.array([1.0, 0, 6]), np.array([1.0, 2, 6])))
    assert found.value == 7 / 9
    assert found.questions == 3


def test_seeds_decide_and_chunks_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    ratio = _share(np.random.default_rng(1).random(100))
    first = _one(ratio, 5)
    assert first == _one(ratio, 5)
    assert first != _one(ratio, 6)
    monkeypatch.setattr("generation.evaluation.statistics._ENTRIES", 700)
    chunked = _one(ratio, 5)
    assert chunked == pytest.approx(first, rel=1e-12)


def test_differences_of_draws_are_paired() -> None:
    rng = np.random.default_rng(4)
    tokens = rng.integers(100, 900, 50).astype(float)
    one = np.ones(50)
    both = bootstrap([Ratio(tokens, one, None), Ratio(tokens + rng.integers(0, 3, 50), one, None)], 1)
    found = figures_of(both.take([1]).minus(both.take([0])))[0]
    assert found.low is not None
    assert found.high is not None
    assert 0.5 < found.low < found.high < 1.5
    same = figures_of(both.take([1]).minus(both.take([1])))[0]
    assert same == (0, None, None, 50)
    assert isinstance(both.beside(both), Draws)
    assert both.beside(both).low.shape == (2000, 4)


_LARGE = """
import resource, numpy as np
from generation.evaluation.statistics import Ratio, bootstrap
rng = np.random.default_rng(1)
one = np.ones(100_000)
ratios = [Ratio(rng.random(100_000), one) for _ in range(10)]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
bootstrap(ratios, 1, 100)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_hundred_thousand_questions_take_less_than_300_mb() -> None:
    ended = subprocess.run([sys.executable, "-c", _LARGE], check=True, capture_output=True, text=True, timeout=300)
    assert int(ended.stdout) < 300 * 1024
