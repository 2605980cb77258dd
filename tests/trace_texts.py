"""The way back from a trace's published text to its value: `parse(render(trace)) == trace`."""

from __future__ import annotations

from assembly.rendering import Trace, TraceStep


def parse(text: str) -> Trace:
    """The trace whose text this is; ValueError, naming the part that is missing, for any other text."""
    rest = _after(text, "<think>\n")
    steps, glue = [], []
    while True:
        response, rest = _until(_after(rest, "<sample>\n"), "\n</sample>\n")
        reflection = None
        if rest.startswith("<reflect>\n"):
            reflection, rest = _until(_after(rest, "<reflect>\n"), "\n</reflect>\n")
        steps.append(TraceStep(response, reflection))
        if rest.startswith("</think>\n"):
            break
        phrase, rest = _until(rest, "\n")
        glue.append(phrase)
    return _with_closing(tuple(steps), tuple(glue), _after(rest, "</think>\n\n\n"))


def _with_closing(steps: tuple[TraceStep, ...], glue: tuple[str, ...], closing: str) -> Trace:
    # from the end inwards: the attempt returned to is free text and may hold an <answer> of its own
    body, found, answer = closing.rpartition("\n\n<answer>\n")
    if not found or not answer.endswith("\n</answer>"):
        raise ValueError("not a trace: no <answer> block at its end")
    earlier, found, ending = body.rpartition("\n\n")
    review: tuple[str, ...] = ()
    if found:
        phrase, returned, response = earlier.partition("\n\n")
        review = (phrase, response) if returned else (phrase,)
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
