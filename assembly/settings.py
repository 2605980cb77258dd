"""What an assembly is asked for: with the RAW_DATA, all that decides its bytes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

_ATTEMPTS = re.compile(r"(?:(\d{1,4})-)?(\d{1,4})")


class Attempts(NamedTuple):
    """How many attempts a trace has: `most`, or where `least` is given too, anything between."""

    least: int | None
    most: int


def read_attempts(text: str) -> Attempts:
    """`5` or `2-5`. Raises ValueError."""
    found = _ATTEMPTS.fullmatch(text)
    if found is None or not 1 <= int(found[1] or 1) <= int(found[2]) <= 1000:
        raise ValueError(f"--attempts must be a number such as 5, or a range such as 2-5, not {text!r}")
    return Attempts(int(found[1]) if found[1] else None, int(found[2]))


@dataclass(frozen=True)
class SftSettings:
    """How a set of traces is asked for."""

    formats: tuple[str, ...]
    attempts: str
    seed: int
    repeats: int = 1
    """Traces of a format and length from each question, each drawn anew."""
    variants: tuple[str, ...] = ()
    """Samples under these prompt variants alone; all when empty."""
    unique_variants: bool = False
    """No two attempts of a trace under the same prompt variant."""
    max_similarity: float | None = None
    """No two attempts of a trace that share more than this part of their word triples."""
    drop_cut: bool = False
    """No sample that was cut at the length limit."""
    keep_unanswered: bool = False
    """Samples without an answer stand as incorrect attempts."""
    true_arithmetic: bool = False
    """No reflection that states a false equation."""
    tokenizer: str | None = None
    max_trace_tokens: int | None = None
    """Of the whole conversation in that tokenizer; longer traces are counted and left out."""
    subsample: int | None = None
    """How many traces to keep, of each label its share."""

    def __post_init__(self) -> None:
        read_attempts(self.attempts)
        if not 1 <= self.repeats <= 1000:
            raise ValueError(f"--repeats must be between 1 and 1,000, not {self.repeats}")
        if self.max_similarity is not None and not 0 <= self.max_similarity < 1:
            raise ValueError(f"--max_similarity must be at least 0 and below 1, not {self.max_similarity}")
        if (self.tokenizer is None) != (self.max_trace_tokens is None):
            raise ValueError("--tokenizer and --max_trace_tokens go together: give both or none")
        if self.max_trace_tokens is not None and self.max_trace_tokens < 1:
            raise ValueError(f"--max_trace_tokens must be at least 1, not {self.max_trace_tokens}")
        if self.subsample is not None and self.subsample < 1:
            raise ValueError(f"--subsample must be at least 1, not {self.subsample}")
