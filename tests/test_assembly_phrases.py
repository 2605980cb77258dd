"""The phrases: enough of each kind, each of its own, none that would break or give away a trace."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable

import pytest

from assembly.phrases import PHRASES, glue_after
from assembly.rendering import Trace, TraceStep, render
from tests.trace_texts import parse

ALL = [(kind, phrase) for kind, phrases in PHRASES.items() for phrase in phrases]


@pytest.mark.parametrize(
    ("kind", "least"),
    [("generic", 11), ("correct", 14), ("incorrect", 14), ("ending", 7), ("backtrack", 9), ("confirm", 7)],
)
def test_there_are_at_least_as_many_as_published(kind: str, least: int) -> None:
    assert len(PHRASES[kind]) >= least


def test_no_phrase_stands_twice_in_any_spelling() -> None:
    spelled = [re.sub(r"\W+", " ", phrase).lower().strip() for _, phrase in ALL]
    assert len(set(spelled)) == len(spelled)


RULES: dict[str, Callable[[str, str], bool]] = {
    "space around it": lambda kind, phrase: phrase == phrase.strip(),
    "no capital": lambda kind, phrase: phrase[0].isupper(),
    "a tag, a name to be filled in, or a line break": lambda kind, phrase: not re.search(r"[<>{}\n]", phrase),
    "a trace must not speak of the hint": lambda kind, phrase: "hint" not in phrase.lower(),
    "an open end would run into the next part": lambda kind, phrase: phrase[-1] in ".:?",
    # a missing comma in a list of texts welds two of them: no space after the full stop
    "welded": lambda kind, phrase: not re.search(r"[.:?!]\w", phrase),
    "more than two sentences": lambda kind, phrase: len(re.findall(r"[.:?!]", phrase)) <= 2,
    "long": lambda kind, phrase: len(phrase) < 100,
    "an ending introduces the answer": lambda kind, phrase: (kind == "ending") <= phrase.endswith(":"),
}


def test_a_phrase_is_one_plain_sentence_or_two() -> None:
    broken = [(phrase, rule) for kind, phrase in ALL for rule, holds in RULES.items() if not holds(kind, phrase)]
    assert broken == []


def test_no_phrase_holds_a_sentence_of_another() -> None:
    held = [
        (one, other) for one, other in itertools.permutations(ALL, 2) if other[1].rstrip(".:").lower() in one[1].lower()
    ]
    assert held == []


@pytest.mark.parametrize(("was_correct", "kinds"), [(True, ("correct", "generic")), (False, ("incorrect", "generic"))])
def test_glue_fits_the_attempt_before_it(was_correct: bool, kinds: tuple[str, str]) -> None:
    assert glue_after(was_correct) == PHRASES[kinds[0]] + PHRASES[kinds[1]]


def test_glue_says_nothing_of_correctness_where_no_reflection_has() -> None:
    assert glue_after(None) == PHRASES["generic"]


def test_every_phrase_survives_the_way_back() -> None:
    lost = []
    for kind, phrase in ALL:
        glue = phrase if kind in ("generic", "correct", "incorrect") else "Again."
        review = (phrase,) if kind in ("backtrack", "confirm") else ()
        ending = phrase if kind == "ending" else "So:"
        trace = Trace((TraceStep("a", "b"), TraceStep("c", "d")), (glue,), ending, "7", review)
        lost += [] if parse(render(trace)) == trace else [phrase]
    assert lost == []
