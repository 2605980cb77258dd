"""A trace as a value, its text, and what it was made from.

`Trace` rejects parts whose text contains tags of the trace itself.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

from assembly.candidates import Candidate, has_frame_tag, is_plain_answer
from assembly.formats import NO_TAG, OUR_MARKS, THINK, Marks
from generation.variants import HINT


class TraceStep(NamedTuple):
    """An attempt as shown in the trace."""

    response: str
    reflection: str | None  # None in traces without reflections


@dataclass(frozen=True)
class Trace:
    """Attempts, the phrases between them, and the ending. Raises ValueError for parts that make no valid trace."""

    steps: tuple[TraceStep, ...]
    glue: tuple[str, ...] | None  # one phrase fewer than steps; None in traces without
    ending: str | None  # None in traces without
    answer: str
    review: tuple[str, ...] = ()  # follows the thinking: a phrase, and the earlier attempt that is returned to, if any
    marks: Marks = OUR_MARKS

    def __post_init__(self) -> None:
        glue = self.glue or ()
        if not self.steps or (self.glue is not None and len(glue) != len(self.steps) - 1):
            raise ValueError(f"{len(self.steps)} attempts cannot be joined by {len(glue)} phrases")
        phrases = (*glue, *([] if self.ending is None else [self.ending]), *self.review[:1])
        shown = (text for step in self.steps for text in step if text is not None)
        tags = tuple(sorted(self.marks.tags | OUR_MARKS.tags))
        if any(has_frame_tag(text, tags) for text in (*shown, *phrases, *self.review[1:], self.answer)):
            raise ValueError("a text of the trace holds a tag of the trace's own frame")
        if any(not phrase or phrase != phrase.strip() or "\n" in phrase for phrase in phrases):
            raise ValueError("a phrase must be one line of text without space around it")
        if not is_plain_answer(self.answer):
            raise ValueError("the final answer must be text without answer tags or space around it")


def render(trace: Trace) -> str:
    """Render the trace in the published layout (arXiv 2512.04072)."""
    lines, marks = list[str](), trace.marks
    for place, step in enumerate(trace.steps):
        lines += _marked(marks.sample, step.response)
        if step.reflection is not None:
            lines += _marked(marks.reflection, step.reflection)
        lines += (trace.glue or ())[place : place + 1]
    closing = (*trace.review, *([] if trace.ending is None else [trace.ending]), f"<answer>\n{trace.answer}\n</answer>")
    inside = _marked(marks.frame, "\n".join(lines))
    return "\n".join([*inside, "", "", "\n\n".join(closing)])


def _marked(tag: str, text: str) -> list[str]:
    return [text] if tag == NO_TAG else [f"<{tag}>", text, f"</{tag}>"]


def framed(text: str, frame: str | None) -> str:
    """Return a trace with another tag around its attempts, or "none". Raises ValueError if it holds that tag already.

    A text that is no trace, such as one of format `star`, stays as it is.
    """
    if frame in (None, THINK) or not text.startswith("<think>\n"):
        return text
    if frame != NO_TAG and re.search(rf"<[\s/]*{frame}\b", text, re.IGNORECASE):
        raise ValueError(f"--frame {frame}: a sample holds a tag of this name, give another")
    inside, _, behind = text.removeprefix("<think>\n").partition("\n</think>\n")
    opening, closing = ("", "") if frame == NO_TAG else (f"<{frame}>\n", f"\n</{frame}>")
    return f"{opening}{inside}{closing}\n{behind}"


class LabeledTrace(NamedTuple):
    """A trace and what it was made from."""

    format: str
    label: str
    text: str  # the assistant turn
    attempts: tuple[Candidate, ...]
    trace: Trace | None  # None if the text is just a sample
    final: Candidate  # the attempt whose answer the trace gives
    numbers: tuple[int, ...] = ()  # that the question gives, if it gives any
    hint_words: tuple[str, ...] = (HINT,)

    @property
    def reflections(self) -> tuple[str | None, ...]:
        """Return the reflection on each attempt, as shown; none of a text that is just a sample."""
        return tuple(step.reflection for step in self.trace.steps) if self.trace is not None else ()
