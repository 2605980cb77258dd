"""Questions with options: how they are shown, and what their grader is told.

The gold answer is a letter; the facts say which text each letter stands for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from string import ascii_uppercase

ANSWER_TYPE = "choice"
_ASKED = "Answer with the letter of the right choice."
_OPTION = re.compile(r"^[ \t]*[(\[]?([A-Z])[)\].:][ \t]+(\S.*?)[ \t]*$", re.MULTILINE)


def lettered(texts: Sequence[str]) -> dict[str, str]:
    """A, B, C and so on. Raises ValueError for options that cannot be told apart, or too few or many."""
    plain = [text.strip() for text in texts]
    if not 2 <= len(plain) <= len(ascii_uppercase):
        raise ValueError(f"{len(plain)} choices, where 2 to {len(ascii_uppercase)} can be asked")
    if not all(plain):
        raise ValueError("an empty choice")
    if len({text.casefold() for text in plain}) < len(plain):
        raise ValueError("two choices that are the same")
    return dict(zip(ascii_uppercase, plain, strict=False))


def with_choices(text: str, choices: Mapping[str, str]) -> str:
    """The question, its options below it, and how to answer."""
    shown = "\n".join(f"{letter}) {choice}" for letter, choice in choices.items())
    return f"{text.strip()}\n\n{shown}\n\n{_ASKED}"


def in_text(text: str) -> dict[str, str]:
    """The options that a question shows by itself, one a line, from A on; empty without at least two."""
    choices: dict[str, str] = {}
    for letter, choice in _OPTION.findall(text):
        if letter == ascii_uppercase[len(choices)]:
            choices[letter] = choice
    return choices if len(choices) > 1 else {}
