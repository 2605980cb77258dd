"""A trace is taken apart into what it was made of, and any other text into nothing that it does not hold."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assembly.candidates import has_frame_tag
from assembly.phrases import PHRASES
from assembly.rendering import Trace, TraceStep, render
from reflection.inner import attempts_in


def _thought(text: str) -> str:
    return text.partition("<think>")[2].partition("</think>")[0].strip()


@pytest.mark.parametrize(
    ("thought", "found", "why"),
    [
        ("<sample>\na\n</sample>", [("a", [])], "one attempt"),
        ("<sample>a</sample><reflect>b</reflect>", [("a", ["b"])], "without the line breaks"),
        ("Hm.\n<sample>\na\n</sample>\nBut\n<sample>\nb\n</sample>", [("a", []), ("b", [])], "text before and between"),
        ("<sample>\n\na\n\n</sample>", [("\na\n", [])], "one line break at each end is the layout's"),
        ("<sample>a</sample><reflect>b</reflect><reflect>c</reflect>", [("a", ["b", "c"])], "two reflections"),
        ("<SAMPLE>a</Sample>", [("a", [])], "any case"),
        ("<sample></sample>", [("", [])], "an empty one is one"),
        ("<sample>a</sample><reflect>b", [("a", [])], "cut in a reflection"),
        ("<sample>a</sample><sample>b", [("a", [])], "cut in an attempt"),
        ("<sample>a<sample>b</sample></sample>", [("b", [])], "nested: the inner one is whole"),
        ("<sample>a <reflect>b</reflect>", [], "an attempt that is not closed, and what is said of it"),
        (
            "<sample>a</sample><sample>b<reflect>c</reflect>",
            [("a", [])],
            "what is said of an open one is not of another",
        ),
        ("<reflect>b</reflect><sample>a</sample>", [("a", [])], "a reflection on nothing"),
        ("<sample>a</reflect></sample>", [], "closed by another tag"),
        ("</sample>a<sample>", [], "closed before it is opened"),
        ("<sample >a</sample>", [], "another tag"),
        ("<samples>a</samples>", [], "another tag"),
        ("I take a <sample> of it.", [], "a word"),
        ("", [], "nothing"),
    ],
)
def test_what_stands_inside(thought: str, found: list[tuple[str, list[str]]], why: str) -> None:
    assert attempts_in(thought) == tuple((text, tuple(reflections)) for text, reflections in found), why


_TEXT = st.text(st.sampled_from("ab<>/\n é"), max_size=8).filter(lambda text: not has_frame_tag(text))
_STEPS = st.lists(st.builds(TraceStep, _TEXT, st.none() | _TEXT), min_size=1, max_size=4)


@given(_STEPS)
def test_rendering_is_undone(steps: list[TraceStep]) -> None:
    glue = tuple(PHRASES["generic"][0] for _ in steps[1:])
    text = render(Trace(tuple(steps), glue, PHRASES["ending"][0], "7"))
    said = tuple((step.response, () if step.reflection is None else (step.reflection,)) for step in steps)
    assert attempts_in(_thought(text)) == said


@given(st.lists(st.sampled_from(["<sample>", "</sample>", "<reflect>", "</reflect>", "a", "\n"])))
def test_whatever_the_order_of_tags_is_only_whole_blocks_come(parts: list[str]) -> None:
    text = "".join(parts)
    found = attempts_in(text)
    assert len(found) == len(re.findall(r"<sample>[a\n]*</sample>", text))
    assert sum(len(one.reflections) for one in found) <= len(re.findall(r"<reflect>[a\n]*</reflect>", text))
    assert not any(has_frame_tag(said) for one in found for said in (one.text, *one.reflections))


@pytest.mark.parametrize(
    "text", ["<sample>" * 10**5, "<sample>a</sample>" * 10**5, "<" * 10**6, "<sample>" + "<reflect>a</reflect>" * 10**5]
)
def test_any_text_takes_little_time(text: str) -> None:
    begun = time.process_time()
    attempts_in(text)
    assert time.process_time() - begun < 2
