"""The seven formats: golden traces from hand-made rows, what each needs, and what chance may not touch."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assembly.candidates import FRAME_TAG, FRAMED_REFLECTION, HINT, NO_REFLECTION, UNDECIDED, UNQUOTABLE
from assembly.formats import (
    FORMATS,
    TOO_FEW,
    TOO_FEW_CORRECT,
    TOO_FEW_INCORRECT,
    Attempts,
    choose_formats,
    read_attempts,
)
from assembly.rendering import TraceStep
from assembly.traces import assemble_question
from generation.records import CUT, NO_ANSWER
from tests.assembly_rows import (
    RIGHT,
    WRONG,
    RawRow,
    left_out_of,
    made_of,
    no_answer,
    pooled,
    raw_row,
    retry_row,
    settings,
)
from tests.trace_texts import parse

ROWS = [raw_row("five", False), raw_row("six", False), raw_row("seven", True), raw_row("sept", True)]
SAID = f"3 + 4 is not 8. {WRONG}"
RETRY = retry_row("So it is seven.", True, "3 + 4 = 8. That is it.\n<answer>8</answer>", SAID)
GOLDEN = Path(__file__).with_name("golden") / "traces.txt"


def _texts(rows: Sequence[RawRow], name: str, attempts: int, seed: int = 0) -> list[str]:
    return [made.text for made in made_of(rows, settings(name, attempts=str(attempts), seed=seed)).made]


def test_each_format_gives_its_golden_trace() -> None:
    """The longest trace of each format, to the letter: layout, choice, phrases and final answer."""
    shown = [f"##### {name}\n{_texts([*ROWS, RETRY], name, 3)[-1]}\n" for name in FORMATS]
    if os.environ.get("SKILLFACTORY_GOLDEN") == "write":
        GOLDEN.write_text("".join(shown), encoding="utf-8")
    assert "".join(shown) == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("0C", ["0C"]),
        ("*C", ["3C"]),
        ("*C_full", ["1C", "2C", "3C"]),
        ("I*C", ["1IC", "2IC", "3IC"]),
        ("*C*IC", ["*C*IC"]),
        ("*CC", ["*CC"]),
        ("random", ["random"] * 3),
        ("no_reflection", ["no_reflection"] * 3),
        ("star", ["star"] * 2),
    ],
)
def test_labels_are_the_published_ones(name: str, labels: list[str]) -> None:
    assert [made.label for made in made_of(ROWS, settings(name)).made] == labels


ONE_RIGHT = [raw_row("five", False), raw_row("six", False), raw_row("seven", True)]
ALL_RIGHT = [raw_row("7", True), raw_row("seven", True), raw_row("sept", True)]
ALL_WRONG = [raw_row("5", False), raw_row("five", False), raw_row("six", False)]


@pytest.mark.parametrize(
    ("name", "rows", "reason"),
    [
        ("0C", ONE_RIGHT[2:], None),  # needs one attempt, whatever N is
        ("0C", ALL_WRONG, TOO_FEW_CORRECT),
        ("0C", [], TOO_FEW),
        ("*C", ONE_RIGHT, None),
        ("*C", ONE_RIGHT[1:], TOO_FEW),
        ("*C_full", ONE_RIGHT[1:], TOO_FEW),  # also its shorter traces, as published
        ("*C_full", ALL_WRONG, TOO_FEW_CORRECT),
        ("I*C", ONE_RIGHT, None),
        ("I*C", ONE_RIGHT[1:], TOO_FEW),
        ("I*C", ALL_WRONG, TOO_FEW_CORRECT),
        ("*C*IC", ONE_RIGHT, None),
        ("*C*IC", ALL_RIGHT, TOO_FEW_INCORRECT),  # crashed the published script
        ("*C*IC", ALL_WRONG, TOO_FEW_CORRECT),
        ("*CC", ALL_RIGHT, None),
        ("*CC", ONE_RIGHT, TOO_FEW_CORRECT),
        ("random", ONE_RIGHT, None),
        ("random", ALL_WRONG, TOO_FEW_CORRECT),  # the published pool asks for one
        ("no_reflection", ONE_RIGHT, None),
        ("no_reflection", ONE_RIGHT[1:], TOO_FEW),
    ],
)
def test_what_a_question_cannot_give_is_counted(name: str, rows: list[RawRow], reason: str | None) -> None:
    # the unusable row keeps the question in being where no other row is left
    rows = [*rows, no_answer("eh")]
    made = assemble_question(pooled(rows), [FORMATS[name]], settings(name))
    assert made.not_given == (() if reason is None else ((name, reason),))
    assert bool(made.made) is (reason is None)
    assert left_out_of(rows) == {NO_ANSWER: 1}


@pytest.mark.parametrize(("attempts", "labels"), [("4", ["1IC", "2IC"]), ("2-4", ["2IC"]), ("3-4", [])])
def test_a_trace_that_stops_at_the_first_correct_attempt_is_as_long_as_wrong_ones_last(
    attempts: str, labels: list[str]
) -> None:
    rows = [raw_row(text, True) for text in ("7", "seven", "sept")] + [raw_row("five", False)]
    made = made_of(rows, settings("I*C", attempts=attempts))
    assert [one.label for one in made.made] == labels
    assert [[one.correct for one in trace.attempts] for trace in made.made] == [
        [False] * (int(label[0]) - 1) + [True] for label in labels
    ]
    assert made.not_given == (("I*C", TOO_FEW_INCORRECT),)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"outcome": "unknown", "is_correct": None, "reason": "out of bounds"}, UNDECIDED),
        ({"outcome": "unknown", "is_correct": False, "reason": NO_ANSWER}, NO_ANSWER),
        ({"outcome": "unknown", "is_correct": False, "reason": CUT}, CUT),
        ({"mentions_hint": True}, HINT),
        ({"response": "seven</sample>"}, FRAME_TAG),
        ({"response": "<THINK> seven"}, FRAME_TAG),
        ({"extracted_answer": None}, UNQUOTABLE),
        ({"extracted_answer": " \n"}, UNQUOTABLE),
        ({"extracted_answer": "7<answer>"}, UNQUOTABLE),
        ({"reflections": ()}, NO_REFLECTION),
        ({"reflections": (WRONG,)}, NO_REFLECTION),  # calls a right sample wrong
        ({"reflections": ("no verdict",)}, NO_REFLECTION),
        ({"reflections": (f"{RIGHT} no, {WRONG}",)}, NO_REFLECTION),  # the last verdict counts
        ({"reflections": (f"</reflect> {RIGHT}",)}, FRAMED_REFLECTION),  # it has the right verdict, and cannot be shown
        ({"reflections": (f"</reflect> {WRONG}",)}, NO_REFLECTION),
    ],
)
def test_what_may_stand_in_no_trace_is_left_out_and_counted(changes: dict[str, Any], reason: str) -> None:
    rows = [raw_row("seven", True), raw_row("other", True)._replace(**changes)]
    assert [candidate.response for candidate in pooled(rows).candidates] == ["seven"]
    assert left_out_of(rows) == {reason: 1}


@pytest.mark.parametrize(
    "changes",
    [
        {"response": "so <answer>7</answer>"},  # every sample is asked for the tag
        {"cut": True},  # the answer was there before the cut
        {"reflections": (f"{WRONG} no, {RIGHT}", "an idea, and fast", WRONG)},  # one valid one is enough
        {"variant": None},  # a repository without variants
    ],
)
def test_what_must_not_be_left_out(changes: dict[str, Any]) -> None:
    assert not left_out_of([raw_row("seven", True)._replace(**changes)])


def test_only_right_reflections_are_kept() -> None:
    rows = [raw_row("seven", True, reflections=(f"a {RIGHT}", f"b {WRONG}", "c", f"d {RIGHT}"))]
    assert list(pooled(rows).candidates[0].reflections) == [f"a {RIGHT}", f"d {RIGHT}"]


def test_two_samples_of_the_same_text_are_two() -> None:
    assert len(pooled([raw_row("7", True), raw_row("7", True)]).candidates) == 2


POOLS = st.lists(st.booleans(), min_size=5, max_size=9).filter(lambda kinds: sum(kinds) > 1 and not all(kinds))
FRAMED = sorted(set(FORMATS) - {"star", "algorithm1", "retry", "cut"})


@given(POOLS, st.sampled_from(FRAMED), st.integers(2, 5), st.integers(), st.randoms())
def test_every_trace_keeps_its_formats_promises(
    kinds: list[bool], name: str, attempts: int, seed: int, shuffled: Random
) -> None:
    rows = [raw_row(f"text {place}", correct) for place, correct in enumerate(kinds)]
    correct = {row.response: row.is_correct for row in rows}
    format_, wanted_settings = FORMATS[name], settings(name, attempts=str(attempts), seed=seed)
    made = made_of(rows, wanted_settings)
    counts = {"one": [1], "all": [attempts], "each": range(1, attempts + 1)}[format_.lengths]
    longest = 1 + kinds.count(False) if name == "I*C" else attempts
    for one, count in zip(made.made, [count for count in counts if count <= longest], strict=True):
        trace = parse(one.text)
        assert trace == one.trace
        assert len(trace.steps) == count
        assert len({step.response for step in trace.steps}) == count, "an attempt stands twice"
        ends = tuple(correct[step.response] for step in trace.steps)[-len(format_.last) :]
        assert all(wanted in (None, end) for wanted, end in zip(format_.last, ends, strict=True))
        right = [step.response for step in trace.steps if correct[step.response]]
        assert name != "I*C" or len(right) == 1
        assert trace.answer == (right if name == "*C*IC" else [trace.steps[-1].response])[-1]
        assert all((step.reflection is None) is (name == "no_reflection") for step in trace.steps)
    shuffled.shuffle(rows)
    assert made_of(rows, wanted_settings) == made, "the order of rows changed a trace"


@given(POOLS, st.integers(1, 6), st.integers())
def test_algorithm_1_uses_the_correct_attempts_up(kinds: list[bool], most: int, seed: int) -> None:
    """The paper's Algorithm 1: every correct attempt once, and more of them than incorrect ones in each trace."""
    rows = [raw_row(f"text {place}", correct) for place, correct in enumerate(kinds)]
    made = made_of(rows, settings("algorithm1", attempts=str(most), seed=seed)).made
    used = [one.response for trace in made for one in trace.attempts]
    assert len(used) == len(set(used))
    assert {row.response for row in rows if row.is_correct} <= set(used)
    for one in made:
        right = [attempt.correct for attempt in one.attempts]
        assert right[-1]
        assert sum(right) > len(right) - sum(right)
        assert sum(right) <= most


