"""How fast a count grows, and how long the rest will take, from the count at moments of the past. Pure; no clock."""

import math
from bisect import bisect_right
from itertools import pairwise
from statistics import stdev

_LEAST_S, _SHARE = 1.0, 0.005  # moments lie so far apart: this many seconds, and this share of the time so far
_RECENT_S = 60.0
_BLOCKS = 8
_LEAST_COUNT, _LEAST_WINDOW_S = 4, 4.0
_QUANTILE = 1.645  # of the normal distribution: 90% lie within so many standard deviations
_SLOWEST = 0.2  # times the rate so far: what a spread that reaches zero is cut to


class Pace:
    """The history of a count that only grows. Times are in seconds, on any one clock."""

    def __init__(self) -> None:
        self._times, self._counts = [0.0], [0.0]

    def add(self, now: float, count: float) -> None:
        """Take the count at a moment, unless the last moment taken is too close."""
        if now - self._times[-1] >= max(_LEAST_S, _SHARE * now):
            self._times.append(now)
            self._counts.append(count)

    def at(self, moment: float) -> float:
        """Return the count at a moment, in a straight line between those that were taken."""
        place = bisect_right(self._times, moment)
        if place == len(self._times):
            return self._counts[-1]
        (begin, end), (low, high) = self._times[place - 1 : place + 1], self._counts[place - 1 : place + 1]
        return low + (high - low) * (moment - begin) / (end - begin)

    def recent(self, now: float, count: float) -> float | None:
        """Return the rate per second over the last minute or so; None if it began a moment ago."""
        window = min(now, max(_RECENT_S, 2 * _SHARE * now))
        return max(0.0, count - self.at(now - window)) / window if window >= _LEAST_S else None

    def left(self, now: float, count: float, remaining: float) -> tuple[float, float, float] | None:
        """Return the seconds that `remaining` more will take: lower end, estimate, upper end of 90%; None if unknown.

        The rate is that of the last half of the time, before which things were still filling up. Its spread is that
        of eight blocks of this half: their standard deviation, divided by the root of eight for what the rate so far
        may err, and by the root of the number of such blocks still to come for what these will differ.
        """
        begin = now / 2
        window, grown = now - begin, count - self.at(begin)
        if grown < _LEAST_COUNT or window < _LEAST_WINDOW_S:
            return None
        rate, block = grown / window, window / _BLOCKS
        edges = [self.at(begin + block * number) for number in range(_BLOCKS)] + [count]
        rates = [(end - start) / block for start, end in pairwise(edges)]
        to_come = max(1.0, remaining / rate / block)
        error = _QUANTILE * stdev(rates) / rate * math.sqrt(1 / _BLOCKS + 1 / to_come)
        return remaining / rate / (1 + error), remaining / rate, remaining / rate / max(_SLOWEST, 1 - error)
