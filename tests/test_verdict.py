"""From a reflection to its verdict: traps first, a reason beside each."""

from __future__ import annotations

import time

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflection.verdict import parse_verdict, parse_verdicts


@pytest.mark.parametrize(
    ("text", "verdict", "why"),
    [
        ("", None, "nothing"),
        ("It is correct.", None, "said, but not in the tag"),
        ("<verdict>Correct", None, "unclosed"),
        ("Correct</verdict>", None, "never opened"),
        ("</verdict>Correct<verdict>", None, "closed before it is opened"),
        ("<verdict></verdict>", None, "empty"),
        ("<verdict> ** </verdict>", None, "marks only"),
        ("<verdict>Correct or Incorrect</verdict>", None, "both, as a prompt shows it"),
        ("<verdict>Not correct</verdict>", None, "a sentence is not read"),
        ("<verdict>in correct</verdict>", None, "not one word"),
        ("<verdict>Correct?</verdict>", None, "asked, not said"),
        ("<verdict>correct incorrect</verdict>", None, "both"),
        ("<verdict>right</verdict>", None, "another word"),
        ("<verdict>True</verdict>", None, "another word"),
        ("<verdict>Correctly</verdict>", None, "begins alike"),
        ("<verdict>...correct</verdict>", None, "punctuation ahead is not trailing"),
        ("<verdict>сorrect</verdict>", None, "a Cyrillic letter that looks the same"),
        ("<verdict>Correct</verdict> <verdict>unsure</verdict>", None, "the last cannot be read: no falling back"),
        ("<verdict>Correct</verdict> <verdict></verdict>", None, "the last is empty"),
        ("<verdict>Correct</verdict> wait <verdict>Incorr", None, "reopened and cut: it had not made up its mind"),
        ("<verdict>Correct</verdict><verdict>", None, "reopened"),
        ("<verdict >Correct</verdict>", None, "another tag"),
        ("<verdict>Correct</ verdict>", None, "another tag"),
        ("<verdict>Correct</verdict>", True, "plain"),
        ("<verdict>Incorrect</verdict>", False, "plain; holds the word correct"),
        ("<verdict>Correct</verdict> no: <verdict>Incorrect</verdict>", False, "the last, not the first"),
        ("<verdict>Incorrect</verdict> no: <verdict>Correct</verdict>", True, "the last, not the first"),
        ("<verdict>unsure</verdict> <verdict>Correct</verdict>", True, "an unreadable one before it is past"),
        ("<verdict><verdict>Correct</verdict></verdict>", True, "nested"),
        ("<verdict>Incorrect <verdict>Correct</verdict>", True, "opened twice: the innermost"),
        ("<verdict>Correct</verdict></verdict>", True, "closed twice"),
        ("<VERDICT>CORRECT</Verdict>", True, "any case"),
        ("<verdict>\n  incorrect\n</verdict>", False, "on a line of its own"),
        ("<verdict>Correct.</verdict>", True, "a full stop"),
        ("<verdict>Incorrect!</verdict>", False, "an exclamation mark"),
        ("<verdict>**Correct**</verdict>", True, "bold"),
        ("<verdict>**Incorrect.**</verdict>", False, "a full stop in the bold"),
        ("<verdict>**Correct**.</verdict>", True, "a full stop behind the bold"),
        ("<verdict>`Incorrect`</verdict>", False, "code"),
        ("**<verdict>Correct</verdict>**", True, "bold round the tags"),
        ("İ<verdict>Correct</verdict>", True, "a character that lower() makes two of moves nothing"),
        ("\ud800<verdict>Correct</verdict>\x00", True, "hostile characters outside"),
        ("<verdict>Correct\ud800</verdict>", None, "and inside"),
    ],
)
def test_verdict(text: str, verdict: bool | None, why: str) -> None:
    assert parse_verdict(text) is verdict, why


_ANY = st.text(st.characters(exclude_categories=()))


@given(_ANY, _ANY, st.booleans())
def test_the_last_verdict_is_read_in_any_text(before: str, behind: str, verdict: bool) -> None:
    word = "Correct" if verdict else "Incorrect"
    found = parse_verdict(f"{before}<verdict>{word}</verdict>{behind}")
    assert found is verdict or "verdict>" in behind.lower()


@given(_ANY, _ANY)
def test_only_the_two_words_are_verdicts(before: str, inside: str) -> None:
    found = parse_verdict(f"{before}<verdict>{inside}</verdict>")
    assert found is None or inside.lower().strip().strip("*_`.,;:!。！ \t\n\r\x0b\x0c").endswith("correct")


@given(st.lists(st.sampled_from(["<verdict>", "</verdict>", "Correct", "Incorrect", "unsure", " "])))
def test_agrees_with_a_walk_over_the_tags(parts: list[str]) -> None:
    verdict: bool | None = None
    opened: str | None = None
    for part in parts:
        if part == "<verdict>":
            opened = ""
        elif part == "</verdict>" and opened is not None:
            verdict, opened = {"Correct": True, "Incorrect": False}.get(opened.strip()), None
        elif part != "</verdict>" and opened is not None:
            opened += part
    assert parse_verdict("".join(parts)) is (verdict if opened is None else None)


_PIECES = st.sampled_from(["<verdict>", "</verdict>", "<VERDICT>", "Correct", "incorrect", ".", " ", "é", "\x00"])


@given(st.lists(st.lists(_PIECES | st.text(max_size=3), max_size=9).map("".join)))
def test_many_are_read_as_one_by_one(texts: list[str]) -> None:
    one_by_one = [parse_verdict(text) for text in texts]
    assert parse_verdicts(pa.array(texts, pa.string())).tolist() == [-1 if one is None else one for one in one_by_one]


@pytest.mark.parametrize(
    ("piece", "verdict"),
    [("<verdict>", None), ("</verdict>", None), ("<verdict>Correct</verdict>", True), ("<", None), ("é", None)],
)
def test_a_text_of_megabytes_takes_no_time(piece: str, verdict: bool | None) -> None:
    text = piece * (5_000_000 // len(piece))
    started = time.process_time()
    assert parse_verdict(text) is verdict
    # Ten times what it takes: a search that is not linear takes minutes.
    assert time.process_time() - started < 0.5