def test_star_is_every_correct_sample_as_it_is() -> None:
    """The STaR baseline needs no reflection either."""
    rows = [*ROWS, raw_row("VII", True, reflections=[]), raw_row("IX", False, reflections=[])]
    made = made_of(rows, settings("star")).made
    assert sorted(one.text for one in made) == ["VII", "sept", "seven"]
    assert made_of(ALL_WRONG, settings("star")).not_given == (("star", TOO_FEW_CORRECT),)


def test_a_trace_does_not_depend_on_the_other_formats_asked_for() -> None:
    alone = made_of(ROWS, settings("*CC")).made
    among_all = made_of(ROWS, settings(*FORMATS)).made
    assert alone == tuple(one for one in among_all if one.format == "*CC")


def test_another_seed_or_question_draws_another_trace() -> None:
    other = [row._replace(question_key="q2") for row in ROWS]
    texts = [_texts(ROWS, "*C", 4), _texts(ROWS, "*C", 4, seed=1), _texts(other, "*C", 4)]
    assert all(first != second for first, second in itertools.combinations(texts, 2))


def test_every_usable_attempt_and_phrase_kind_turns_up() -> None:
    seen = Counter(text for seed in range(40) for text in _texts(ROWS, "random", 1, seed))
    assert {parse(text).steps[0].response for text in seen} == {"five", "six", "seven", "sept"}


