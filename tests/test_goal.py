"""A run that ends early: which of its first items count does not depend on the order in which they end."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from cluster.jobs.goal import Goal

WORTHS = st.lists(st.one_of(st.none(), st.integers(0, 4)), min_size=1, max_size=12)
"""Of each item, in order; None for one that fails."""


def _worth(rows: pa.Table) -> Mapping[str, int]:
    return dict(zip(rows["key"].to_pylist(), rows["worth"].to_pylist(), strict=True))


def _take(goal: Goal, key: str, worth: int | None) -> None:
    if worth is None:
        goal.fail([key])
    else:
        goal.finish(pa.table({"key": [key], "worth": [worth]}))


@given(WORTHS, st.integers(1, 20), st.randoms(use_true_random=False))
def test_the_first_items_count_whatever_ends_first(worths: list[int | None], wanted: int, rng: random.Random) -> None:
    keys = [str(place) for place in range(len(worths))]
    goal = Goal(wanted, "traces", _worth)
    goal.begin(keys)
    order = rng.sample(keys, len(keys))
    for key in order:
        _take(goal, key, worths[int(key)])
        assert goal.items <= len(keys)
    sums = [sum(worth or 0 for worth in worths[: place + 1]) for place in range(len(worths))]
    needed = next((place + 1 for place, total in enumerate(sums) if total >= wanted), None)
    assert goal.reached == (needed is not None)
    assert goal.items == (needed or len(keys))
    assert goal.worth == sums[goal.items - 1]


def test_an_item_that_is_neither_done_nor_failed_holds_back_those_behind_it() -> None:
    goal = Goal(2, "traces", _worth)
    goal.begin(["a", "b", "c"])
    _take(goal, "b", 9)
    assert (goal.items, goal.worth, goal.reached) == (0, 0, False)
    assert goal.unknown({"a", "b", "d"}) == ["a"]
    _take(goal, "a", 1)
    assert (goal.items, goal.worth, goal.reached) == (2, 10, True)
    _take(goal, "a", 5)
    assert goal.worth == 10, "an item counts once"


def test_what_is_not_there_any_more_is_forgotten() -> None:
    goal = Goal(3, "traces", _worth)
    goal.begin(["a", "b", "c"])
    for key in "abc":
        _take(goal, key, 1)
    assert goal.reached
    goal.keep({"a", "c"})
    assert (goal.items, goal.worth, goal.reached) == (1, 1, False)
    assert goal.unknown({"a", "b", "c"}) == ["b"]
