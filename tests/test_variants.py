"""The eight prompt variants: their names, what they ask, and where the gold answer may stand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.texts import fill
from generation.records import Question
from generation.variants import PLAIN, VARIANTS, Variant, mentions_hint, messages, parse_names
from tests.countdown_questions import question_of

PUBLISHED = ("original", "plan_and_execute", "alternatively", "rephrase")
RATIONALIZED = tuple(name for name in VARIANTS if name not in PUBLISHED)
QUESTION = question_of("countdown_3arg", [8, 3, 1], 25, "(8 * 3) + 1", source="here")


def test_there_are_eight_the_plain_ones_named_as_published() -> None:
    assert PLAIN == PUBLISHED
    assert len(VARIANTS) == 8
    assert tuple(VARIANTS)[:4] == PUBLISHED
    assert tuple(f"{name}_rationalized" for name in PUBLISHED) == RATIONALIZED
    assert [v.rationalized for v in VARIANTS.values()] == [False] * 4 + [True] * 4
    assert all(name == variant.name for name, variant in VARIANTS.items())


@pytest.mark.parametrize("name", VARIANTS)
def test_a_system_turn_then_a_user_turn_that_begins_with_the_question(name: str) -> None:
    system, user = messages(VARIANTS[name], QUESTION)
    assert (system["role"], user["role"]) == ("system", "user")
    assert user["content"].startswith(f"{QUESTION.text}\n\n")
    assert "<answer>" in system["content"]
    assert system["content"].endswith("You always end with </answer>, you never ever end without giving an answer.")
    assert "{" not in system["content"] + user["content"], "a name was not filled in"


@pytest.mark.parametrize("name", PLAIN)
def test_the_plain_ones_never_give_the_answer_away(name: str) -> None:
    assert all(QUESTION.answer not in message["content"] for message in messages(VARIANTS[name], QUESTION))
    assert all("hint" not in message["content"].lower() for message in messages(VARIANTS[name], QUESTION))


@pytest.mark.parametrize("name", RATIONALIZED)
def test_the_rationalized_ones_give_it_away_in_the_user_turn_alone(name: str) -> None:
    system, user = messages(VARIANTS[name], QUESTION)
    plain_system, plain_user = messages(VARIANTS[name.removesuffix("_rationalized")], QUESTION)
    assert system == plain_system
    hint = user["content"].removeprefix(plain_user["content"])
    assert hint != user["content"], "the plain form comes first"
    assert hint.count(QUESTION.answer) == 1
    assert "hint" in hint.lower()


@pytest.mark.parametrize(
    ("name", "wording"),
    [
        ("original", "Let's think step by step."),
        ("plan_and_execute", "write a high level plan you intend to use starting with \"First, I'll try to understand"),
        ("alternatively", 'find some potential answers using the word "Alternatively," to distinguish them'),
        ("rephrase", 'Begin your response with "Rewritten Question: " and by rewriting the question'),
    ],
)
def test_the_published_wording(name: str, wording: str) -> None:
    assert wording in VARIANTS[name].user


@pytest.mark.parametrize("name", [name for name in VARIANTS if not name.startswith("original")])
def test_the_kind_of_answer_is_named(name: str) -> None:
    for kind in ("equation", "word of five letters"):
        user = messages(VARIANTS[name], replace(QUESTION, answer_type=kind))[1]["content"]
        assert f"resulting {kind} as the answer" in user


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("f(x) = {x : x > 0}", "set braces"),
        ("{answer}", "the very name of the gold answer: a plain prompt would give it away"),
        ("{answer_type_str} {nobody} {0} {{}} {", "names, known or not, and half a pair"),
        ("%s %(answer)s $answer \\1 \\g<0>", "other ways to fill in"),
    ],
)
@pytest.mark.parametrize("name", VARIANTS)
def test_braces_are_text(name: str, text: str, why: str) -> None:
    for question in (replace(QUESTION, text=text), replace(QUESTION, text="?", answer=text)):
        user = messages(VARIANTS[name], question)[1]["content"]
        assert user.startswith(f"{question.text}\n\n"), why
        assert user.count(question.answer) >= VARIANTS[name].rationalized, why


@given(st.text(), st.text())
def test_what_is_filled_in_is_never_looked_into(one: str, other: str) -> None:
    assert fill("a {one} b {other} c", {"one": one, "other": other}) == f"a {one} b {other} c"


def test_a_name_without_a_value_is_our_mistake() -> None:
    with pytest.raises(KeyError):
        fill("{nobody}", {"somebody": ""})


@pytest.mark.parametrize(
    ("response", "mentioned", "why"),
    [
        ("The hint says 24.", True, "plain"),
        ("Hints help.", True, "plural, at the start"),
        ("as hinted above", True, "another form of the word"),
        ("HINT", True, "any case"),
        ("(hint)", True, "punctuation is no letter"),
        ("_hint_ and **hint**", True, "emphasis"),
        ("_hint_", True, "an underscore is emphasis too"),
        ("the\nhint", True, "a new line"),
        ("un-hinted", True, "behind a hyphen"),
        ("chint curtains", False, "inside another word"),
        ("Whinting 3hint", False, "behind a letter or digit"),
        ("hin t, h i n t", False, "not the word"),
        ("", False, "nothing"),
        ("the given answer", False, "given away in other words: not looked for"),
    ],
)
def test_a_mentioned_hint(response: str, mentioned: bool, why: str) -> None:
    assert mentions_hint(VARIANTS["original_rationalized"], response) is mentioned, why
    assert mentions_hint(VARIANTS["original"], response) is False, "a plain prompt has none to mention"


def _names(found: tuple[Variant, ...]) -> list[str]:
    return [variant.name for variant in found]


@pytest.mark.parametrize(
    ("given_names", "expected"),
    [
        (("plain",), list(PUBLISHED)),
        (("all",), list(VARIANTS)),
        (("rephrase", "original"), ["rephrase", "original"]),
        (("plain", "original_rationalized"), [*PUBLISHED, "original_rationalized"]),
    ],
)
def test_names_are_read_in_their_order(given_names: tuple[str, ...], expected: list[str]) -> None:
    assert _names(parse_names(given_names)) == expected


@pytest.mark.parametrize(
    ("given_names", "told"),
    [
        (("origina",), "'origina' is unknown: take plain, all, or any of original,"),
        (("Original",), "'Original' is unknown"),
        (("",), "'' is unknown"),
        ((), "no variant is named: take plain, all,"),
        (("original", "original"), "named twice in original,original"),
        (("plain", "rephrase"), "named twice in plain,rephrase"),
        (("all", "plain"), "named twice"),
    ],
)
def test_wrong_names_are_told(given_names: tuple[str, ...], told: str) -> None:
    with pytest.raises(ValueError, match="variant") as error:
        parse_names(given_names)
    assert told in str(error.value)


def test_another_task_takes_the_same_variants() -> None:
    question = Question("What is 2 + 2?", "4", "sums", "mine.jsonl", "answer", "answer")
    for variant in VARIANTS.values():
        user = messages(variant, question)[1]["content"]
        assert ("is 4" in user) is variant.rationalized
