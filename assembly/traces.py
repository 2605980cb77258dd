"""A trace as a value, its published text, and the phrases that join its attempts.

`Trace` refuses parts whose text would be taken for the frame. Knows nothing of how attempts are chosen.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

from cluster.texts import load_table

PHRASES = {kind: tuple(phrases) for kind, phrases in load_table("assembly", "phrases.toml").items()}
"""Every kind of phrase, each one line of plain text; phrases.toml says where each stands."""

_FRAME_TAG = re.compile(r"<[\s/]*(?:think|sample|reflect)\b[^<>]*>", re.IGNORECASE)
"""Any spelling of a frame tag: a model trained on a stray one would learn a broken frame."""

_ANSWER_TAG = re.compile(r"<[\s/]*answer\b[^<>]*>", re.IGNORECASE)


class TraceStep(NamedTuple):
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
    """Attempts, the phrases between them, and how it ends. Raises ValueError when it has no sound text."""

    steps: tuple[TraceStep, ...]
    glue: tuple[str, ...]
    """One phrase fewer than steps."""
    ending: str
    answer: str
    review: Review | None = None

    def __post_init__(self) -> None:
        if not self.steps or len(self.glue) != len(self.steps) - 1:
            raise ValueError(f"{len(self.steps)} attempts cannot be joined by {len(self.glue)} phrases")
        texts = [text for step in self.steps for text in step if text is not None]
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
    """Return True if the text holds <think>, <sample>, <reflect>, or the end of one, in any spelling."""
    return "<" in text and _FRAME_TAG.search(text) is not None


def is_plain_answer(text: str) -> bool:
    """Return True if the text can stand in the final <answer>."""
    return bool(text) and text == text.strip() and not _ANSWER_TAG.search(text) and not has_frame_tag(text)


def render(trace: Trace) -> str:
    """Write the trace in the published layout (arXiv 2512.04072)."""
    lines = ["<think>"]
    for step, glue in zip(trace.steps, (*trace.glue, None), strict=True):
        lines += ["<sample>", step.response, "</sample>"]
        if step.reflection is not None:
            lines += ["<reflect>", step.reflection, "</reflect>"]
        if glue is not None:
            lines.append(glue)
    review = [] if trace.review is None else [trace.review.phrase, trace.review.response]
    said = [text for text in (*review, trace.ending, f"<answer>\n{trace.answer}\n</answer>") if text is not None]
    return "\n".join([*lines, "</think>", "\n\n" + "\n\n".join(said)])


def glue_after(was_correct: bool | None) -> tuple[str, ...]:
    """Return what may follow an attempt; None when nothing is said about its correctness."""
    if was_correct is None:
        return PHRASES["generic"]
    return PHRASES["correct" if was_correct else "incorrect"] + PHRASES["generic"]
