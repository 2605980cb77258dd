"""Traces: the published layout to the letter, and parse(render(x)) == x whatever a model wrote."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assembly.candidates import has_frame_tag, is_plain_answer
from assembly.rendering import Trace, TraceStep, render
from tests.trace_texts import parse

LAYOUT = """<think>
<sample>
one <answer>1</answer>
</sample>
<reflect>
No. <verdict>Incorrect</verdict>
</reflect>
Again.
<sample>
two
</sample>
</think>


Back to it.

two

So:

<answer>
2
</answer>"""


def test_the_layout_is_the_published_one() -> None:
    first = TraceStep("one <answer>1</answer>", "No. <verdict>Incorrect</verdict>")
    trace = Trace((first, TraceStep("two", None)), ("Again.",), "So:", "2", ("Back to it.", "two"))
    assert render(trace) == LAYOUT
    assert parse(LAYOUT) == trace


# pieces that a naive parser stumbles over: the frame's line ends, answers, verdicts, half tags
HOSTILE = [
    "\n", "\n\n", "\n\n\n", "\r\n", "\r", "\u2028", "\x0b", " ", "",
    "<answer>", "</answer>", "\n\n<answer>\n", "\n</answer>", "<verdict>Correct</verdict>",
    "<sampl", "</sample", "ample>", "</", "<", ">", "think>", "<\n/think", "<answer>\n7\n</answer>",
    "{ending}", "\\1", "\ud800", "Again.", "So:", "é", "\x00",
]  # fmt: skip
TEXTS = (
    st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=5)), max_size=8)
    .map("".join)
    .filter(lambda text: not has_frame_tag(text))
)
LINES = TEXTS.map(lambda text: text.replace("\n", " ").strip()).filter(bool)
ANSWERS = TEXTS.map(str.strip).filter(is_plain_answer)
REVIEWS = st.just(()) | st.tuples(LINES) | st.tuples(LINES, TEXTS)


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    steps = draw(st.lists(st.builds(TraceStep, TEXTS, st.none() | TEXTS), min_size=1, max_size=4))
    glue = draw(st.lists(LINES, min_size=len(steps) - 1, max_size=len(steps) - 1))
    return Trace(tuple(steps), tuple(glue), draw(LINES), draw(ANSWERS), draw(REVIEWS))


@given(traces())
def test_a_rendered_trace_parses_to_itself(trace: Trace) -> None:
    assert parse(render(trace)) == trace


@given(st.one_of(st.text(), traces().map(render)), st.integers(0, 200), st.sampled_from(HOSTILE))
def test_what_parses_renders_to_the_same_text(text: str, place: int, piece: str) -> None:
    damaged = text[:place] + piece + text[place:]
    try:
        trace = parse(damaged)
    except ValueError:
        return
    assert render(trace) == damaged


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("</sample>", True),
        ("a<think>b", True),
        ("</REFLECT >", True),  # a reader of tags may not mind case or space
        ("< /think>", True),
        ('<sample id="1">', True),
        ("<reflect\n>", True),
        ("<samples>", False),  # another word
        ("<answer>7</answer>", False),  # samples are asked for it
        ("<verdict>Correct</verdict>", False),  # reflections are asked for it
        ("I think> so", False),
        ("3 < sample size", False),
        ("<" + " " * 200_000, False),  # minutes, for a pattern that tries every way to split the space
        ("<sample" * 50_000, False),
    ],
)
def test_what_counts_as_a_frame_tag(text: str, held: bool) -> None:
    assert has_frame_tag(text) is held


STEP = TraceStep("r", "f")


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (((), (), "So:", "7"), "0 attempts"),
        (((STEP, STEP), (), "So:", "7"), "2 attempts cannot be joined by 0 phrases"),
        (((STEP,), ("Again.",), "So:", "7"), "1 attempts cannot be joined by 1"),
        (((TraceStep("a</sample>", "f"),), (), "So:", "7"), "frame"),
        (((TraceStep("a", "<think>"),), (), "So:", "7"), "frame"),
        (((STEP,), (), "So:", "7", ("Back.", "<reflect>")), "frame"),
        (((STEP, STEP), ("a\nb",), "So:", "7"), "one line"),
        (((STEP,), (), "", "7"), "one line"),
        (((STEP,), (), "So:", "7", ("Back. ",)), "one line"),
        (((STEP,), (), "So:", ""), "final answer"),
        (((STEP,), (), "So:", " 7"), "final answer"),
        (((STEP,), (), "So:", "7</answer>"), "final answer"),
    ],
)
def test_a_trace_without_a_sound_text_is_refused(parts: tuple[object, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Trace(*parts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "<think> expected"),
        ("hello", "<think> expected at 'hello'"),
        (LAYOUT.replace("<sample>\none", "one"), "<sample> expected"),
        (LAYOUT.replace("</sample>", "", 2), "no </sample>"),
        (LAYOUT.replace("</reflect>", ""), "no </reflect>"),
        (LAYOUT.replace("</think>\n\n\n", "</think>\n\n"), "</think> expected"),
        (LAYOUT.removesuffix("</answer>"), "no <answer> block at its end"),
        (LAYOUT + "\n", "no <answer> block at its end"),
        (LAYOUT.replace("two\n</sample>", "two <think>\n</sample>"), "own frame"),
    ],
)
def test_what_is_no_trace_is_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(text)
