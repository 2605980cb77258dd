"""Where a response says its answer: in its last `<answer>` block. Knows nothing of what is right."""

from __future__ import annotations

from reflection.tags import last_block


def find_answer(response: str) -> str | None:
    """The stripped text of the last closed answer block; None without one, or when it is empty.

    A block that is opened later and never closed does not count: the closed one before it does.
    """
    block = last_block(response, "answer")
    return (block.text.strip() or None) if block else None
