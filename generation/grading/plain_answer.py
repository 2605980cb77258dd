"""An answer without what is only put round it: marks, LaTeX wrappers, labels, code fences, spaces.

Shared by the graders that compare an answer with a gold one. Knows nothing of numbers or letters.
"""

from __future__ import annotations

import re

from generation.grading.typings import ascii_typing
from generation.records import OUT_OF_BOUNDS, Grade

MAX_CHARS = 10_000

DIFFERS = "differs from the gold answer"
"""The reason of a wrong answer."""

_NAME = r"(?:the )?(?:final )?answer"
_LABEL = re.compile(rf"(?:\*\*{_NAME}(?: is)?(?::\*\*|\*\*:)|{_NAME}(?: is ?:?|:)) ?", re.IGNORECASE)
_FENCE = re.compile(r"```(?:[A-Za-z]{0,12}\n)?([^`]*)```")
_WRAPPERS = (
    *((mark, mark) for mark in ("**", "$", "`", '"', "'")),
    *((rf"\{command}{{", "}") for command in ("boxed", "text", "textbf", "mathrm", "fbox", "mathbf")),
    (r"\(", r"\)"),
    (r"\[", r"\]"),
    ("“", "”"),
    ("‘", "’"),
    ("«", "»"),
)
_UNSEEN = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\u00ad]")
_REORDERS = re.compile("[\u202a-\u202e\u2066-\u2069]")
_ROUNDS = 8
"""Of unwrapping: more than anyone types, and a bound on hostile text."""


def too_long(answer: str, most: int = MAX_CHARS) -> Grade | None:
    """The grade of an answer that is not worth looking at, None for others."""
    return Grade("unknown", OUT_OF_BOUNDS, answer) if len(answer) > most else None


def plain(text: str) -> str:
    """Single spaces, plain characters, without what is only put round an answer; case stays."""
    return _unwrapped(" ".join(ascii_typing(_unfenced(text)).split()))


def seen(text: str) -> str:
    """Without the characters that nobody sees: zero width, bidi marks, soft hyphens."""
    return _UNSEEN.sub("", text)


def reordered(text: str) -> bool:
    """It is shown in another order than it is stored, so that nobody knows what was meant."""
    return _REORDERS.search(text) is not None


def _unfenced(text: str) -> str:
    fenced = _FENCE.fullmatch(text.strip())
    return fenced[1] if fenced else text


def _unwrapped(text: str) -> str:
    for _ in range(_ROUNDS):
        before = text
        text = _LABEL.sub("", text, count=1) if _LABEL.match(text) else text
        if text.endswith(".") and not text.endswith(".."):
            text = text[:-1]
        for left, right in _WRAPPERS:
            if len(text) > len(left) + len(right) and text.startswith(left) and text.endswith(right):
                inner = text[len(left) : -len(right)]
                text = inner if _is_whole(inner, left, right) else text
        text = text.strip()
        if text == before:
            break
    return text


def _is_whole(inner: str, left: str, right: str) -> bool:
    """The two marks belong together: not those of "$1$ and $2$"."""
    if right != "}":
        return right not in inner
    depth = 0
    for character in inner:
        depth += (character == "{") - (character == "}")
        if depth < 0:
            return False
    return True
