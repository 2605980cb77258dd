"""One table of the trace formats: what each needs of a question, which attempts it takes, how it ends."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from cluster.texts import nearest

TOO_FEW = "fewer usable attempts than asked for"
TOO_FEW_CORRECT = "too few correct attempts"
TOO_FEW_INCORRECT = "too few incorrect attempts"
TOO_ALIKE = "too few usable attempts that --unique_variants or --max_similarity lets stand in one trace"

_ATTEMPTS = re.compile(r"(?:(\d{1,4})-)?(\d{1,4})")


class Attempts(NamedTuple):
    """How many attempts a trace has: `most`, or where `least` is given too, anything between."""

    least: int | None
    most: int

    @property
    def fewest(self) -> int:
        """Attempts of the shortest trace of a format that has the length asked for."""
        return self.least or self.most


def read_attempts(text: str) -> Attempts:
    """Read `5` or `2-5`. Raises ValueError."""
    found = _ATTEMPTS.fullmatch(text)
    if found is None or not 1 <= int(found[1] or 1) <= int(found[2]) <= 1000:
        raise ValueError(f"--attempts must be a number such as 5, or a range such as 2-5, not {text!r}")
    return Attempts(int(found[1]) if found[1] else None, int(found[2]))


@dataclass(frozen=True)
class Format:
    """What a format makes of a question; N is the number of attempts asked for."""

    name: str
    label: str
    """{n} stands for the number of attempts in the trace."""
    lengths: Literal["one", "all", "each", "used up", "alone"]
    """One attempt; N attempts; one trace for each of 1..N; until no correct attempt is left; each
    correct sample for itself, without any structure."""
    last: tuple[bool | None, ...] = (True,)
    """Correctness of the last attempts, in order; None for either."""
    earlier_correct: int = 0
    """How many of the attempts before those must be correct."""
    whole_pool: bool = True
    """Needs N usable attempts even for its shorter traces, as published, so that every label of a
    format covers the same questions."""
    reflections: bool = True
    review: Literal["backtrack", "confirm"] | None = None

    @property
    def shortest(self) -> int:
        """Attempts of the shortest trace."""
        return len(self.last) + self.earlier_correct

    @property
    def reflected(self) -> bool:
        """Takes only samples that have a reflection with the right verdict, shown or not, as published."""
        return self.lengths != "alone"

    def pool(self, attempts: Attempts) -> int:
        """Return how many usable attempts a question must have."""
        if not self.whole_pool:
            return 1
        return attempts.fewest if self.lengths == "all" else attempts.most

    def shortage(self, correct: int, incorrect: int, attempts: Attempts) -> str | None:
        """Say why so many usable attempts cannot give the format; None if they can."""
        if correct + incorrect < self.pool(attempts):
            return TOO_FEW
        # a question without any correct attempt is left out of every format, "random" too, as published
        if correct < max(1, self.last.count(True) + self.earlier_correct):
            return TOO_FEW_CORRECT
        return TOO_FEW_INCORRECT if incorrect < self.last.count(False) else None


FORMATS = {
    format_.name: format_
    for format_ in (
        Format("0C", "0C", "one", whole_pool=False),
        Format("*C", "{n}C", "all"),
        Format("*C_full", "{n}C", "each"),
        Format("*C*IC", "*C*IC", "all", (False,), earlier_correct=1, review="backtrack"),
        Format("*CC", "*CC", "all", (True, True), review="confirm"),
        Format("random", "random", "each", (None,)),
        Format("no_reflection", "no_reflection", "each", reflections=False),
        # the paper's Algorithm 1, and its baseline of correct samples as they are (arXiv 2512.04072)
        Format("algorithm1", "algorithm1", "used up", whole_pool=False),
        Format("star", "star", "alone", whole_pool=False, reflections=False),
    )
}


def choose_formats(names: Sequence[str], attempts: Attempts) -> tuple[Format, ...]:
    """Return the formats of these names, each once. Raises ValueError for an unknown one, or if N cannot hold it."""
    unknown = [name for name in names if name not in FORMATS]
    if unknown or not names:
        near = [one for name in unknown for one in nearest(name, FORMATS)]
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(f"unknown format {', '.join(unknown) or '(none)'}; known are {', '.join(FORMATS)}{hint}")
    formats = tuple(FORMATS[name] for name in dict.fromkeys(names))
    for format_ in formats:
        if attempts.fewest < format_.shortest and format_.lengths == "all":
            raise ValueError(f"attempts is {attempts.fewest}; format {format_.name} needs at least {format_.shortest}")
    return formats
