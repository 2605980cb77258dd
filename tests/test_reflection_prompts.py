"""The mutated reflection prompts: several, alike up to the sample, and none that gives the answer away."""

from __future__ import annotations

import random
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflection.prompts import PROMPTS, draw, messages
from reflection.verdict import parse_verdict
from tests.countdown_questions import question_of

QUESTION = question_of("countdown_3arg", [8, 3, 1], 25, "(8 * 3) + 1", source="here")
SAMPLE = "I try 8 + 3 + 1.\n<answer>8 + 3 + 1</answer>"


def chat(name: str, sample: str = SAMPLE) -> str:
    (message,) = messages(name, QUESTION.text, sample)
    assert message["role"] == "user"
    return message["content"]


def test_there_are_at_least_four_different_ones() -> None:
    assert len(PROMPTS) >= 4
    asked = {chat(name).partition("# Task\n")[2] for name in PROMPTS}
    assert len(asked) == len(PROMPTS)
    assert all(re.fullmatch("[a-z_]{3,30}", name) for name in PROMPTS), "names go into rows"


def test_all_share_their_beginning_to_the_end_of_the_sample() -> None:
    """The engine computes it once."""
    chats = [chat(name) for name in PROMPTS]
    differing = next(place for place, letters in enumerate(zip(*chats, strict=False)) if len(set(letters)) > 1)
    begun = chats[0][:differing]
    assert QUESTION.text in begun
    assert begun.index(QUESTION.text) < begun.index(SAMPLE)


@pytest.mark.parametrize("name", PROMPTS)
def test_the_verdict_is_asked_last(name: str) -> None:
    _, _, task = chat(name).partition(SAMPLE)
    assert task.count("<verdict>Correct</verdict>") == task.count("<verdict>Incorrect</verdict>") == 1
    last = task.rstrip().splitlines()[-1]
    assert last.index("<verdict>Correct</verdict>") < last.index("<verdict>Incorrect</verdict>")
    assert len(last.partition("<verdict>Incorrect</verdict>")[2]) < 30


@pytest.mark.parametrize("name", PROMPTS)
def test_no_prompt_knows_the_answer(name: str) -> None:
    assert QUESTION.answer not in chat(name)
    assert "hint" not in chat(name).lower()
    assert "{" not in chat(name), "a name was not filled in"


@pytest.mark.parametrize("name", PROMPTS)
@given(st.one_of(st.text(), st.sampled_from(["{question}", "{sample} {nobody} {", "\\1 \\g<0> %s $x", "# Task\n"])))
def test_a_sample_is_text_whatever_it_holds(name: str, sample: str) -> None:
    head, _, tail = PROMPTS[name].partition("{sample}")
    assert chat(name, sample) == head.replace("{question}", QUESTION.text) + sample + tail


def test_a_prompt_read_as_a_reflection_gives_the_last_verdict() -> None:
    """A model that repeats its prompt has a verdict: the one shown last. Known, and the same under each prompt."""
    assert {parse_verdict(chat(name)) for name in PROMPTS} == {False}


@given(st.integers(0, 40), st.integers())
def test_a_draw_repeats_none_while_they_last(count: int, seed: int) -> None:
    drawn = draw(count, random.Random(seed))
    assert len(drawn) == count
    assert set(drawn) <= set(PROMPTS)
    used = Counter(drawn)
    assert len(used) == min(count, len(PROMPTS))
    assert max(used.values(), default=0) - min(used.values(), default=0) <= 1 or count < len(PROMPTS)
    assert draw(count, random.Random(seed)) == drawn


def test_draws_spread() -> None:
    """Over many samples each prompt is as often first, or second, as any other."""
    drawn = [draw(2, random.Random(f"spread/{number}")) for number in range(3000)]
    for place in (0, 1):
        used = Counter(names[place] for names in drawn)
        share = 3000 / len(PROMPTS)
        assert all(0.8 * share < used[name] < 1.2 * share for name in PROMPTS), used
