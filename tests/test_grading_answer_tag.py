"""Where the answer is found, and what a response without one is called."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.inference.engine import FinishReason
from generation.grading import GRADERS, find_answer, grade
from generation.grading.answers import CLOSED, FENCED, LAST, NESTED, ONLY, PLACES
from generation.records import CUT, NO_ANSWER, REQUEST_FAILED, Question


@pytest.mark.parametrize(
    ("response", "answer", "why"),
    [
        ("<answer>1</answer>", "1", "one block"),
        ("<answer>\n1\n</answer>", "1", "stripped, as the prompt shows it on lines of its own"),
        ("<answer>1</answer> no: <answer>2</answer>", "2", "the last block"),
        ("<answer>1</answer> no: <answer>2", "1", "an unclosed block does not count, the one before does"),
        ("<answer>1</answer><answer>", "1", "likewise, with nothing in it"),
        ("<answer>1", None, "unclosed, and none before"),
        ("1</answer>", None, "never opened"),
        ("</answer><answer>", None, "closed before it is opened"),
        ("</answer>1<answer>", None, "likewise"),
        ("<answer><answer>1</answer></answer>", "1", "nested: the innermost"),
        ("<answer>2 <answer>1</answer> 3</answer>", "1", "nested, with text round it"),
        ("<answer>1</answer></answer>", "1", "closed twice: up to the first"),
        ("<answer>1</answer> as I said </answer>", "1", "a stray closing tag later"),
        ("<ANSWER>1</Answer>", "1", "any case"),
        ("İ<answer>İ</answer>", "İ", "a character that lower() makes two of moves nothing"),
        ("K<answer>ſ</answer>", "ſ", "nor do letters that fold to ASCII"),
        ("<anſwer>1</anſwer>", None, "a tag that only folds to the name"),
        ("<answer></answer>", None, "empty"),
        ("<answer> \n\t </answer>", None, "blank"),
        ("<answer>1</answer><answer></answer>", None, "the last block is empty: taken back, not the one before"),
        ("<answer >1</answer>", None, "another tag"),
        ("< answer>1</ answer>", None, "another tag"),
        ("<answers>1</answers>", None, "another tag"),
        ("&lt;answer&gt;1&lt;/answer&gt;", None, "escaped"),
        ("<answer>1</answer", None, "cut inside the closing tag"),
        ("", None, "nothing"),
        ("<answer>a <b>c</b> d</answer>", "a <b>c</b> d", "other tags are text"),
        ("<answer>\ud800</answer>", "\ud800", "a lone surrogate is kept"),
        ("<answer>\ud83d\ude00</answer>", "\ud83d\ude00", "and two are not made one"),
        ("<answer>\x00</answer>", "\x00", "a NUL is not blank"),
    ],
)
def test_find_answer(response: str, answer: str | None, why: str) -> None:
    assert find_answer(response) == answer, why


@given(st.text(), st.text(), st.text(min_size=1))
def test_last_block_is_found_in_any_text(before: str, behind: str, answer: str) -> None:
    found = find_answer(f"{before}<answer>.{answer}.</answer>{behind}")
    if "answer>" not in (before + answer + behind).lower():
        assert found == f".{answer}."


@given(st.lists(st.sampled_from(["<answer>", "</answer>", "</ANSWER>", "a", "é", " "])))
def test_agrees_with_a_walk_over_the_tags(parts: list[str]) -> None:
    expected: str | None = None
    since_opened: str | None = None
    for part in parts:
        if part == "<answer>":
            since_opened = ""
        elif part.lower() == "</answer>":
            expected = expected if since_opened is None else since_opened.strip() or None
            since_opened = None
        elif since_opened is not None:
            since_opened += part
    assert find_answer("".join(parts)) == expected


QUESTION = Question("?", "7", "own", "file", "answer", "answer")


@pytest.mark.parametrize(
    ("response", "place", "why"),
    [
        ("<answer>1</answer>", ONLY, "one"),
        ("</answer><answer>1</answer>", ONLY, "a closing that closes nothing"),
        ("<answer>1</answer> no: <answer>2</answer>", LAST, "the last of two"),
        ("<answer><answer>1</answer></answer>", NESTED, "inside another"),
        ("<answer>I think <answer>1</answer>", NESTED, "inside one that is never closed"),
        ("<answer>1</answer> no: <answer>2", CLOSED, "another is left open behind it"),
        ("```\n<answer>1</answer>\n```", FENCED, "in a fence"),
        ("```\ncode\n``` <answer>1</answer>", ONLY, "behind a fence"),
        ("<answer>1</answer> ```<answer>2</answer>```", FENCED, "in a fence, the last of two"),
        ("<answer>```1```</answer>", ONLY, "a fence inside the tag"),
    ],
)
def test_how_it_was_found(response: str, place: str, why: str) -> None:
    assert grade(response, QUESTION, "stop").found == place, why
    assert place in PLACES


def test_without_an_answer_nothing_was_found() -> None:
    assert grade("1", QUESTION, "stop").found == ""


@pytest.mark.parametrize(
    ("response", "finish_reason", "outcome", "reason", "is_correct"),
    [
        ("<answer>7</answer>", "stop", "right", "", True),
        ("<answer>7</answer> and on and", "length", "right", "", True),
        ("<answer>7</answer> no: <answer>8", "length", "right", "", True),
        ("I think", "length", "unknown", CUT, False),
        ("<answer>7", "length", "unknown", CUT, False),
        ("<answer></answer>", "length", "unknown", CUT, False),
        ("I think", "stop", "unknown", NO_ANSWER, False),
        ("<answer>7", "stop", "unknown", NO_ANSWER, False),
        ("", "stop", "unknown", NO_ANSWER, False),
        ("", "error", "unknown", REQUEST_FAILED, None),
        ("<answer>7</answer>", "error", "unknown", REQUEST_FAILED, None),
    ],
)
def test_outcome_of_a_response(
    response: str, finish_reason: FinishReason, outcome: str, reason: str, is_correct: bool | None
) -> None:
    result = grade(response, QUESTION, finish_reason)
    assert (result.outcome, result.reason, result.is_correct) == (outcome, reason, is_correct)


def test_an_unknown_grader_is_named() -> None:
    question = Question("?", "7", "own", "file", "guess", "answer")
    with pytest.raises(
        ValueError,
        match="no grader is called 'guess'; the graders are answer, choice, countdown, exact, gym, math, number, word",
    ):
        grade("<answer>7</answer>", question, "stop")
    assert sorted(GRADERS) == ["answer", "choice", "countdown", "exact", "gym", "math", "number", "word"]
