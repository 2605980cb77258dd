"""What texts are taken to claim of given numbers and of the attempt before them, and what they must not be."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assembly.claims import denies_given, verdict_of
from assembly.phrases import PHRASES
from cluster.texts import load_table

NUMBERS = (3, 5, 5, 12)
ONCE = "(3 + 5) * 12"  # the answer where none is said


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("5 was not given.", ONCE),
        ("It uses 3, 5 and 12, and 5 was not given.", ONCE),
        ("so 12 is not in the list of numbers\n<verdict>Incorrect</verdict>", ONCE),
        ("The number 12 isn't one of the given numbers, so it fails.", ONCE),
        ("It uses 12, which was not given.", ONCE),
        ("The mistake: 12 was not provided", ONCE),
        ("26 is not 44, and 5 was not given", ONCE),
        ("As for the numbers 3 and 5, 5 was used too often.", ONCE),
        ("5 was used too often.", "5 * (5 + 3)"),  # twice, and twice given
        ("5 was used more often than given.", f"{ONCE} = 96"),
        ("12 was used too many times!", ONCE),
    ],
)
def test_denials_of_given_numbers_are_found(text: str, answer: str) -> None:
    assert denies_given(text, NUMBERS, answer)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("each was given.", ONCE),
        ("7 was not given.", ONCE),  # true
        (
            "15 was not given, and 2.5 was not given, and 1,5 was not given.",
            ONCE,
        ),  # other numbers that end on a given one
        ("-5 was not given and 3/5 was not given.", ONCE),
        ("3 + 5 was not given.", ONCE),  # the end of an expression
        ("x5 was not given.", ONCE),
        ("3 and 5 was not given.", ONCE),  # whatever that says of which
        ("Step 5 is not given.", ONCE),  # counted, not given
        ("line 12 is not in the list", ONCE),
        ("5 was not given twice.", ONCE),  # another claim
        ("5 was not given to me as such", ONCE),
        ("5 is not in the list that I made", ONCE),
        ("If 5 was not given, the answer is wrong.", ONCE),  # a condition
        ("I wonder whether 5 was not given.", ONCE),
        ("It says that 5 was not given.", ONCE),  # somebody else's
        ("It is not true that 5 was not given.", ONCE),
        ('"5 was not given"', ONCE),  # a quotation
        ("5 was not given?", ONCE),
        ("5 was given.", ONCE),
        ("5 was used too often.", "5 * 5 * 5"),  # true
        ("12 was used too often.", "12 + 12"),
        ("7 was used too often.", ONCE),  # not given: no such number is denied
        ("5 was used too often.", "5 + 5 = 10, 10 - 5 = 5"),  # steps: an operand may be an earlier result
        ("5 was used too often.", "5"),  # what it stands for was worked out elsewhere
        ("5 was used too often.", "five and so on"),
        ("5 was used too often.", "(" * 500 + "5"),
        ("5 was used too often to be an accident.", ONCE),
        ("5 was used.", ONCE),
        ("9" * 5000 + " was not given", ONCE),
        ("5 " * 5000 + "was not", ONCE),
    ],
)
def test_what_is_no_denial_of_a_given_number(text: str, answer: str) -> None:
    assert not denies_given(text, NUMBERS, answer)


@given(st.text(), st.lists(st.integers(0, 99)), st.text())
def test_a_denial_needs_a_number_that_was_given(text: str, numbers: list[int], answer: str) -> None:
    found = denies_given(f"{text} 5 was not given.", numbers, answer)
    assert not found or 5 in numbers or denies_given(text, numbers, answer)
    assert not denies_given(text, (), answer)


@pytest.mark.parametrize(
    ("phrase", "verdict"),
    [
        ("That looks right.", True),
        ("Not right yet.", False),  # the longer words first
        ("No mistakes, as far as I see.", True),
        ("That isn’t right.", False),
        ("THIS  IS\tWRONG", False),
        ("Once more.", None),
        ("That was right, no, wrong.", None),  # both
        ("All right, once more.", None),
        ("Let me correct it.", None),  # a verb
        ("Where is the right answer?", None),
        ("What went wrong, I wonder?", None),
        ("A rightful wrongdoer fails2", None),  # parts of other words
        ("", None),
    ],
)
def test_what_a_phrase_says_of_the_attempt_before_it(phrase: str, verdict: bool | None) -> None:
    assert verdict_of(phrase) is verdict


def test_no_phrase_of_ours_contradicts_the_verdict_before_it() -> None:
    told = {kind: {verdict_of(phrase) for phrase in PHRASES[kind]} for kind in ("generic", "correct", "incorrect")}
    assert told == {"generic": {None}, "correct": {True, None}, "incorrect": {False}}


def test_the_words_of_verdicts_are_each_in_one_list_and_as_they_are_looked_for() -> None:
    table = load_table("assembly", "verdict_words.toml")
    assert [*table] == ["right", "wrong", "neither"]
    words = list(itertools.chain(*table.values()))
    assert len(set(words)) == len(words)
    assert [word for word in words if word != " ".join(word.lower().split())] == []
