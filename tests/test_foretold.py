"""What formats will give, foretold: by the assembly's own rules, from few samples of each question."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assembly.candidates import Candidate, QuestionSamples
from assembly.foretold import foretell, traces_of
from assembly.formats import FORMATS, read_attempts
from assembly.settings import SftSettings
from assembly.traces import assemble_question


def _asked(right: int, wrong: int, alone: int) -> QuestionSamples:
    def some(count: int, *, correct: bool) -> tuple[Candidate, ...]:
        return tuple(Candidate("", f"{correct} {n}", correct, "7", ["So it is."], False) for n in range(count))

    usable = tuple(sorted((*some(right, correct=True), *some(wrong, correct=False))))
    lone = tuple(Candidate("", f"alone {n}", True, "7", [], False) for n in range(alone))
    return QuestionSamples("key", "A question.", "", usable, lone)


@given(
    st.sampled_from(sorted(set(FORMATS) - {"algorithm1", "retry", "cut"})),
    st.integers(0, 8),
    st.integers(0, 8),
    st.integers(0, 3),
    st.sampled_from(("1", "2", "3", "5", "2-4")),
)
def test_traces_are_counted_as_the_assembly_makes_them(
    name: str, right: int, wrong: int, alone: int, attempts: str
) -> None:
    format_, bounds = FORMATS[name], read_attempts(attempts)
    if format_.lengths == "all" and bounds.fewest < format_.shortest:
        return
    made = assemble_question(_asked(right, wrong, alone), [format_], SftSettings((name,), attempts)).made
    assert traces_of(format_, (right, wrong, alone), bounds) == len(made)


def test_algorithm_1_is_counted_on_average() -> None:
    format_, bounds = FORMATS["algorithm1"], read_attempts("3")
    made = [
        len(assemble_question(_asked(9, 4, 0), [format_], SftSettings(("algorithm1",), "3", seed)).made)
        for seed in range(400)
    ]
    assert traces_of(format_, (9, 4, 0), bounds) == pytest.approx(np.mean(made), abs=0.15)


def test_questions_that_have_all_their_samples_give_what_they_give() -> None:
    """Every other question serves *C with 3 attempts."""
    cells = [(2, 1, 0, 0), (0, 3, 0, 0)] * 20
    (told,) = foretell(cells, 3, 40, [FORMATS["*C"]], read_attempts("3"), seed=0)
    low, high = told.share.ends
    assert told.share.value == pytest.approx(0.5, abs=0.03)
    assert 0.3 < low < 0.5 < high < 0.7
    assert told.traces.value == pytest.approx(40 * told.share.value)


@pytest.mark.parametrize(("mean", "spread"), [(0.3, 1.0), (0.5, 3.0), (0.1, 0.5)])
@pytest.mark.parametrize("name", ["*C_full", "*C*IC", "star"])
def test_ranges_hold_what_comes_of_more_samples(mean: float, spread: float, name: str) -> None:
    """Two samples under each of four variants are seen, of 40 of 400 questions; each will have 32."""
    rng = np.random.default_rng(11)
    bounds, format_, held, trials = read_attempts("5"), FORMATS[name], 0, 20
    for trial in range(trials):
        chances = rng.beta(mean * spread, (1 - mean) * spread, 400)
        seen = rng.binomial(8, chances[:40])
        whole = np.concatenate([seen + rng.binomial(24, chances[:40]), rng.binomial(32, chances[40:])])
        truth = sum(traces_of(format_, (int(right), int(32 - right), 0), bounds) for right in whole)
        cells = [(int(right), int(8 - right), 0, 0) for right in seen]
        (told,) = foretell(cells, 32, 400, [format_], bounds, seed=trial)
        low, high = told.traces.ends
        held += low <= truth <= high
    assert held / trials >= 0.75


def test_more_samples_than_there_will_be_are_drawn_from() -> None:
    (told,) = foretell([(4, 4, 0, 0)] * 10, 1, 10, [FORMATS["0C"]], read_attempts("5"), seed=0)
    assert told.share.value == pytest.approx(0.5, abs=0.05)
