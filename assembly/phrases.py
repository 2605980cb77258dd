"""The phrases that join attempts into a trace, as data: `phrases.toml`. Knows nothing of traces."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from cluster.templates import load_table


@dataclass(frozen=True)
class Phrases:
    """Every kind of phrase; each one line of plain text."""

    generic: tuple[str, ...]
    """Between attempts, after any attempt."""
    correct: tuple[str, ...]
    """Between attempts, after a correct one."""
    incorrect: tuple[str, ...]
    """Between attempts, after an incorrect one."""
    ending: tuple[str, ...]
    """Before the final answer."""
    backtrack: tuple[str, ...]
    """After the thinking, when it ended on an incorrect attempt."""
    confirm: tuple[str, ...]
    """After the thinking, when it ended on two correct attempts."""

    def glue(self, was_correct: bool | None) -> tuple[str, ...]:
        """What may follow an attempt; None when nothing is said about its correctness."""
        if was_correct is None:
            return self.generic
        return (self.correct if was_correct else self.incorrect) + self.generic


@cache
def load_phrases() -> Phrases:
    """The phrases that ship with the package."""
    table = load_table("assembly", "phrases.toml")
    return Phrases(**{kind: tuple(phrases) for kind, phrases in table.items()})
