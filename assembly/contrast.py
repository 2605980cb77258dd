"""How many groups of an RL step will have no contrast, all answers right or all wrong, foretold from pass rates.

A question's chance of a right answer is taken as drawn from a Beta distribution, which is fitted to all questions by
maximum likelihood (the beta-binomial model: Skellam, J. R. Stat. Soc. B 10(2), 1948). Unlike the unbiased
C(c, G) / C(n, G) this holds for groups larger than n, too; where the chances have several humps it may be 3 points off.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

SIZES = (8, 16)  # answers to a question in one step, as trainers have them
_RESAMPLES = 1000
_MEANS = np.sin(np.linspace(0.01, np.pi / 2 - 0.01, 60)) ** 2  # of the distribution; closer near 0 and 1
_SPREADS = np.geomspace(0.02, 2000, 40)  # the sum of its two parameters


class Share(NamedTuple):
    """A share between 0 and 1, with the ends of its 95% interval."""

    value: float
    low: float
    high: float


def foretell(
    counts: Sequence[tuple[int, int]], keeps: Callable[[int, int], bool] = lambda right, n: True, *, seed: int = 0
) -> dict[int, Share]:
    """Return by group size the expected share of groups without contrast, over the questions that it `keeps`.

    `counts` has right samples and all samples of each question, at least one. The distribution is fitted to all of
    them. For a question with c right of n and a fitted Beta(a, b), the chance that G answers are all right is
    B(a + c + G, b + n - c) / B(a + c, b + n - c), and that all are wrong B(a + c, b + n - c + G) over the same. The
    intervals are of a bootstrap over the questions, of which each sample is fitted anew. {} if it keeps none.
    """
    cells = Counter(counts)
    kept = np.array([keeps(*cell) for cell in cells], dtype=bool)
    if not kept.any():
        return {}
    right, n = np.array([*cells]).T
    held = np.array([*cells.values()], dtype=float)
    likelihood, shares = _of_grid(right, n)
    drawn = np.random.default_rng(seed).multinomial(int(held.sum()), held / held.sum(), size=_RESAMPLES)
    drawn = drawn[drawn[:, kept].sum(1) > 0]
    weights = np.vstack([held, drawn])
    best = np.argmax(likelihood @ weights.T, axis=0)
    weights = weights[:, kept]
    found = {}
    for place, size in enumerate(SIZES):
        means = (weights * shares[place][best][:, kept]).sum(1) / weights.sum(1)
        low, high = np.percentile(means[1:], (2.5, 97.5))
        found[size] = Share(float(means[0]), float(low), float(high))
    return found


def _of_grid(right: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each distribution of the grid and each cell the log likelihood, and by size the share expected."""
    means, spreads = (axis.ravel() for axis in np.meshgrid(_MEANS, _SPREADS))
    steps = np.arange(int(n.max()) + max(SIZES))

    def log_rising(start: np.ndarray) -> np.ndarray:
        """Return log(start (start + 1) ... (start + k - 1)) for each k."""
        return np.pad(np.cumsum(np.log(start[:, None] + steps), axis=1), ((0, 0), (1, 0)))

    all_right, all_wrong, whole = map(log_rising, (means * spreads, (1 - means) * spreads, spreads))
    wrong = n - right
    likelihood = all_right[:, right] + all_wrong[:, wrong] - whole[:, n]
    shares = []
    for size in SIZES:
        ahead = whole[:, n + size] - whole[:, n]
        shares.append(
            np.exp(all_right[:, right + size] - all_right[:, right] - ahead)
            + np.exp(all_wrong[:, wrong + size] - all_wrong[:, wrong] - ahead)
        )
    return likelihood, np.array(shares)
