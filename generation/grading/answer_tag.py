"""Where a response says its answer: in its last `<answer>` block. Knows nothing of what is right."""

from __future__ import annotations

from typing import NamedTuple

from reflection.tags import Block, last_block

ONLY = "the only answer tag"
LAST = "the last of several answer tags"
NESTED = "the innermost of nested answer tags"
CLOSED = "the last answer tag that is closed"
FENCED = "an answer tag in a code fence"
PLACES = (ONLY, LAST, NESTED, CLOSED, FENCED)


class Found(NamedTuple):
    """An answer, and which block it stood in."""

    text: str
    place: str
    """One of PLACES; where several are true, the one that is further from what was asked for."""


def find_answer(response: str) -> str | None:
    """The stripped text of the last closed answer block; None without one, or when it is empty.

    A block that is opened later and never closed does not count: the closed one before it does.
    """
    found = locate_answer(response)
    return found.text if found else None


def locate_answer(response: str) -> Found | None:
    """As find_answer, with the place."""
    block = last_block(response, "answer")
    text = block.text.strip() if block else ""
    return Found(text, _place(block)) if block and text else None


def _place(block: Block) -> str:
    if block.fenced:
        return FENCED
    if block.nested:
        return NESTED
    if block.reopened:
        return CLOSED
    return LAST if block.earlier else ONLY
