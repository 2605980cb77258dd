"""Skills by words: which texts show which, and that the time is linear."""

from __future__ import annotations

import time

import pytest

from generation.evaluation.skills import PHRASES, skills_in

TEXTS = [
    ("The answer is 4.", ""),
    ("Let me check: 2 + 2 = 4.", "v"),
    ("LET  ME\nCHECK this", "v"),
    ("Now I double-check it.", "v"),
    ("Let’s verify.", "v"),
    ("The verifications", ""),
    ("Wait, 2 + 3 is 5.", "b"),
    ("We wait for the train; I await, as you do.", ""),
    ("That's not right.", "b"),
    ("That’s not right.", "b"),
    ("Hold on. Let me verify that.", "vb"),
    ("Let's start over.", "r"),
    ("Alternatively, take 7.", "r"),
    ("an alternatively-spelled word", "r"),
    ("Try another one", "r"),
    ("Upstart over there", ""),
    ("Wait... let me check. No. Another approach:", "vbr"),
    ("", ""),
    ("wait", ""),
    ("hold on", "b"),
]


@pytest.mark.parametrize(("text", "skills"), TEXTS)
def test_which_texts_show_which_skills(text: str, skills: str) -> None:
    assert skills_in(text) == ("v" in skills, "b" in skills, "r" in skills)


def test_each_phrase_of_the_table_is_found_by_itself_and_needed() -> None:
    """A phrase that holds another of its list would never decide anything."""
    for place, phrases in enumerate(PHRASES):
        assert len(set(phrases)) == len(phrases) >= 10
        for phrase in phrases:
            assert skills_in(f"so {phrase} it is")[place], phrase
            assert skills_in(phrase.upper())[place], phrase
            assert not [other for other in phrases if other != phrase and f" {other} " in f" {phrase} "], phrase


@pytest.mark.parametrize("piece", ["let me ", "wait", " ", "\n", "xwait,", "start overx ", "é’"])
def test_time_is_linear_in_the_text(piece: str) -> None:
    def seconds(times: int) -> float:
        began = time.process_time()
        skills_in(piece * times)
        return time.process_time() - began

    seconds(1000)
    assert seconds(400_000) < 40 * max(seconds(40_000), 0.01)
