"""Statistics of an evaluation: pass@k, majority vote, intervals over questions, McNemar's test.

A figure is a ratio of two sums over questions, so that resampling questions is a product of matrices.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

LEVEL, _TAIL = 0.95, 0.025
RESAMPLES = 2000
_ENTRIES = 1 << 22  # weights held at once, 32 MiB; there are three arrays of that size


def pass_at_each(replies: np.ndarray, right: np.ndarray, most: int) -> np.ndarray:
    """Return for each question the unbiased pass@k, 1 - C(n - c, k) / C(n, k), arXiv 2107.03374, k from 1 to `most`.

    `replies` (n) and `right` (c) are counts, one for each question; the shape is (questions, most), with 0 where k is
    more than n. Raises ValueError unless 0 <= c <= n, 1 <= n and 1 <= most hold everywhere.
    """
    n, c = np.asarray(replies, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if most < 1 or not (n >= 1).all():
        raise ValueError(f"pass@{most} takes k from 1 on, of questions with replies")
    if not ((c >= 0) & (c <= n)).all():
        raise ValueError("more replies are right than there are, or fewer than none")
    drawn = np.arange(most)
    left = n[:, None] - drawn
    failed = np.cumprod(np.maximum((n - c)[:, None] - drawn, 0) / np.maximum(left, 1), axis=1)
    passed = np.where(left > 0, 1 - failed, 0.0)
    passed[:, 0] = c / n  # the same, but for rounding
    return passed


def majority(question: np.ndarray, answer: np.ndarray, right: np.ndarray, questions: int) -> np.ndarray:
    """Return each question's score of the majority vote: 1 / m if m answers lead and the right one is among them.

    The arguments have an element for each reply: its question from 0 to `questions` - 1, the class of its answer, below
    0 without one, and whether it is right. The right ones are one class. Without any answer the score is 0.
    """
    votes = (answer >= 0) | right
    classes = np.where(right, 0, answer + 1)[votes]
    size = int(classes.max(initial=0)) + 1
    voted, counts = np.unique(question[votes].astype(np.int64) * size + classes, return_counts=True)
    owner = voted // size
    most = np.zeros(questions, dtype=np.int64)
    np.maximum.at(most, owner, counts)
    leads = counts == most[owner]
    leaders = np.bincount(owner[leads], minlength=questions)
    wins = np.bincount(owner[leads & (voted % size == 0)], minlength=questions)
    return np.asarray(wins / np.maximum(leaders, 1))


def mcnemar(one: int, other: int) -> float:
    """Return McNemar's exact two-sided p for so many questions that only the one, and only the other, solved.

    It is twice the binomial tail of the smaller count at 1/2, and 1 at most. Counts may be large; below about 1e-308
    it is 0.
    """
    total, few = one + other, min(one, other)
    if one == other:
        return 1.0
    log_most = math.lgamma(total + 1) - math.lgamma(few + 1) - math.lgamma(total - few + 1) - total * math.log(2)
    part, parts = 1.0, 1.0
    for count in range(few, 0, -1):
        part *= count / (total - count + 1)
        parts += part
        if part < 1e-18 * parts:
            break
    return min(1.0, 2 * math.exp(log_most) * parts)


class Ratio(NamedTuple):
    """A figure: the sum of its numerators over that of its denominators, both with an element for each question."""

    numerator: np.ndarray
    denominator: np.ndarray
    bounds: tuple[float, float] | None = (0.0, 1.0)
    """The least and the most that it can be in any question; None if nothing bounds it."""


class Draws(NamedTuple):
    """Figures and their values in resamples. NaN stands for what is undefined."""

    values: np.ndarray  # (figures,)
    questions: np.ndarray  # (figures,), those with a denominator
    low: np.ndarray  # (resamples, figures), for lower limits
    high: np.ndarray  # (resamples, figures), for upper limits
    limits: np.ndarray  # (figures, 2), of a figure that is the same in every question

    def take(self, places: Sequence[int]) -> "Draws":
        """Return some of the figures."""
        values, questions, limits = (part[places] for part in (self.values, self.questions, self.limits))
        return Draws(values, questions, self.low[:, places], self.high[:, places], limits)

    def minus(self, other: "Draws") -> "Draws":
        """Return the differences to the figures of `other`, which is of the same questions, drawn together."""
        with np.errstate(invalid="ignore"):
            low, high = self.low - other.low, self.high - other.high
            values = self.values - other.values
        flat = (low == low[:1]).all(axis=0)
        low[:, flat] = high[:, flat] = np.nan
        return Draws(values, np.minimum(self.questions, other.questions), low, high, np.full_like(self.limits, np.nan))

    def beside(self, other: "Draws") -> "Draws":
        """Return the figures of both."""
        return Draws(*(np.concatenate(parts, axis=axis) for *parts, axis in zip(self, other, _AXES, strict=True)))


_AXES = (0, 0, 1, 1, 0)


def bootstrap(ratios: Sequence[Ratio], seed: int, resamples: int = RESAMPLES) -> Draws:
    """Draw as many questions as there are, with replacement, `resamples` times: the cluster bootstrap.

    All the replies of a question come and go together. A figure that is the same in each of Q questions has no spread
    to draw from: by the exact binomial limit (Clopper and Pearson), fewer than 1 - 0.025 ** (1 / Q) of all questions
    are others, at a confidence of 97.5%, and the figure may lie as far off as these can move it within its bounds; a
    share that is 0 in each question is at most 1 - 0.025 ** (1 / Q). It has no interval without bounds, or with one
    question.
    """
    columns = {id(array): array for ratio in ratios for array in ratio[:2]}
    places = {name: place for place, name in enumerate(columns)}
    matrix = np.column_stack([array.astype(np.float64) for array in columns.values()])
    over, under = ([places[id(ratio[part])] for ratio in ratios] for part in (0, 1))
    rng = np.random.default_rng(seed)
    sums = _resampled(matrix, rng, resamples)
    whole = matrix.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        values, low = whole[over] / whole[under], sums[:, over] / sums[:, under]
    values[~np.isfinite(values)] = np.nan
    high = low.copy()
    limits = np.full((len(ratios), 2), np.nan)
    asked = np.zeros(len(ratios), dtype=np.int64)
    for place, ratio in enumerate(ratios):
        there = ratio.denominator > 0
        asked[place] = there.sum()
        each = ratio.numerator[there] / ratio.denominator[there]
        if asked[place] < 2:
            low[:, place] = high[:, place] = np.nan
        elif each.min() == each.max() and not ratio.numerator[~there].any():
            drawn = 1 - rng.permutation((np.arange(resamples) + 0.5) / resamples) ** (1 / asked[place])
            low[:, place], high[:, place] = _limits(values[place], drawn, ratio.bounds)
            limits[place] = _limits(values[place], 1 - _TAIL ** (1 / asked[place]), ratio.bounds)
    return Draws(values, asked, low, high, limits)


def _resampled(matrix: np.ndarray, rng: np.random.Generator, resamples: int) -> np.ndarray:
    """Return the sums of the columns over the questions of each resample, of shape (resamples, columns)."""
    questions = len(matrix)
    sums = np.empty((resamples, matrix.shape[1]))
    rows = max(1, _ENTRIES // max(questions, 1))
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        drawn = rng.integers(0, questions, (count, questions)) + np.arange(count)[:, None] * questions
        weights = np.bincount(drawn.ravel(), minlength=count * questions).astype(np.float64)
        sums[start : start + count] = weights.reshape(count, questions) @ matrix
    return sums


def _limits(value: float, share: np.ndarray | float, bounds: tuple[float, float] | None) -> tuple[object, object]:
    """Return how far a share of other questions can move a figure down and up."""
    least, most = bounds or (np.nan, np.nan)
    return value - share * (value - least), value + share * (most - value)


def mean_of(parts: Sequence[Draws]) -> Draws:
    """Return the means of figures over tasks, which are drawn from independently: each is a stratum of its own."""
    if len(parts) == 1:
        return parts[0]
    values = np.mean([part.values for part in parts], axis=0)
    low, high = (np.mean([part[side] for part in parts], axis=0) for side in (2, 3))
    questions = np.sum([part.questions for part in parts], axis=0)
    return Draws(values, questions, low, high, np.full_like(parts[0].limits, np.nan))


class Figure(NamedTuple):
    """A figure with its interval; None where undefined, or where a limit cannot be told."""

    value: float | None
    low: float | None
    high: float | None
    questions: int


def figures_of(draws: Draws) -> list[Figure]:
    """Return the figures with their percentile intervals of level LEVEL; an exact one where `limits` has one."""
    found = []
    for place, value in enumerate(draws.values):
        low, high = draws.limits[place]
        if np.isnan(low):
            low = _percentile(draws.low[:, place], _TAIL)
            high = -_percentile(-draws.high[:, place], _TAIL)
        defined = np.isfinite(value)
        at, least, most = (float(one) if defined and np.isfinite(one) else None for one in (value, low, high))
        found.append(Figure(at, least, most, int(draws.questions[place])))
    return found


def _percentile(drawn: np.ndarray, share: float) -> float:
    """Return the largest drawn value with at most this share of the defined ones below it; NaN if none is defined."""
    defined = np.sort(drawn[~np.isnan(drawn)])
    return float(defined[int(share * len(defined))]) if len(defined) else np.nan
