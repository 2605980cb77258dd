"""Finds the first false step of an attempt: an equation that arithmetic shows to be false, or what a reflection names.

A reflection names a step where it quotes it, in marks or as an equation, in a clause that calls something wrong. This
reads wording, not meaning: it finds some of the steps, and now and then one that is not the first.
"""

import re
from collections.abc import Iterator

from assembly.claims import located_false

_CLAUSE = re.compile(r"(?<=[.;!?])\s+|\n|,?\s+(?=(?:but|while|whereas|however|yet)\b)", re.IGNORECASE)
_FAULT = re.compile(
    r"\b(?:wrong|incorrect|mistaken?|error|false|untrue|not (?:right|correct|true|valid|allowed)"
    r"|(?:is|was|are|were)n't (?:right|correct|true|valid|allowed)|(?:does|do|did)(?: not|n't) (?:hold|follow)"
    r"|should (?:be|have been|equal))\b",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"(?:\b(?:no|not|never|without|any|nothing)|n't)\s+(?:an?\s+|any\s+)?(?:wrong|incorrect|mistake|error|false)\b",
    re.IGNORECASE,
)
_QUOTED = re.compile(r'"([^"\n]{3,200})"|“([^”\n]{3,200})”|`([^`\n]{3,200})`|«([^»\n]{3,200})»')
_EQUATION = re.compile(r"(?<![\w.])[\d(][\d .+\-*/×÷−·()]{2,100}=\s?[-−]?\d{1,18}(?:\.\d{1,18})?(?![\d.]\d)")
_PIECE = re.compile(r"\d+(?:\.\d+)?|[^\W\d]+|[^\w\s]")
_CLOSING = re.compile(r"[)\]}$*`\"”»]{0,8}[.;!]?")
_ANSWER = re.compile(r"<\s*/?\s*answer\b|\\boxed", re.IGNORECASE)
_LONGEST = 20_000  # characters of a reflection that are read


def cut_place(attempt: str, reflection: str) -> int | None:
    """Return where an attempt is to be cut: behind its first false step, as far as one is known; None if none is.

    What stands before holds no answer, and something stands behind.
    """
    ends = [end for end, _ in located_false(attempt)][:1]
    ends += [end for named in _named(reflection[:_LONGEST]) if (end := _found(named, attempt)) is not None]
    if not ends:
        return None
    closing = _CLOSING.match(attempt, min(ends))
    place = closing.end() if closing else min(ends)
    return None if _ANSWER.search(attempt[:place]) or not attempt[place:].strip() else place


def _named(reflection: str) -> Iterator[str]:
    """Yield what the reflection quotes where it calls something wrong."""
    for clause in _CLAUSE.split(reflection):
        if clause.rstrip().endswith("?") or not _FAULT.search(clause) or _DENIED.search(clause):
            continue
        yield from (next(filter(None, found.groups())) for found in _QUOTED.finditer(clause))
        yield from (found[0] for found in _EQUATION.finditer(clause))


def _found(named: str, attempt: str) -> int | None:
    """Return where this first ends in the attempt, whatever the spacing; None if it is not there."""
    pieces = _PIECE.findall(named.strip(" .,;:!"))
    if not pieces:
        return None
    pattern = r"\s*".join(map(re.escape, pieces))
    found = re.search(rf"(?<![\w.]){pattern}(?!\w|\.\d)", attempt)
    return found.end() if found else None
