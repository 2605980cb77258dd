"""Verification, backtracking and restarts in a reply that is no trace, by its words: a proxy, whose table is data."""

from cluster.texts import load_table
from generation.evaluation.schema import SKILLS

_TABLE = load_table("generation.evaluation", "skills.toml")
_APOSTROPHES = str.maketrans("’‘", "''")
PHRASES: tuple[tuple[str, ...], ...] = tuple(tuple(_TABLE[skill]) for skill in SKILLS)
"""The phrases of each of SKILLS, in lower case."""


def skills_in(text: str) -> tuple[bool, bool, bool]:
    """Return whether a text has words of verification, of backtracking, and of a restart. Takes linear time."""
    words = " ".join(text.translate(_APOSTROPHES).lower().split())
    verification, backtracking, restart = (any(_has(words, phrase) for phrase in phrases) for phrases in PHRASES)
    return verification, backtracking, restart


def _has(words: str, phrase: str) -> bool:
    # Searching for each phrase is twice as fast as an expression of all of them.
    start = words.find(phrase)
    while start >= 0:
        end = start + len(phrase)
        if not (_goes_on(words, start) or _goes_on(words, end)):
            return True
        start = words.find(phrase, end)
    return False


def _goes_on(words: str, place: int) -> bool:
    """Return True inside a word."""
    return 0 < place < len(words) and words[place - 1].isalnum() and words[place].isalnum()
