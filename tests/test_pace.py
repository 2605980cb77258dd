"""Speed and time left, from a count that grows."""

from __future__ import annotations

import random

import pytest

from cluster.jobs.pace import Pace


def grown(rate: float, seconds: float, seed: int, late_s: float = 0.0) -> tuple[Pace, list[float]]:
    """A count that begins late and then grows at random, until that moment; and all its events, of twice the time."""
    rng, pace = random.Random(seed), Pace()
    events, at = list[float](), late_s
    while at < 3 * seconds:
        at += rng.expovariate(rate)
        events.append(at)
    for tick in range(int(seconds * 2)):
        pace.add(tick / 2, sum(one <= tick / 2 for one in events))
    return pace, events


def test_a_steady_count_has_a_sure_end() -> None:
    pace = Pace()
    for second in range(101):
        pace.add(second, 2 * second)
    assert pace.recent(100, 200) == pytest.approx(2)
    low, estimate, high = pace.left(100, 200, 400) or (0, 0, 0)
    assert [low, estimate, high] == pytest.approx([200, 200, 200])


def test_the_range_holds_the_truth_nine_times_of_ten() -> None:
    """Over many runs; that it is no wider than it must be shows in its being left now and then."""
    held = 0
    for seed in range(200):
        pace, events = grown(rate=1.0, seconds=120, seed=seed, late_s=20)
        count = sum(one <= 120 for one in events)
        wanted = count + 100
        low, _, high = pace.left(120, count, 100) or (0, 0, 0)
        held += low <= events[wanted - 1] - 120 <= high
    assert 160 <= held <= 196


def test_the_recent_rate_is_the_last_minute_s() -> None:
    pace = Pace()
    for second in range(201):
        pace.add(second, second if second <= 140 else 140 + 5 * (second - 140))
    assert pace.recent(200, 440) == pytest.approx(5)


def test_little_is_known_at_the_beginning() -> None:
    pace = Pace()
    assert pace.recent(0.2, 5) is None
    assert pace.left(0.0, 0, 9) is None
    for second in range(20):
        pace.add(second, 0)
    assert pace.left(20, 3, 9) is None, "three are no rate"
    assert pace.recent(20, 0) == 0


def test_it_holds_few_moments_however_long_it_goes_on() -> None:
    pace = Pace()
    for second in range(0, 400_000, 10):
        pace.add(second, second)
    assert len(pace._times) < 2_500
    assert pace.at(200_000) == pytest.approx(200_000)
