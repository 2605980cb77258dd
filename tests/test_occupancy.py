"""How full engines are kept, and how long they idle at the end: `benchmarks.occupancy` at an eighth of its size."""

from __future__ import annotations

import pytest

from benchmarks.occupancy import LONG, Shape, simulate

QUESTIONS = 500


def shape(long: float) -> Shape:
    """An eighth of the places, for an eighth of the samples of each question: steps and questions last as long."""
    whole = Shape()
    return Shape(places=whole.places // 8, sequence_s=whole.sequence_s * 8, samples=whole.samples // 8, long=long)


@pytest.mark.parametrize("long", LONG)
@pytest.mark.parametrize(("engines", "idle"), [(1, 0.05), (4, 0.10)])
def test_engines_are_full_to_the_end(engines: int, idle: float, long: float) -> None:
    found = simulate(shape(long), engines, QUESTIONS)
    assert found.full >= 0.97
    assert found.idle <= idle
    assert found.peak <= 128


def test_one_long_sample_does_not_keep_the_place_of_a_question() -> None:
    """At full size, where one sample in a hundred is one in every other question; by count it did."""
    whole = Shape(long=0.01)
    assert simulate(whole, 1, 100, by_load=False).full < 0.8
    assert simulate(whole, 1, 100).full >= 0.97


def test_a_simulation_comes_out_the_same_each_time() -> None:
    assert simulate(shape(0.01), 2, 100) == simulate(shape(0.01), 2, 100)
