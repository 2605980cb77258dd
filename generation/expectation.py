"""What a run will take, foretold from samples of some questions: tokens, time, cost and disk, each as a 90% range.

Pure functions of counts. Questions are what is drawn from: all that was measured of one comes and goes together.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from generation.evaluation.statistics import Ratio, bootstrap
from generation.measured import Measured, Speed
from generation.records import RETRY
from generation.rollout import Rollout
from generation.variants import BARE

FEWEST = 5  # questions from which a range can be told
_RESAMPLES = 1000
_TAILS = (0.05, 0.95)


class Range(NamedTuple):
    """A value, and the ends of its 90% range; None where too little was measured to tell them."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def ends(self) -> tuple[float, float]:
        """Return the ends; twice the value if they are not known."""
        return (self.value if self.low is None else self.low), (self.value if self.high is None else self.high)

    def plus(self, more: float) -> "Range":
        """Return the range with this added."""
        return Range(self.value + more, *() if self.low is None else [end + more for end in self.ends])

    def times(self, low: float, mean: float, high: float) -> "Range":
        """Return the range of a product with something between `low` and `high`."""
        ends = self.ends
        known = self.low is not None or low < high
        return Range(self.value * mean, *((ends[0] * low, ends[1] * high) if known else ()))


class Group(NamedTuple):
    """Questions of one kind: what was measured for each of some, and how many others are to come."""

    measured: np.ndarray
    left: int

    def scaled(self, factor: float) -> "Group":
        """Return the group with so many times of everything that was measured."""
        return Group(self.measured * factor, self.left)


def total(groups: Sequence[Group], seed: int) -> Range:
    """Return what all that is left will come to, by the mean of what was measured, with its 90% range.

    A studentized bootstrap: of samples as large as those measured, and of as many questions as are left, drawn from
    what was measured; so the range covers both what the mean is not known by, and how what is to come will scatter.
    It reaches no lower than 0. Without FEWEST questions in each group there is no range.
    """
    groups = [group for group in groups if group.left]
    value = float(sum(group.left * group.measured.mean() for group in groups))
    if not groups or min(len(group.measured) for group in groups) < FEWEST:
        return Range(value)
    spread = np.sqrt(sum(group.measured.var(ddof=1) * _share(group) for group in groups))
    if not spread:
        return Range(value, value, value)
    rng, errors, spreads = np.random.default_rng(seed), np.zeros(_RESAMPLES), np.zeros(_RESAMPLES)
    for group in groups:
        size = len(group.measured)
        # Centred, as squares of large numbers would lose what they differ by.
        centred = group.measured - group.measured.mean()
        drawn = rng.multinomial(size, np.full(size, 1 / size), size=_RESAMPLES)
        means = drawn @ centred / size
        variances = (drawn @ centred**2 / size - means**2) * size / (size - 1)
        to_come = rng.multinomial(group.left, np.full(size, 1 / size), size=_RESAMPLES) @ centred
        errors += to_come - group.left * means
        spreads += variances * _share(group)
    # Where all that was drawn is the same question, nothing can be told.
    roots = errors[spreads > 0] / np.sqrt(spreads[spreads > 0])
    low, high = (value + float(np.quantile(roots, tail)) * spread for tail in _TAILS)
    return Range(value, max(0.0, low), high)


def _share(group: Group) -> float:
    """Return the variance of the error that one of variance 1 makes: of the mean, and of what is to come."""
    return group.left**2 / len(group.measured) + group.left


