r"""The `\boxed{...}` answers of a text, braces matched. Knows nothing of what they say."""

from __future__ import annotations

import re

_MARK = re.compile(r"\\boxed\s*\{")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)


def boxed(text: str) -> list[str]:
    """What stands in each box, outermost boxes only, in order; a box that is never closed is none."""
    found = []
    place = 0
    while mark := _MARK.search(text, place):
        end = _closing(text, mark.end())
        if end is None:
            break
        found.append(text[mark.end() : end].strip())
        place = end
    return found


def _closing(text: str, start: int) -> int | None:
    """Where the brace that was opened before `start` is closed; an escaped brace is none."""
    depth = 1
    for brace in _BRACE.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if not depth:
            return brace.start()
    return None
