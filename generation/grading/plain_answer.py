"""An answer without what is only put round it: marks, LaTeX wrappers, labels, code fences, spaces.

Shared by the graders that compare an answer with a gold one. Knows nothing of numbers or letters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from generation.grading.typings import ascii_typing
from generation.records import OUT_OF_BOUNDS, Grade

MAX_CHARS = 10_000

DIFFERS = "differs from the gold answer"
"""The reason of a wrong answer."""

_NAME = r"(?:(?:so|thus|hence|therefore),? )?(?:(?:the|my|our) )?(?:(?:final|correct) )?answer"
_LABEL = re.compile(rf"(?:\*\*{_NAME}(?: is)?(?::\*\*|\*\*:)|{_NAME}(?: is ?:?|:)) ?", re.IGNORECASE)
_FENCE = re.compile(r"```(?:[A-Za-z]{0,12}\n)?([^`]*)```")
_WRAPPERS = (
    *((mark, mark) for mark in ("**", "*", "$", "`", '"', "'")),
    *((rf"\{name}{{", "}") for name in ("boxed", "text", "textbf", "textit", "emph", "mathrm", "fbox", "mathbf")),
    (r"\(", r"\)"),
    (r"\[", r"\]"),
    ("“", "”"),
    ("‘", "’"),
    ("«", "»"),
)
_EXCLAIMED = re.compile(r"(?:(?<=[^\W\d_]{2})|(?<=[^\W\d_]\*\*)|(?<=[^\W\d_][*\"'`”]))!+\Z")
_BRACKETED = re.compile(r"\(([^()\[\]{},]+)\)")
_UNSEEN = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\u00ad]")
_REORDERS = re.compile("[\u202a-\u202e\u2066-\u2069]")
_ROUNDS = 8
"""Of unwrapping: more than anyone types, and a bound on hostile text."""


def too_long(answer: str, most: int = MAX_CHARS) -> Grade | None:
    """The grade of an answer that is not worth looking at, None for others."""
    return Grade("unknown", OUT_OF_BOUNDS, answer) if len(answer) > most else None


def plain(text: str) -> str:
    """Single spaces, plain characters, without what is only put round an answer; case stays."""
    return _unwrapped(" ".join(ascii_typing(unfenced(text)).split()))


def bare(text: str) -> str:
    """Strip what `plain` does, and exclamation marks and outer brackets, which mean something in a formula."""
    for _ in range(_ROUNDS):
        before = text
        text = _EXCLAIMED.sub("", plain(text))
        bracketed = _BRACKETED.fullmatch(text)
        text = bracketed[1] if bracketed else text
        if text == before:
            break
    return text


def seen(text: str) -> str:
    """Without the characters that nobody sees: zero width, bidi marks, soft hyphens."""
    return _UNSEEN.sub("", text)


def reordered(text: str) -> bool:
    """Return True if the text is shown in another order than it is stored, so that nobody knows what was meant."""
    return _REORDERS.search(text) is not None


def unfenced(text: str) -> str:
    """What stands in the code fence that is all of a text, or the text."""
    fenced = _FENCE.fullmatch(text.strip())
    return fenced[1] if fenced else text


def _unwrapped(text: str) -> str:
    *_, last = layers(text)
    return last


def layers(text: str) -> Iterator[str]:
    """Yield a text, then what is left of it each time one more wrapping is taken off."""
    yield text
    for _ in range(_ROUNDS):
        before = text
        for peel in (_unlabelled, _unstopped, _unmarked, str.strip):
            if (peeled := peel(text)) != text:
                text = peeled
                yield text
        if text == before:
            break


def _unlabelled(text: str) -> str:
    return _LABEL.sub("", text, count=1) if _LABEL.match(text) else text


def _unstopped(text: str) -> str:
    if text.endswith(".") and not text.endswith(".."):
        text = text[:-1]
    return text[:-1] if text.endswith((",", ";")) and text[-2:-1].isalnum() else text


def _unmarked(text: str) -> str:
    for left, right in _WRAPPERS:
        if len(text) > len(left) + len(right) and text.startswith(left) and text.endswith(right):
            inner = text[len(left) : -len(right)]
            text = inner if _is_whole(inner, right) else text
    return text


def _is_whole(inner: str, right: str) -> bool:
    """The two marks belong together: not those of "$1$ and $2$"."""
    if right != "}":
        return right not in inner
    depth = 0
    for character in inner:
        depth += (character == "{") - (character == "}")
        if depth < 0:
            return False
    return True
