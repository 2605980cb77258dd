"""What a researcher may ask of the assembly beside a format: which samples, how unlike, how many, how long."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from assembly.candidates import OTHER_VARIANT, has_frame_tag
from assembly.formats import FORMATS, TOO_ALIKE
from assembly.traces import similarity
from generation.records import CUT, NO_ANSWER
from reflection.verdict import parse_verdict
from tests.assembly_rows import RIGHT, WRONG, left_out_of, made_of, no_answer, pooled, raw_row, settings

ROWS = [raw_row("five", False), raw_row("six", False), raw_row("seven", True), raw_row("sept", True)]
FRAMED = sorted(set(FORMATS) - {"star", "algorithm1", "retry", "cut"})


def test_a_range_of_attempts_draws_a_length_and_leaves_out_the_shorter_ones() -> None:
    drawn = {one.label for seed in range(40) for one in made_of(ROWS, settings("*C", attempts="2-4", seed=seed)).made}
    assert drawn == {"2C", "3C", "4C"}
    assert [one.label for one in made_of(ROWS, settings("*C_full", attempts="2-4")).made] == ["2C", "3C", "4C"]
    few = [made_of(ROWS[1:], settings("*C", attempts="2-9", seed=seed)).made for seed in range(20)]
    assert {one.label for made in few for one in made} == {"2C", "3C"}


def test_repeats_are_drawn_anew_and_never_the_same_twice() -> None:
    many = made_of(ROWS, settings("*C", repeats=5)).made
    assert len({one.text for one in many}) == len(many) == 5
    assert many[0] == made_of(ROWS, settings("*C")).made[0]
    few = made_of([raw_row("seven", True)], settings("0C", repeats=300)).made
    assert len(few) == len({one.text for one in few}) < 300  # as many as there are endings


def test_attempts_of_one_trace_under_different_variants() -> None:
    rows = [raw_row(f"{name} {n}", n == 0, variant=name) for name in ("a", "b", "c") for n in range(4)]
    for seed in range(20):
        (one,) = made_of(rows, settings("*C", attempts="3", seed=seed, unique_variants=True)).made
        assert sorted(attempt.variant for attempt in one.attempts) == ["a", "b", "c"]
    assert made_of(rows, settings("*C", attempts="4", unique_variants=True)).not_given == (("*C", TOO_ALIKE),)


def test_attempts_of_one_trace_are_not_near_copies() -> None:
    first, second = "one two three four five six", "One two  three four five six seven"
    rows = [raw_row(first, True), raw_row(second, False), raw_row("something else altogether", False)]
    assert similarity(first, second) == 4 / 5
    for seed in range(20):
        (one,) = made_of(rows, settings("*C", attempts="2", seed=seed, max_similarity=0.7)).made
        assert [attempt.response for attempt in one.attempts] == ["something else altogether", first]
    assert made_of(rows[:2], settings("*C", attempts="2", max_similarity=0.7)).not_given == (("*C", TOO_ALIKE),)
    assert made_of(rows[:2], settings("*C", attempts="2", max_similarity=0.8)).made


def test_samples_are_chosen_by_variant_cut_and_answer() -> None:
    rows = [
        raw_row("seven", True),
        raw_row("sept", True, variant="plan"),
        raw_row("VII", True, cut=True),
        no_answer("eh")._replace(reflections=[WRONG]),
    ]
    for wanted, kept, left_out in [
        (settings("*C", variants=("plan",)), {"sept"}, {OTHER_VARIANT: 3}),
        (settings("*C", drop_cut=True), {"seven", "sept"}, {CUT: 1, NO_ANSWER: 1}),
        (settings("*C", keep_unanswered=True), {"seven", "sept", "VII", "eh"}, {}),
    ]:
        assert {one.response for one in pooled(rows, wanted).candidates} == kept
        assert left_out_of(rows, wanted) == left_out


def test_an_unanswered_attempt_never_gives_the_final_answer() -> None:
    rows = [raw_row("seven", True), *(no_answer(f"eh {n}")._replace(reflections=[WRONG]) for n in range(4))]
    wanted = [settings(*FRAMED, seed=seed, keep_unanswered=True, attempts="2") for seed in range(20)]
    made = [one for each in wanted for one in made_of(rows, each).made]
    assert {one.trace.answer for one in made if one.trace} == {"seven"}
    assert any("eh" in one.text for one in made)


def test_reflections_with_false_arithmetic_are_left_out_when_asked() -> None:
    texts = [f"3 + 4 = 7 {RIGHT}", f"3 + 4 = 8 {RIGHT}", f"fine {RIGHT}"]
    rows = [raw_row("seven", True, reflections=texts)]
    assert list(pooled(rows).candidates[0].reflections) == texts
    (kept,) = pooled(rows, settings("*C", true_arithmetic=True)).candidates
    assert list(kept.reflections) == [texts[0], texts[2]]


PIECES = ["<verdict>", "</verdict>", "Correct", "incorrect", " ", "<VERDICT>", "x", "<", "/", "thin", "k>", "<thin"]
PIECES += ["\u212a>", "\u017fample>"]  # letters that case folding makes k and s
TEXTS = st.lists(st.sampled_from(PIECES))


@given(st.lists(TEXTS.map("".join), max_size=6), st.booleans())
def test_columns_are_judged_as_each_text_alone(reflections: list[str], correct: bool) -> None:
    asked = pooled([raw_row("seven", correct, reflections=reflections), raw_row("sept", True)])
    expected = [text for text in reflections if parse_verdict(text) is correct and not has_frame_tag(text)]
    found = [list(one.reflections) for one in asked.candidates if one.response == "seven"]
    assert found == ([expected] if expected else [])
