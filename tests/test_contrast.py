"""The share of groups without contrast, foretold from a few samples: right on average, and as sure as it says."""

from __future__ import annotations

from collections.abc import Callable
from math import comb

import numpy as np
import pytest

from assembly.contrast import SIZES, foretell

Draw = Callable[[np.random.Generator, int], np.ndarray]


def _three_kinds(rng: np.random.Generator, count: int) -> np.ndarray:
    """Some questions are out of reach, some are always right: no Beta distribution has both and a hump."""
    chances = rng.beta(2, 3, count)
    kind = rng.random(count)
    chances[kind < 0.2], chances[kind > 0.9] = 0.0, 1.0
    return chances


DRAWS: dict[str, Draw] = {
    "either easy or hard": lambda rng, count: rng.beta(0.4, 0.8, count),
    "mostly hard": lambda rng, count: rng.beta(0.3, 3, count),
    "in between": lambda rng, count: rng.beta(3, 6, count),
}


def _share(chances: np.ndarray, size: int) -> float:
    return float(np.mean(chances**size + (1 - chances) ** size))


@pytest.mark.parametrize("kind", DRAWS)
@pytest.mark.parametrize("samples", [4, 16])
def test_nineteen_of_twenty_intervals_hold_the_real_share(kind: str, samples: int) -> None:
    """Of the questions that all of these are drawn from; groups of 8 and 16 of 4 samples are beyond what was seen."""
    draw, runs, questions = DRAWS[kind], 100, 150
    real = {size: _share(draw(np.random.default_rng(7), 10**6), size) for size in SIZES}
    rng, inside, off = np.random.default_rng(1), dict.fromkeys(SIZES, 0), dict.fromkeys(SIZES, 0.0)
    for number in range(runs):
        right = rng.binomial(samples, draw(rng, questions))
        for size, share in foretell([(int(one), samples) for one in right], seed=number).items():
            inside[size] += share.low <= real[size] <= share.high
            off[size] += (share.value - real[size]) / runs
    for size in SIZES:
        assert 0.90 <= inside[size] / runs <= 0.98, (kind, samples, size, inside)
        assert abs(off[size]) < 0.02


def test_with_questions_of_no_one_distribution_it_is_near_the_unbiased_estimate() -> None:
    rng, samples = np.random.default_rng(3), 32
    right = rng.binomial(samples, _three_kinds(rng, 400))
    found = foretell([(int(one), samples) for one in right])
    for size in SIZES:
        unbiased = np.mean([(comb(c, size) + comb(samples - c, size)) / comb(samples, size) for c in right.tolist()])
        assert found[size].low < unbiased < found[size].high
        assert abs(found[size].value - unbiased) < 0.04


def test_what_is_sure_and_what_is_selected() -> None:
    alike = foretell([(0, 8)] * 50)
    assert all(share.value > 0.98 for share in alike.values())
    mixed = [(right, 8) for right in (0, 0, 0, 2, 4, 4, 5, 8, 8, 8)] * 20
    every, some = foretell(mixed), foretell(mixed, lambda right, n: 0 < right < n)
    for size in SIZES:
        assert some[size].value < every[size].value - 0.3
        assert every[size].low < every[size].value < every[size].high
    assert every[16].value < every[8].value, "the larger the group, the likelier a contrast"
    assert foretell(mixed, lambda right, n: False) == {}
    assert foretell(mixed) == every, "the same data give the same interval"


def test_questions_with_fewer_answers_than_asked_for_count_too() -> None:
    found = foretell([(1, 1), (0, 3), (2, 4), (0, 1)] * 10)
    assert all(0 <= share.low <= share.value <= share.high <= 1 for share in found.values())
