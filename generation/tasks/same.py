"""When two questions are the same, told from their wordings alone: made ones by their facts, others by their text.

What is the same here is what `generation.tasks` keeps together when it holds questions out for RL.
"""

import re
from collections.abc import Hashable, Sequence

from generation.records import collapse_spaces
from generation.tasks import countdown
from generation.tasks.task import HEADER

_PRODUCT = re.compile(r"Multiply (\d{1,9}) by (\d{1,9})\. Give the exact product")
_LETTERS = re.compile(r"Form an English word of at least \d letters from the letters ((?:\w, )*\w)\.")
_WORDS = re.compile(r"Here is a list of words, in order: ((?:\w+, )*\w+)\. Take the first letters")
_ENDS = " .?!:"


def identity_of(text: str) -> tuple[Hashable, ...]:
    """Return what a question has in common with those that are the same.

    Countdown: its numbers, in any order, and its target. Products: the factors. Words from letters: the letters.
    Others: the text without our header, but for case, space and the marks at its end.
    """
    if facts := countdown.facts_of(text):
        numbers, target = facts["numbers"], facts["target"]
        assert isinstance(numbers, list)
        return countdown_identity(numbers, target)
    if found := _PRODUCT.search(text):
        return ("product", *sorted(map(int, found.groups())))
    if found := _LETTERS.search(text):
        return ("letters", "".join(sorted(found[1].split(", "))))
    if found := _WORDS.search(text):
        return ("acronym", "".join(word[0] for word in found[1].split(", ")))
    return ("text", plain(text).rstrip(_ENDS))


def is_made(identity: tuple[Hashable, ...]) -> bool:
    """Return True if it is told by facts, not by the text."""
    return identity[0] != "text"


def countdown_identity(numbers: Sequence[int], target: object) -> tuple[Hashable, ...]:
    return ("countdown", *sorted(numbers), "target", target)


def plain(text: str) -> str:
    """Return a question without our header, in lower case, each run of space as one."""
    return collapse_spaces(collapse_spaces(text).removeprefix(_HEADER)).casefold()


_HEADER = collapse_spaces(HEADER)
