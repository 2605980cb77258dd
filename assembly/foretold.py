"""From how many questions each format will come, and how many traces, foretold from few samples of some of them.

What further samples of a question will be is taken as drawn from its own shares of right, wrong and unusable ones,
which are drawn from a Dirichlet distribution fitted to all questions (the Dirichlet-multinomial model).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from assembly.feasibility import count_served
from assembly.formats import Attempts, Format
from generation.expectation import FEWEST, Range, shares
from generation.rollout import next_batch

_DRAWS = 200
_SEQUENCES = 60  # of samples in the order of asking, and how often these are drawn
_TAILS = (0.05, 0.95)
_SPREADS = np.geomspace(0.05, 2000, 40)  # the sum of the distribution's parameters
_LEAST = 0.5  # added to each count: what was never seen is not impossible


class Foretold(NamedTuple):
    """What a format will give: from which share of the questions, and how many traces."""

    name: str
    share: Range
    traces: Range


def foretell(
    found: Sequence[Sequence[int]],
    samples: int,
    questions: int,
    formats: Sequence[Format],
    bounds: Attempts,
    *,
    seed: int,
) -> list[Foretold]:
    """Return what each format will give of so many questions with so many samples each, with 90% ranges.

    `found` has for each question that was measured its usable right samples, its usable wrong ones, the right ones
    that are usable alone, and all others. Where there are more than `samples`, so many are drawn of them. The ranges
    are of a bootstrap over the questions measured, each time with as many questions as there will be.
    """
    counts = np.array(found, dtype=np.int64).reshape(-1, 4)
    rng = np.random.default_rng(seed)
    shares = np.zeros((_DRAWS, len(formats)))
    traces = np.zeros((_DRAWS, len(formats)))
    most = min(questions, 2000)
    for row in range(_DRAWS):
        # Fitted anew each time: how questions differ is known from these few alone.
        resampled = counts[rng.integers(0, len(counts), len(counts))]
        prior = _fitted(resampled)
        drawn = _completed(resampled[rng.integers(0, len(counts), most)], samples, prior, rng)
        cells = Counter[tuple[int, ...]]((int(right), int(wrong), int(alone)) for right, wrong, alone, _ in drawn)
        for place, format_ in enumerate(formats):
            shares[row, place] = count_served(format_, cells, bounds) / most
            traces[row, place] = sum(many * traces_of(format_, cell, bounds) for cell, many in cells.items()) / most
    told = []
    for place, format_ in enumerate(formats):
        ranges = (Range(float(of.mean()), *_ends(of, len(counts))) for of in (shares[:, place], traces[:, place]))
        share, each = ranges
        told.append(Foretold(format_.name, share, each.times(questions, questions, questions)))
    return told


def foretell_retried(
    name: str, traces: Sequence[int], asked: Sequence[int], samples: int, questions: int, *, seed: int
) -> Foretold:
    """Return what a format with retries will give, with 90% ranges, of so many questions with so many samples each.

    `traces` are those that retries gave of each question that was measured, `asked` its samples. Each further sample is
    taken to give as many as those of its question did on average.
    """
    each = np.array(traces, dtype=float) / np.maximum(np.array(asked, dtype=float), 1)
    some = 1 - (1 - np.minimum(each, 1)) ** samples
    ones = np.ones(len(each))
    share, rate = shares([(some, ones), (each * samples, ones)], seed)
    return Foretold(name, share, rate.times(questions, questions, questions))


def asked_share(found: Sequence[Sequence[int]], samples: int, lacking: Callable[[int, int], int], seed: int) -> Range:
    """Return which share of so many samples is asked for where each question ends when nothing is `lacking`.

    `found` is as for `foretell`; `lacking` takes a question's usable right and wrong samples.
    """
    counts, rng, known = np.array(found, dtype=np.int64).reshape(-1, 4), np.random.default_rng(seed), cache(lacking)
    shares = []
    for _ in range(_SEQUENCES):
        resampled = counts[rng.integers(0, len(counts), len(counts))]
        drawn = _completed(resampled[rng.integers(0, len(counts), _SEQUENCES)], samples, _fitted(resampled), rng)
        asked = sum(_asked(rng.permutation(np.repeat(np.arange(4), one)).tolist(), known) for one in drawn)
        shares.append(asked / (samples * len(drawn)))
    return Range(float(np.mean(shares)), *_ends(np.array(shares), len(counts)))


def _asked(kinds: Sequence[int], lacking: Callable[[int, int], int]) -> int:
    """Return how many samples of these kinds, in order, the rollout asks for."""
    asked = 0
    while asked < len(kinds) and (least := lacking(kinds[:asked].count(0), kinds[:asked].count(1))):
        asked += next_batch(least, asked)
    return min(asked, len(kinds))


def _ends(drawn: np.ndarray, measured: int) -> tuple[float, ...]:
    return tuple(float(np.quantile(drawn, tail)) for tail in _TAILS) if measured >= FEWEST else ()


def _fitted(counts: np.ndarray) -> np.ndarray:
    """Return the parameters of the distribution, of the spreads in _SPREADS the likeliest, around the mean of all."""
    weights = counts.sum(axis=0) + _LEAST
    mean, sizes = weights / weights.sum(), counts.sum(axis=1)
    steps = np.arange(int(sizes.max(initial=0)))

    def log_rising(start: np.ndarray) -> np.ndarray:
        """Return log(start (start + 1) ... (start + k - 1)) for each k, of shape (spreads, k)."""
        return np.pad(np.cumsum(np.log(start[:, None] + steps), axis=1), ((0, 0), (1, 0)))

    def summed(start: np.ndarray, met: np.ndarray) -> np.ndarray:
        return log_rising(start) @ np.bincount(met, minlength=len(steps) + 1)

    likelihood = -summed(_SPREADS, sizes)
    for place, share in enumerate(mean):
        likelihood += summed(_SPREADS * share, counts[:, place])
    return np.asarray(mean * _SPREADS[np.argmax(likelihood)])


def _completed(counts: np.ndarray, samples: int, prior: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return what questions of these counts will have of so many samples: those that there are, and what else comes."""
    there = counts.sum(axis=1)
    drawn = counts.copy()
    for place in np.flatnonzero(there > samples):
        drawn[place] = rng.multivariate_hypergeometric(counts[place], samples)
    lacking = np.maximum(samples - there, 0)
    if lacking.any():
        chances = rng.standard_gamma(counts + prior)
        drawn += rng.multinomial(lacking, chances / chances.sum(axis=1, keepdims=True))
    return drawn


@cache
def traces_of(format_: Format, usable: tuple[int, ...], bounds: Attempts) -> float:
    """Return how many traces a question gives with these attempts: right, wrong, right but only usable alone.

    On average, where their number is drawn.
    """
    right, wrong, alone = usable
    if format_.lengths == "alone":
        return right + alone
    if format_.shortage(right, wrong, bounds) is not None:
        return 0
    if format_.lengths == "each":
        return format_.longest(wrong, bounds) - (bounds.least or 1) + 1
    if format_.lengths == "used_up":
        expected = [0.0]
        for left in range(1, right + 1):
            behind = [expected[max(0, left - taken)] for taken in range(1, bounds.most + 1)]
            expected.append(1 + sum(behind) / bounds.most)
        return expected[right]
    return 1
