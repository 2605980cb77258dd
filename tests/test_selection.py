"""Which traces stand in a set: shares by weight, caps that hold, sides that no other question moves."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assembly.selection import MARKS, cut_at, pick, read_caps, read_weights, side_of
from generation.tasks import countdown
from generation.tasks.countdown import Ranges
from generation.tasks.made import LETTERS, LONGMULT
from generation.tasks.same import identity_of, is_made
from generation.tasks.task import HEADER, Drawn

TRACES = st.lists(
    st.fixed_dictionaries(
        {
            "format": st.just("*C_full"),
            "sft_template_type_idx": st.sampled_from(["1C", "2C"]),
            "question_key": st.sampled_from(["q1", "q2", "q3"]),
            "task": st.sampled_from(["a", "b"]),
            "variants": st.lists(st.sampled_from(["original", "plan"]), min_size=1, max_size=3),
            "score": st.integers(0, 2**63),
            "more": st.booleans(),
            "side": st.just(0.0),
        }
    ),
    max_size=40,
)
CAPS = st.dictionaries(st.sampled_from(["question", "task", "variant"]), st.integers(1, 6))


def marks(rows: list[dict[str, object]]) -> pa.Table:
    """Only traces of task b were drawn for its weight."""
    return pa.Table.from_pylist([row | {"more": row["more"] and row["task"] == "b"} for row in rows], MARKS)


@given(TRACES, CAPS)
def test_no_cap_is_exceeded_and_what_is_left_out_would_exceed_one(
    rows: list[dict[str, object]], caps: dict[str, int]
) -> None:
    kept, told = pick(marks(rows), {}, caps, None)  # type: ignore[arg-type]
    assert kept.tolist() == sorted(set(kept.tolist()))
    assert len(kept) + sum(n for (_, what), n in told.items() if what.startswith("traces left out")) == len(rows)

    def groups(place: int) -> list[tuple[str, str]]:
        row = rows[place]
        found = [("question", str(row["question_key"])), ("task", str(row["task"]))]
        variants = row["variants"]
        assert isinstance(variants, list)
        return [one for one in [*found, *(("variant", name) for name in {*variants})] if one[0] in caps]

    counts = Counter(group for place in kept.tolist() for group in groups(place))
    assert all(count <= caps[kind] for (kind, _), count in counts.items())
    for place in {*range(len(rows))} - {*kept.tolist()}:
        assert any(counts[group] == caps[group[0]] for group in groups(place))


@given(TRACES, st.sampled_from([0.0, 0.25, 0.5, 1.0]))
def test_a_weight_below_one_keeps_that_share_of_a_task_and_nothing_else_moves(
    rows: list[dict[str, object]], weight: float
) -> None:
    table = marks(rows)
    kept = pick(table, {"a": weight}, {}, None).places
    of_a = [place for place, row in enumerate(rows) if row["task"] == "a"]
    others = {*range(len(rows))} - {*of_a}
    assert others <= {*kept.tolist()}
    assert len(kept) - len(others) == round(weight * len(of_a))
    more = pick(table, {"a": min(1.0, weight + 0.5)}, {}, None).places
    if weight in (0.0, 1.0):
        assert {*kept.tolist()} <= {*more.tolist()}


@given(TRACES)
def test_a_weight_above_one_takes_all_of_a_task_first(rows: list[dict[str, object]]) -> None:
    table = marks(rows)
    own = [place for place, (row, more) in enumerate(zip(rows, table["more"].to_pylist(), strict=True)) if not more]
    kept, told = pick(table, {"b": 2.0}, {}, None)
    assert {*own} <= {*kept.tolist()}
    flag, base = "--weights b=2", sum(rows[place]["task"] == "b" for place in own)
    assert told[flag, "traces that the task has by itself"] == base
    assert told[flag, "traces kept"] == 2 * base - told[flag, "traces lacking, since other draws gave no other trace"]
    assert told[flag, "traces kept"] - told[flag, "of these drawn anew"] == base


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=2, unique=True), st.floats(0.001, 0.999))
def test_both_sides_of_a_split_have_a_question(sides: list[float], share: float) -> None:
    held = np.array(sides) < cut_at(np.array(sides), share)
    assert 0 < held.sum() < len(sides)
    between = [side < share for side in sides]
    if any(between) and not all(between):
        assert held.tolist() == between


def test_one_question_cannot_be_split() -> None:
    with pytest.raises(ValueError, match=r"--validation 0.1: all traces are of one question"):
        cut_at(np.array([0.3, 0.3]), 0.1)


def test_the_share_of_questions_is_about_what_is_asked_for() -> None:
    sides = [side_of(0, f"question {n}") for n in range(5000)]
    assert abs(sum(side < 0.1 for side in sides) / 5000 - 0.1) < 4 * math.sqrt(0.09 / 5000)
    assert [side_of(1, f"question {n}") for n in range(3)] != sides[:3]


PRODUCT = "Multiply 12 by 34. Give the exact product as a whole number."
SAME = [
    (countdown.problem([3, 7, 9], 30, "").text, countdown.problem([9, 3, 7], 30, "").text, "numbers in another order"),
    ("Who  wrote\nit?", "who wrote it", "space, case and the mark at the end"),
    (f"{HEADER}What is 2 + 2?", "What is 2 + 2?", "our header"),
    (f"{HEADER}{PRODUCT}", PRODUCT.replace("12 by 34", "34 by 12"), "factors in another order"),
]
OTHER = [
    (countdown.problem([3, 7, 9], 30, "").text, countdown.problem([3, 7, 9], 31, "").text, "another target"),
    (countdown.problem([3, 7, 9], 30, "").text, countdown.problem([3, 7, 7, 9], 30, "").text, "one number more"),
    ("What is 2 + 2?", "What is 2 - 2?", "a sign"),
]


@pytest.mark.parametrize(("one", "other", "why"), SAME)
def test_questions_that_are_the_same_stand_on_one_side(one: str, other: str, why: str) -> None:
    assert identity_of(one) == identity_of(other), why
    assert side_of(7, one) == side_of(7, other), why


@pytest.mark.parametrize(("one", "other", "why"), OTHER)
def test_questions_that_differ_are_not_the_same(one: str, other: str, why: str) -> None:
    assert identity_of(one) != identity_of(other), why


@pytest.mark.parametrize(
    "task", [countdown.task("countdown_3arg", Ranges()), *LETTERS, *LONGMULT], ids=lambda one: one.name
)
def test_made_questions_are_told_by_their_facts(task: Drawn) -> None:
    """Two are the same here exactly where the task itself keeps them on one side of SFT and RL."""
    questions = task.evaluation(60, 0).sft
    identities = [identity_of(question.text) for question in questions]
    assert all(map(is_made, identities))
    families = [task.family(question) for question in questions]  # type: ignore[arg-type]
    pairs = [(a, b) for a in range(60) for b in range(a)]
    assert all((identities[a] == identities[b]) == (families[a] == families[b]) for a, b in pairs)


@pytest.mark.parametrize(
    ("words", "caps"),
    [
        (("3",), {"question": 3}),
        (("task=1000", "question=3", "variant=500"), {"task": 1000, "question": 3, "variant": 500}),
    ],
)
def test_reading_caps(words: tuple[str, ...], caps: dict[str, int]) -> None:
    assert read_caps(words) == caps


def test_reading_weights() -> None:
    assert read_weights(("countdown_3arg=0.5", "a=b=2", "c=.25")) == {"countdown_3arg": 0.5, "a=b": 2.0, "c": 0.25}