def tokens_each(found: Measured, rollout: Rollout) -> np.ndarray:
    """Return for each question how many tokens a run would write for it, samples and reflections.

    Each variant counts the same; those that a question has no sample under count as the mean of its others. A sample is
    reflected on if it was told right or wrong; reflections of which none was measured count as the mean of all, or of
    the samples, if there are none at all. A retry counts as a sample with its reflections, as often as these said
    Incorrect. Nothing is longer than the run lets it be.
    """
    looked = found.reflections > 0
    of_look = np.divide(found.reflection_tokens, found.reflections, where=looked, out=np.zeros(len(looked)))
    tokens = np.minimum(found.tokens, rollout.sampling.max_tokens).astype(float)
    if len(tokens):
        of_look[~looked] = of_look[looked].mean() if looked.any() else tokens.mean()
    of_look = np.minimum(of_look, rollout.of_reflections.max_tokens)
    looks = rollout.reflections * of_look
    unit = tokens + looks * (found.outcome != "unknown") + _retries_each(found, rollout) * (tokens + looks)
    wide = len(found.variants)
    cell = found.question * wide + found.variant
    counts = np.bincount(cell, minlength=len(found.questions) * wide).reshape(-1, wide)
    sums = np.bincount(cell, unit, minlength=counts.size).reshape(-1, wide)
    there = counts > 0
    means = np.divide(sums, counts, where=there, out=np.zeros(counts.shape))
    each = means.sum(axis=1) / np.maximum(there.sum(axis=1), 1)
    return np.asarray(each * rollout.samples * len(rollout.variants))


def _retries_each(found: Measured, rollout: Rollout) -> np.ndarray:
    """Return how many retries each sample would have; without any reflection the most that it can have."""
    if not (rollout.retries and found.reflections.any()):
        return np.full(len(found.reflections), float(min(rollout.retries, rollout.reflections)))
    share = np.divide(
        found.rejecting, found.reflections, where=found.reflections > 0, out=np.zeros(len(found.reflections))
    )
    return np.minimum(share * rollout.reflections, rollout.retries)


def tokens_written(found: Measured) -> np.ndarray:
    """Return for each question the tokens that were written for it."""
    return by_question(found, found.tokens + found.reflection_tokens)


def bare_tokens_each(found: Measured, rollout: Rollout) -> np.ndarray:
    """Return for each question of RL how many tokens a run would write for it."""
    tokens = np.minimum(found.tokens, rollout.sampling.max_tokens)
    counts = np.bincount(found.question, minlength=len(found.questions))
    return np.asarray(rollout.rl_samples * by_question(found, tokens) / np.maximum(counts, 1))


def groups_of(found: Measured, rollout: Rollout, left: int, bare_left: int, *, whole: bool) -> list[Group]:
    """Return the questions for traces, and those sampled for RL, with the tokens of each and how many are to come.

    `whole` says that each question has all its samples already, as a run of this very plan leaves them.
    """
    names = [variant.name for variant in rollout.variants]
    own, bare = found.under(names), found.under([BARE.name])
    if not own.questions:
        own = found.under(set(found.variants) - {BARE.name, RETRY})
    if not bare.questions:
        bare = own
    if whole:
        return [Group(tokens_written(found.under([*names, RETRY])), left), Group(tokens_written(bare), bare_left)]
    return [Group(tokens_each(own, rollout), left), Group(bare_tokens_each(bare, rollout), bare_left)]


def seconds(tokens: Range, speed: Speed, factor: float = 1.0) -> Range:
    """Return how long so many tokens take at this speed, times `factor`."""
    return tokens.times(*(1 / (one * factor) for one in (speed.high, speed.mean, speed.low)))


def shares(pairs: Sequence[tuple[np.ndarray, np.ndarray]], seed: int) -> list[Range]:
    """Return the ratio of each pair of sums over questions, with its 90% range by a bootstrap over the questions."""
    drawn = bootstrap([Ratio(over, under, None) for over, under in pairs], seed, _RESAMPLES)
    found = []
    for place, value in enumerate(drawn.values):
        column = drawn.low[:, place]
        there = column[~np.isnan(column)]
        told = len(there) and drawn.questions[place] >= FEWEST
        low, high = np.quantile(there, _TAILS) if told else (None, None)
        found.append(Range(float(np.nan_to_num(value)), low, high))
    return found


def by_question(found: Measured, values: np.ndarray, keep: np.ndarray | None = None) -> np.ndarray:
    """Return the sums of values of samples over each question, of those to `keep` alone."""
    weights = values.astype(float) if keep is None else values * keep
    return np.asarray(np.bincount(found.question, weights, minlength=len(found.questions)))
