"""A thought is told from its reply by the model's own marks, and counted in tokens; nothing of a text is lost."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.inference.engine import Message, Request, Sampling, ScriptedEngine
from cluster.inference.thoughts import KNOWN, THINK, Marks, Thinking, part, tokens_in
from tests.thinking import THOUGHT

Parts = tuple[str | None, str]
QWEN = {"<|im_end|>": True, "<think>": False, "</think>": False}
MAGISTRAL = {"</s>": True, "[THINK]": True, "[/THINK]": True}
COHERE = dict.fromkeys(
    ("<|END_OF_TURN_TOKEN|>", "<|START_THINKING|>", "<|END_THINKING|>", "<|START_RESPONSE|>", "<|END_RESPONSE|>"), True
)
HARMONY = dict.fromkeys(("<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|return|>", "<|constrain|>"), True)
GEMMA = dict.fromkeys(("<|channel>", "<channel|>", "<turn|>"), True)
KIMI3 = dict.fromkeys(("<|open|>", "<|close|>", "<|sep|>"), True)
ERNIE = dict.fromkeys(("<think>", "</think>", "<response>", "</response>"), False)
GRANITE = "After 'Here is my thought process:' write it, and your answer after 'Here is my response:'"
PLAIN = {"<|im_end|>": True}
FINAL = "<|start|>assistant<|channel|>final<|message|>"

TABLE: list[tuple[dict[str, bool], str, str, Parts, str]] = [
    (QWEN, "", "<think>\na\n</think>\n\nb", ("a", "b"), "as written"),
    (QWEN, "", "\n <think>a</think>b", ("a", "b"), "space before it, none behind"),
    (QWEN, "", "a\n</think>\n\nb", ("a", "b"), "opened nowhere, and closed"),
    (QWEN, "", "</think>\n\nb", ("", "b"), "opened nowhere, and closed at once"),
    (QWEN, "", "<think>\n\n</think>\n\nb", ("", "b"), "empty, which is not none"),
    (QWEN, "", "b", (None, "b"), "none"),
    (QWEN, "", "\n\nb\n", (None, "\n\nb\n"), "without a thought all space stays"),
    (QWEN, "", "<think>a", ("a", ""), "never closed"),
    (QWEN, "", "<think>", ("", ""), "cut at once"),
    (QWEN, "", "", (None, ""), "nothing at all"),
    (QWEN, "", "<think>a</think>\n\n\n\nb", ("a", "\n\nb"), "more line breaks than templates write are the reply's"),
    (QWEN, "", "<think>a</think>\n\n<think>b</think>\n\nc", ("a\n\nb", "c"), "two, one after the other"),
    (QWEN, "", "<think>a</think>b<think>c</think>d", ("a\n\nc", "bd"), "two, with a reply between"),
    (QWEN, "", "<think>a</think>b<think>c", ("a\n\nc", "b"), "the second never closed"),
    (QWEN, "", "b <think>a</think> c", ("a", "b  c"), "in the middle, by the owner of the marks"),
    (QWEN, "", "<think>a</think>b</think>c", ("a", "b</think>c"), "a stray one closes nothing"),
    (QWEN, "", "<think>a<think>b</think>c", ("a<think>b", "c"), "thoughts do not nest"),
    (QWEN, "", "<think>\na</think>\n<answer>\n5\n</answer>", ("a", "<answer>\n5\n</answer>"), "answers are ours"),
    (QWEN, "", "<THINK>a</THINK>b", (None, "<THINK>a</THINK>b"), "not the mark"),
    (QWEN, "<think>\n", "a\n</think>\n\nb", ("a", "b"), "opened by the prompt"),
    (QWEN, "<think>\n", "<think>\na\n</think>\n\nb", ("a", "b"), "by both"),
    (QWEN, "<think>\n", "a", ("a", ""), "opened by the prompt, never closed"),
    (QWEN, "<think>\n", "", ("", ""), "opened by the prompt, and nothing"),
    (QWEN, "<think>\n\n</think>\n\n", "b", (None, "b"), "opened and closed by the prompt"),
    (QWEN, "<think> is a tag.<|im_end|>\n", "b", (None, "b"), "only named in the prompt"),
    (PLAIN, "", "<think>a</think>\n\nb", ("a", "b"), "whoever begins with it thinks"),
    (PLAIN, "", " <think>a</think>\n\n<think>b</think>c", ("a\n\nb", "c"), "and twice"),
    (PLAIN, "", "<think>a", ("a", ""), "and has not ended"),
    (PLAIN, "", "b <think>a</think> c", (None, "b <think>a</think> c"), "in the middle it is text"),
    (PLAIN, "", "<think>a</think>b <think>c</think>", ("a", "b <think>c</think>"), "and behind a reply"),
    (PLAIN, "", "a</think>b", (None, "a</think>b"), "and alone"),
    (PLAIN, "", "[THINK]a[/THINK]b", (None, "[THINK]a[/THINK]b"), "other marks are text"),
    (PLAIN, "", "<thinking>a</thinking>b", (None, "<thinking>a</thinking>b"), "other words too"),
    ({"<think:6124c78e>": False}, "<think:6124c78e>", "a</think:6124c78e>b", ("a", "b"), "Hunyuan's suffix"),
    (MAGISTRAL, "", "[THINK]a[/THINK]b", ("a", "b"), "special tokens"),
    (MAGISTRAL, "", "[THINK]a[/THINK]b</s>", ("a", "b"), "and no other one stays"),
    (MAGISTRAL, "", "[THINK]a</s>b", ("ab", ""), "wherever it stands"),
    (COHERE, "", "<|START_THINKING|>a<|END_THINKING|><|START_RESPONSE|>b<|END_RESPONSE|>", ("a", "b"), "framed"),
    (COHERE, "<|START_THINKING|>", "a<|END_THINKING|><|START_RESPONSE|>b", ("a", "b"), "framed, and cut"),
    (COHERE, "<|START_THINKING|><|END_THINKING|>", "<|START_RESPONSE|>b", (None, "b"), "no thought asked for"),
    (HARMONY, "<|start|>assistant", f"<|channel|>analysis<|message|>a<|end|>{FINAL}b<|return|>", ("a", "b"), "whole"),
    (HARMONY, "", f"<|channel|>analysis<|message|>a<|end|>{FINAL}", ("a", ""), "cut before the reply"),
    (HARMONY, "", "<|channel|>analysis<|message|>a", ("a", ""), "cut in the thought"),
    (HARMONY, "", "<|channel|>final<|message|>b", (None, "b"), "no analysis"),
    (HARMONY, "", f"<|channel|>commentary<|message|>c<|end|>{FINAL}b", (None, "c\n\nb"), "commentary is for the user"),
    (
        HARMONY,
        "",
        "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>commentary<|message|>c<|end|>"
        f"<|start|>assistant<|channel|>analysis<|message|>d<|end|>{FINAL}b",
        ("a\n\nd", "c\n\nb"),
        "two analyses",
    ),
    (GEMMA, "", "<|channel>thought\na<channel|>b<turn|>", ("a", "b"), "a name behind the mark"),
    (GEMMA, "<|channel>thought\n<channel|>", "b", (None, "b"), "no thought asked for"),
    (KIMI3, "<|open|>think<|sep|>", "a<|close|>think<|sep|><|open|>response<|sep|>b", ("a", "b"), "several tokens"),
    (ERNIE, "<think>\n", "a\n</think>\n\n<response>\nb\n</response>\n", ("a", "b"), "framed"),
    (ERNIE, "<think>\n", "a\n</think>\nb", ("a", "b"), "not framed"),
    ({"<seed:think>": False}, "", "<seed:think>a</seed:think>b", ("a", "b"), "as a token"),
    ({"◁think▷": True, "◁/think▷": True}, "", "◁think▷a◁/think▷b", ("a", "b"), "as tokens"),
    ({"<mm:think>": False}, "", "a</mm:think>b", ("a", "b"), "closed only"),
]


@pytest.mark.parametrize(("added", "prompt", "text", "expected", "why"), TABLE)
def test_a_thought_is_told_from_the_reply(
    added: dict[str, bool], prompt: str, text: str, expected: Parts, why: str
) -> None:
    model = Thinking.of(added, "{{ messages }}")
    parted = model.part(text, model.opened_by(f"<user>{prompt}"))
    assert (parted.thought, parted.reply) == expected, why


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Here is my thought process:\na\nHere is my response:\n\nb", ("a", "b")),
        ("Here's my thought process: a Here's my response: b", ("a", " b")),
        ("Here is my thought process: a", ("a", "")),
        ("Well. Here is my thought process: a", (None, "Well. Here is my thought process: a")),
        ("a Here is my response: b", (None, "a Here is my response: b")),
    ],
)
def test_plain_words_are_marks_only_at_the_beginning(text: str, expected: Parts) -> None:
    parted = Thinking.of(PLAIN, GRANITE).part(text)
    assert (parted.thought, parted.reply) == expected


@pytest.mark.parametrize(
    ("added", "template", "own", "raw"),
    [
        (QWEN, "", 1, False),
        (PLAIN, "{{ content.split('</think>')[-1] }}", 1, False),
        (PLAIN, "<|im_start|>assistant\n<think>\n", 1, False),
        (PLAIN, GRANITE, 1, False),
        (PLAIN, "I think, <answer>, <|end|>", 0, False),
        ({}, "", 0, False),
        ({"<|end|>": True, "<|user|>": True, "<tool_response>": False}, "", 0, False),  # Phi 3
        ({"<think>": True, "</think>": True}, "", 1, True),
        (MAGISTRAL, "", 1, True),
        (HARMONY, "", 1, True),
    ],
)
def test_a_model_owns_the_marks_of_its_tokenizer_and_template(
    added: dict[str, bool], template: str, own: int, raw: bool
) -> None:
    found = Thinking.of(added, template)
    assert (len(found.own), found.raw) == (own, raw)


_PIECES = st.lists(
    st.sampled_from(["<think>", "</think>", "[THINK]", "[/THINK]", "\n", " ", "a", "Ünï", "<answer>7</answer>", "<"])
)
_OWN = st.sampled_from([[], [THINK], [THINK, KNOWN[2]]])


@given(_PIECES, _OWN, st.sampled_from([None, THINK]))
def test_nothing_of_a_text_is_lost(pieces: list[str], own: list[Marks], opened: Marks | None) -> None:
    text = "".join(pieces)
    thought, reply, spans = part(text, own, opened)
    outside, place = "", 0
    for start, end in spans:
        outside, place = outside + text[place:start], end
    outside += text[place:]
    assert "".join(outside.split()) == "".join(reply.split()), "the reply is what stands outside of the spans"
    marks = re.compile("|".join(one.pattern for marks in (THINK, *own) for one in (marks.opening, marks.closing)))
    inside = "".join(text[start:end] for start, end in spans)
    assert "".join(marks.sub("", inside).split()) == "".join(marks.sub("", thought or "").split())
    assert (thought is None) is (not spans)
    assert spans or reply == text


@given(_PIECES)
def test_a_reply_holds_no_further_thought(pieces: list[str]) -> None:
    """What was parted once stays as it is when it is read again."""
    reply = part("".join(pieces)).reply
    assert part(reply) == (None, reply, ())


def test_tokens_are_counted_up_to_the_closing_mark() -> None:
    tokens = ["<think>", "a", " b", "</think>", "\n\n", "c", "</s>"]
    text = "".join(tokens[:-1])

    def width(first: int, end: int) -> int:
        return len("".join(tokens[first:end]))

    assert tokens_in(part(text).spans, len(tokens), width) == 4
    assert tokens_in(part(text, [THINK], THINK).spans, len(tokens), width) == 4
    assert tokens_in(part("c").spans, len(tokens), width) == 0
    assert tokens_in(part("<think>a b").spans, 3, width) == 3, "all, if it is never closed"
    assert tokens_in([(7, 8), (8, 10)], len(tokens), width) == 2
    many = [(place, place + 1) for place in range(0, 100, 2)]
    assert tokens_in(many, 100, lambda first, end: end - first) == 7 + 85, "from the eighth on they are counted as one"


@given(st.lists(st.integers(0, 3), min_size=1), st.data())
def test_tokens_are_counted_as_one_by_one(lengths: list[int], data: st.DataObject) -> None:
    cuts = st.lists(st.integers(0, sum(lengths) + 1), min_size=2, max_size=8).map(sorted)
    places = data.draw(cuts.filter(lambda places: len(places) % 2 == 0))
    spans = [*zip(places[::2], places[1::2], strict=True)]
    ends = [next((k for k in range(len(lengths)) if sum(lengths[:k]) >= place), len(lengths)) for place in places]
    expected = sum(end - start for start, end in zip(ends[::2], ends[1::2], strict=True))
    assert tokens_in(spans, len(lengths), lambda first, end: sum(lengths[first:end])) == expected


@pytest.mark.parametrize(
    "text",
    ["<think></think>" * 30000, "<think></think>a" * 30000, "</think>" * 50000, " " * 400000, "\n <think>" * 50000],
)
def test_a_text_of_nothing_but_marks_takes_no_time(text: str) -> None:
    for model in (Thinking.of(QWEN, "[THINK]"), Thinking.of(MAGISTRAL, ""), Thinking.of(PLAIN, "")):
        begun = time.perf_counter()
        model.part(text)
        assert time.perf_counter() - begun < 5, "a tenth of a second where nothing else runs"


def ask(reply: Callable[[Request], str], max_tokens: int = 300) -> tuple[str | None, str, str, int, int]:
    messages = (Message(role="system", content=""), Message(role="user", content="Make 7 of [3, 4] by + - * /."))
    request = Request("k", messages, Sampling(max_tokens=max_tokens), 7)
    said = asyncio.run(ScriptedEngine(reply).generate(request))
    return said.thought, said.text, said.finish_reason, said.output_tokens, said.thought_tokens


def test_the_scripted_engine_tells_thoughts_too() -> None:
    words = len(THOUGHT.split(" "))
    assert ask(lambda _: f"<think>\n{THOUGHT}\n</think>\n\nSo 3 + 4") == (THOUGHT, "So 3 + 4", "stop", words + 3, words)
    assert ask(lambda _: f"{THOUGHT}\n</think>\n\nSo 3 + 4") == (THOUGHT, "So 3 + 4", "stop", words + 3, words)
    assert ask(lambda _: "So 3 + 4") == (None, "So 3 + 4", "stop", 4, 0)
    assert ask(lambda _: "<think> a b c d", 4) == ("a b c", "", "length", 4, 4)
