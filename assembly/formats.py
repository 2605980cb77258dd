"""One table of the seven formats: what each needs, which attempts it picks, how it ends.

A format is data; `compose` turns it and a question's candidates into a trace. All chance comes
from the generator passed in. Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from assembly.phrases import Phrases
from assembly.pool import Candidate
from assembly.traces import Review, Step, Trace

TOO_FEW = "fewer usable attempts than asked for"
TOO_FEW_CORRECT = "too few correct attempts"
TOO_FEW_INCORRECT = "too few incorrect attempts"


@dataclass(frozen=True)
class Format:
    """What a format makes of a question; N is the number of attempts asked for."""

    name: str
    label: str
    """{n} stands for the number of attempts in the trace."""
    lengths: Literal["one", "all", "each"]
    """One attempt; N attempts; or one trace for each of 1..N."""
    last: tuple[bool | None, ...]
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
        return len(self.last) + self.earlier_correct

    def counts(self, attempts: int) -> range:
        """The lengths of the traces that one question gives."""
        if self.lengths == "one":
            return range(1, 2)
        return range(attempts if self.lengths == "all" else 1, attempts + 1)


FORMATS = {
    format_.name: format_
    for format_ in (
        Format("0C", "0C", "one", (True,), whole_pool=False),
        Format("*C", "{n}C", "all", (True,)),
        Format("*C_full", "{n}C", "each", (True,)),
        Format("*C*IC", "*C*IC", "all", (False,), earlier_correct=1, review="backtrack"),
        Format("*CC", "*CC", "all", (True, True), review="confirm"),
        Format("random", "random", "each", (None,)),
        Format("no_reflection", "no_reflection", "each", (True,), reflections=False),
    )
}


def choose_formats(names: Sequence[str], attempts: int) -> tuple[Format, ...]:
    """The formats of these names, each once; ValueError when there is none or N cannot hold it."""
    unknown = [name for name in names if name not in FORMATS]
    if unknown or not names:
        raise ValueError(f"unknown format {', '.join(unknown) or '(none)'}; known are {', '.join(FORMATS)}")
    if attempts < 1:
        raise ValueError(f"attempts is {attempts}; expected at least 1")
    formats = tuple(FORMATS[name] for name in dict.fromkeys(names))
    for format_ in formats:
        if attempts < format_.shortest:
            raise ValueError(f"attempts is {attempts}; format {format_.name} needs at least {format_.shortest}")
    return formats


def shortage(format_: Format, candidates: Sequence[Candidate], attempts: int) -> str | None:
    """Why these candidates cannot give the format; None when they can."""
    correct = sum(candidate.correct for candidate in candidates)
    if len(candidates) < (attempts if format_.whole_pool else 1):
        return TOO_FEW
    # a question without any correct attempt is left out of every format, "random" too, as published
    if correct < max(1, format_.last.count(True) + format_.earlier_correct):
        return TOO_FEW_CORRECT
    if len(candidates) - correct < format_.last.count(False):
        return TOO_FEW_INCORRECT
    return None


def pick(format_: Format, candidates: Sequence[Candidate], count: int, rng: Random) -> list[Candidate]:
    """`count` different candidates in trace order. Only for candidates without a shortage."""
    left = list(candidates)
    last = [_draw(left, wanted, rng) for wanted in format_.last]
    earlier = [_draw(left, True, rng) for _ in range(format_.earlier_correct)]
    earlier += rng.sample(left, count - len(last) - len(earlier))
    rng.shuffle(earlier)
    return earlier + last


def _draw(left: list[Candidate], wanted: bool | None, rng: Random) -> Candidate:
    """Take one candidate of the wanted correctness out of those left."""
    fitting = [place for place, candidate in enumerate(left) if wanted in (None, candidate.correct)]
    return left.pop(rng.choice(fitting))


def compose(format_: Format, picked: Sequence[Candidate], phrases: Phrases, rng: Random) -> Trace:
    """The picked attempts as a trace: a reflection for each, phrases between, the format's ending."""
    steps = tuple(
        Step(attempt.response, rng.choice(attempt.reflections) if format_.reflections else None) for attempt in picked
    )
    glue = tuple(rng.choice(phrases.glue(attempt.correct if format_.reflections else None)) for attempt in picked[:-1])
    answer = picked[-1].answer
    review = None
    if format_.review == "backtrack":
        latest = next(attempt for attempt in reversed(picked) if attempt.correct)
        review = Review(rng.choice(phrases.backtrack), latest.response)
        answer = latest.answer
    elif format_.review == "confirm":
        review = Review(rng.choice(phrases.confirm))
    return Trace(steps, glue, rng.choice(phrases.ending), answer, review)
