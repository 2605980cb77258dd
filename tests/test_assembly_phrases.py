"""The phrases: enough of each kind, each of its own, none that would break or give away a trace."""

from __future__ import annotations

import dataclasses
import re

import pytest

from assembly.traces import Review, Step, Trace, load_phrases, render
from tests.trace_texts import parse

PHRASES = load_phrases()
KINDS = {field.name: getattr(PHRASES, field.name) for field in dataclasses.fields(PHRASES)}
ALL = [(kind, phrase) for kind, phrases in KINDS.items() for phrase in phrases]


@pytest.mark.parametrize(
    ("kind", "least"),
    [("generic", 11), ("correct", 14), ("incorrect", 14), ("ending", 7), ("backtrack", 9), ("confirm", 7)],
)
def test_there_are_at_least_as_many_as_published(kind: str, least: int) -> None:
    assert len(KINDS[kind]) >= least


def test_no_phrase_stands_twice_in_any_spelling() -> None:
    spelled = [re.sub(r"\W+", " ", phrase).lower().strip() for _, phrase in ALL]
    assert len(set(spelled)) == len(spelled)


@pytest.mark.parametrize(("kind", "phrase"), ALL)
def test_a_phrase_is_one_plain_sentence_or_two(kind: str, phrase: str) -> None:
    assert phrase == phrase.strip()
    assert phrase[0].isupper()
    assert not re.search(r"[<>{}\n]", phrase), "a tag, a name to be filled in, or a line break"
    assert "hint" not in phrase.lower(), "a trace must not speak of the hint"
    assert phrase[-1] in ".:?", "an open end would run into the next part"
    # a missing comma in a list of texts welds two of them: no space after the full stop
    assert not re.search(r"[.:?!]\w", phrase)
    assert len(re.findall(r"[.:?!]", phrase)) <= 2
    assert len(phrase) < 100
    assert (kind == "ending") <= phrase.endswith(":"), "an ending introduces the answer"


@pytest.mark.parametrize(("kind", "phrase"), ALL)
def test_no_phrase_holds_a_sentence_of_another(kind: str, phrase: str) -> None:
    others = [other for of, other in ALL if (of, other) != (kind, phrase)]
    assert not [other for other in others if other.rstrip(".:").lower() in phrase.lower()]


@pytest.mark.parametrize(("was_correct", "kinds"), [(True, ("correct", "generic")), (False, ("incorrect", "generic"))])
def test_glue_fits_the_attempt_before_it(was_correct: bool, kinds: tuple[str, str]) -> None:
    assert PHRASES.glue(was_correct) == KINDS[kinds[0]] + KINDS[kinds[1]]


def test_glue_says_nothing_of_correctness_where_no_reflection_has() -> None:
    assert PHRASES.glue(None) == PHRASES.generic


@pytest.mark.parametrize(("kind", "phrase"), ALL)
def test_every_phrase_survives_the_way_back(kind: str, phrase: str) -> None:
    glue = phrase if kind in ("generic", "correct", "incorrect") else "Again."
    review = Review(phrase) if kind in ("backtrack", "confirm") else None
    ending = phrase if kind == "ending" else "So:"
    trace = Trace((Step("a", "b"), Step("c", "d")), (glue,), ending, "7", review)
    assert parse(render(trace)) == trace