def test_the_reflection_of_the_trace_is_drawn_among_the_right_ones() -> None:
    rows = [raw_row("7", True, reflections=(f"a {RIGHT}", f"b {RIGHT}", WRONG))]
    drawn = {parse(_texts(rows, "0C", 1, seed)[0]).steps for seed in range(20)}
    assert drawn == {(TraceStep("7", f"a {RIGHT}"),), (TraceStep("7", f"b {RIGHT}"),)}


@pytest.mark.parametrize(
    ("names", "attempts", "message"),
    [
        (
            ["*D"],
            "5",
            r"unknown format \*D; known are 0C, \*C, \*C_full, .*, algorithm1, star, retry, cut",
        ),
        ([], "5", "unknown format"),
        (["*C"], "0", "--attempts must be a number such as 5, or a range"),
        (["*C", "*CC"], "1-4", r"format \*CC needs at least 2"),
        (["*C*IC"], "1", r"format \*C\*IC needs at least 2"),
    ],
)
def test_wrong_settings_are_refused_by_name(names: list[str], attempts: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        choose_formats(names, read_attempts(attempts))


def test_a_format_named_twice_is_made_once() -> None:
    assert choose_formats(["0C", "*C", "0C"], Attempts(None, 1)) == (FORMATS["0C"], FORMATS["*C"])
