"""A trace as a value, its published text, and the way back from text to value.

`parse(render(trace)) == trace` for every trace that can be built: `Trace` refuses the parts whose
text would be taken for the frame. Knows nothing of how attempts are chosen.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

_FRAME_TAG = re.compile(r"<[\s/]*(?:think|sample|reflect)\b[^<>]*>", re.IGNORECASE)
"""Any spelling of a frame tag: a model trained on a stray one would learn a broken frame."""

_ANSWER_TAG = re.compile(r"<[\s/]*answer\b[^<>]*>", re.IGNORECASE)


class Step(NamedTuple):
    """One attempt as the trace shows it."""

    response: str
    reflection: str | None
    """None in traces without reflections."""


@dataclass(frozen=True)
class Review:
    """What is said after the thinking and before the ending."""

    phrase: str
    response: str | None = None
    """The earlier attempt that is returned to, when one is."""


@dataclass(frozen=True)
class Trace:
    """Attempts, the phrases between them, and how it ends. ValueError when it has no sound text."""

    steps: tuple[Step, ...]
    glue: tuple[str, ...]
    """One phrase fewer than steps."""
    ending: str
    answer: str
    review: Review | None = None

    def __post_init__(self) -> None:
        if not self.steps or len(self.glue) != len(self.steps) - 1:
            raise ValueError(f"{len(self.steps)} attempts cannot be joined by {len(self.glue)} phrases")
        texts = [step.response for step in self.steps]
        texts += [step.reflection for step in self.steps if step.reflection is not None]
        phrases = [*self.glue, self.ending]
        if self.review is not None:
            phrases.append(self.review.phrase)
            texts.append(self.review.response or "")
        if any(map(has_frame_tag, [*texts, *phrases, self.answer])):
            raise ValueError("a text of the trace holds a tag of the trace's own frame")
        if any(not phrase or phrase != phrase.strip() or "\n" in phrase for phrase in phrases):
            raise ValueError("a phrase must be one line of text without space around it")
        if not is_plain_answer(self.answer):
            raise ValueError("the final answer must be text without answer tags or space around it")


def has_frame_tag(text: str) -> bool:
    """Whether the text holds <think>, <sample>, <reflect>, or the end of one, in any spelling."""
    return "<" in text and _FRAME_TAG.search(text) is not None


def is_plain_answer(text: str) -> bool:
    """Whether the text can stand in the final <answer>."""
    return bool(text) and text == text.strip() and not _ANSWER_TAG.search(text) and not has_frame_tag(text)


def render(trace: Trace) -> str:
    """The trace in the published layout (skillfactory.md §4)."""
    parts = ["<think>"]
    for step, glue in zip(trace.steps, (*trace.glue, None), strict=True):
        parts += ["<sample>", step.response, "</sample>"]
        if step.reflection is not None:
            parts += ["<reflect>", step.reflection, "</reflect>"]
        if glue is not None:
            parts.append(glue)
    parts += ["</think>", "\n\n" + _closing(trace)]
    return "\n".join(parts)


def _closing(trace: Trace) -> str:
    paragraphs = []
    if trace.review is not None:
        paragraphs.append(trace.review.phrase)
        if trace.review.response is not None:
            paragraphs.append(trace.review.response)
    return "\n\n".join([*paragraphs, trace.ending, f"<answer>\n{trace.answer}\n</answer>"])


def parse(text: str) -> Trace:
    """The trace whose text this is; ValueError, naming the part that is missing, for any other text."""
    rest = _after(text, "<think>\n")
    steps, glue = [], []
    while True:
        response, rest = _until(_after(rest, "<sample>\n"), "\n</sample>\n")
        reflection = None
        if rest.startswith("<reflect>\n"):
            reflection, rest = _until(_after(rest, "<reflect>\n"), "\n</reflect>\n")
        steps.append(Step(response, reflection))
        if rest.startswith("</think>\n"):
            break
        phrase, rest = _until(rest, "\n")
        glue.append(phrase)
    return _with_closing(tuple(steps), tuple(glue), _after(rest, "</think>\n\n\n"))


def _with_closing(steps: tuple[Step, ...], glue: tuple[str, ...], closing: str) -> Trace:
    # from the end inwards: the attempt returned to is free text and may hold an <answer> of its own
    body, found, answer = closing.rpartition("\n\n<answer>\n")
    if not found or not answer.endswith("\n</answer>"):
        raise ValueError("not a trace: no <answer> block at its end")
    earlier, found, ending = body.rpartition("\n\n")
    review = None
    if found:
        phrase, returned, response = earlier.partition("\n\n")
        review = Review(phrase, response if returned else None)
    return Trace(steps, glue, ending, answer.removesuffix("\n</answer>"), review)


def _after(text: str, start: str) -> str:
    if not text.startswith(start):
        raise ValueError(f"not a trace: {start.strip()} expected at {text[:40]!r}")
    return text.removeprefix(start)


def _until(text: str, end: str) -> tuple[str, str]:
    part, found, rest = text.partition(end)
    if not found:
        raise ValueError(f"not a trace: no {end.strip() or 'line end'} after {text[:40]!r}")
    return part, rest
