"""What a run will take, foretold: totals by hand, what stands for what was not measured, how often ranges hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from cluster.inference.engine import Sampling
from generation.expectation import Group, Range, groups_of, seconds, shares, tokens_each, total
from generation.measured import Measured, Speed, measure
from generation.raw.schema import SCHEMA
from generation.rollout import Rollout
from generation.variants import BARE, parse_names

TWO = parse_names(("original", "rephrase"))
ROLLOUT = Rollout(TWO, samples=3, reflections=2, sampling=Sampling(max_tokens=100), seed=0)
Row = tuple[str, str, int, str, tuple[int, ...]]


def measured(*rows: Row) -> Measured:
    """Rows of question, variant, tokens, outcome, tokens of each reflection."""
    made = [
        {
            "question_key": key,
            "prompt_variant": variant,
            "outcome": outcome,
            "sample__provenance": {"output_tokens": tokens, "finish_reason": "length" if tokens >= 100 else "stop"},
            "reflections__provenance": [{"output_tokens": look, "valid": True, "verdict": "Correct"} for look in looks],
        }
        for key, variant, tokens, outcome, looks in rows
    ]
    return measure([pa.Table.from_pylist(made, schema=SCHEMA)])


@pytest.mark.parametrize(
    ("rows", "each", "why"),
    [
        (
            [("a", "original", 10, "right", (4, 6)), ("a", "rephrase", 20, "wrong", (5, 5))],
            [3 * ((10 + 2 * 5) + (20 + 2 * 5))],
            "three samples of each variant, two reflections on each",
        ),
        (
            [("a", "original", 10, "right", (4, 6)), ("a", "original", 20, "unknown", ())],
            [3 * 2 * (10 + 20 + 2 * 5) / 2],
            "what is unknown is not reflected on; a variant without samples counts as the other",
        ),
        (
            [
                ("a", "original", 10, "right", (4,)),
                ("a", "original", 30, "right", (4,)),
                ("a", "rephrase", 50, "right", (4,)),
            ],
            [3 * ((20 + 8) + (50 + 8))],
            "variants count the same, however many samples they have",
        ),
        (
            [("a", "original", 10, "right", ()), ("a", "rephrase", 20, "wrong", ())],
            [3 * (40 + 50)],
            "no reflections: as long as samples",
        ),
        (
            [("a", "original", 10, "right", ()), ("a", "rephrase", 20, "wrong", (7,))],
            [3 * (24 + 34)],
            "a reflection that failed counts as the mean of the others",
        ),
        ([("a", "original", 500, "wrong", (900,))], [3 * 2 * (100 + 2 * 100)], "nothing is longer than --max_tokens"),
        (
            [("a", "original", 10, "unknown", ()), ("b", "original", 30, "unknown", ())],
            [60, 180],
            "each question for itself",
        ),
    ],
)
def test_tokens_of_a_question_by_hand(rows: list[Row], each: list[float], why: str) -> None:
    assert tokens_each(measured(*rows), ROLLOUT).tolist() == pytest.approx(each), why


def test_questions_of_rl_are_a_group_of_their_own() -> None:
    found = measured(("a", "original", 10, "unknown", ()), ("r", BARE.name, 30, "right", ()))
    rollout = replace(ROLLOUT, rl_samples=5)
    (own, left), (bare, bare_left) = groups_of(found, rollout, 7, 9, whole=False)
    assert (own.tolist(), left, bare.tolist(), bare_left) == ([60], 7, [150], 9)
    (own, _), (bare, _) = groups_of(found, rollout, 7, 9, whole=True)
    assert (own.tolist(), bare.tolist()) == ([10], [30]), "shards of the run itself have all samples"
    only = measured(("a", "original", 10, "unknown", ()))
    assert groups_of(only, rollout, 7, 9, whole=False)[1].measured.tolist() == [50], "the mean of what there is"


def test_under_keeps_the_questions_that_have_such_samples() -> None:
    found = measured(
        ("a", "original", 1, "right", ()), ("b", BARE.name, 2, "right", ()), ("c", "original", 3, "right", ())
    )
    own = found.under(["original"])
    assert (own.questions, own.question.tolist(), own.tokens.tolist()) == (["a", "c"], [0, 1], [1, 3])


@pytest.mark.parametrize(
    ("groups", "range_", "why"),
    [
        ([Group(np.array([3.0, 5.0]), 10)], Range(40.0), "of two questions no range is told"),
        ([Group(np.full(9, 4.0), 10)], Range(40.0, 40.0, 40.0), "all the same"),
        ([Group(np.full(9, 4.0), 10), Group(np.array([]), 0)], Range(40.0, 40.0, 40.0), "nothing left of the other"),
        ([], Range(0.0), "nothing at all"),
    ],
)
def test_totals_by_hand(groups: list[Group], range_: Range, why: str) -> None:
    assert total(groups, seed=0) == range_, why


def test_the_same_seed_tells_the_same() -> None:
    group = Group(np.random.default_rng(0).gamma(2, 100, 30), 1000)
    assert total([group], seed=1) == total([group], seed=1) != total([group], seed=2)


@pytest.mark.parametrize(("size", "left", "shape"), [(12, 500, 4.0), (24, 4000, 2.0), (60, 40, 1.0), (40, 300, 0.7)])
def test_nine_ranges_of_ten_hold_the_truth(size: int, left: int, shape: float) -> None:
    """Of lengths as skewed as models', from as few questions as a probe has, whatever is left."""
    rng = np.random.default_rng(7)
    held, trials = 0, 600
    for trial in range(trials):
        found = total([Group(rng.gamma(shape, 400, size), left)], seed=trial)
        low, high = found.ends
        held += low <= rng.gamma(shape, 400, left).sum() <= high
    assert 0.85 <= held / trials <= 0.95


def test_two_groups_hold_the_truth_together() -> None:
    rng = np.random.default_rng(3)
    held = 0
    for trial in range(400):
        groups = [Group(rng.gamma(2, 400, 20), 1000), Group(rng.gamma(3, 40, 10), 300)]
        low, high = total(groups, seed=trial).ends
        held += low <= rng.gamma(2, 400, 1000).sum() + rng.gamma(3, 40, 300).sum() <= high
    assert 0.85 <= held / 400 <= 0.95


def test_time_is_tokens_by_speed_both_ways() -> None:
    speed = Speed(50.0, 100.0, 200.0, engines=1, gpus_each=0)
    assert seconds(Range(1000.0, 800.0, 1200.0), speed) == Range(10.0, 4.0, 24.0)
    assert seconds(Range(1000.0, 800.0, 1200.0), speed, 2.0) == Range(5.0, 2.0, 12.0)
    one = Speed(100.0, 100.0, 100.0, engines=1, gpus_each=0)
    assert seconds(Range(1000.0), one) == Range(10.0), "no range from one speed and no range of tokens"
    assert seconds(Range(1000.0, 900.0, 1100.0), one).plus(2.0) == Range(12.0, 11.0, 13.0)


def test_shares_are_ratios_over_questions_with_ranges() -> None:
    over, under = np.array([1, 0, 2, 2, 1, 0] * 4), np.full(24, 2)
    (share,) = shares([(over, under)], seed=0)
    low, high = share.ends
    assert share.value == 0.5
    assert 0.3 < low < 0.45 < 0.55 < high < 0.7
    assert shares([(over[:3], under[:3])], seed=0)[0].low is None, "of three questions no range is told"
