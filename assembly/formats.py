"""One table of the formats: what each needs, which attempts it picks, how it ends.

A format is data; `draw` turns it and a question's candidates into groups of attempts, `compose` a
group into a trace. All chance comes from the generator passed in. Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Literal

from assembly.candidates import Candidate
from assembly.phrases import Phrases
from assembly.settings import Attempts, SftSettings, read_attempts
from assembly.traces import Review, Step, Trace
from cluster.messages import nearest

TOO_FEW = "fewer usable attempts than asked for"
TOO_FEW_CORRECT = "too few correct attempts"
TOO_FEW_INCORRECT = "too few incorrect attempts"
TOO_ALIKE = "too few usable attempts that --unique_variants or --max_similarity lets stand in one trace"

Fits = Callable[[Sequence[Candidate], Candidate], bool]
"""Whether a candidate may stand in one trace with those picked already."""


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
        return len(self.last) + self.earlier_correct

    @property
    def reflected(self) -> bool:
        """Takes only samples that have a reflection with the right verdict, shown or not, as published."""
        return self.lengths != "alone"


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
        # the paper's Algorithm 1, and its baseline of correct samples as they are (skillfactory.md §4)
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
    fewest = attempts.least or attempts.most
    for format_ in formats:
        if fewest < format_.shortest and format_.lengths == "all":
            raise ValueError(f"attempts is {fewest}; format {format_.name} needs at least {format_.shortest}")
    return formats


def check_formats(settings: SftSettings) -> None:
    """Raise ValueError for formats that are unknown, or cannot be made as asked for."""
    for format_ in choose_formats(settings.formats, read_attempts(settings.attempts)):
        if format_.lengths == "used up" and (settings.unique_variants or settings.max_similarity is not None):
            raise ValueError(
                f"--unique_variants and --max_similarity do not go with format {format_.name}, which draws as the "
                "paper does; leave them out, or make its set for itself"
            )


def least_samples(format_: Format, attempts: Attempts) -> int:
    """Return the least number of samples of a question that can give the format."""
    return max(_pool(format_, attempts), format_.shortest)


def least_variants(format_: Format, attempts: Attempts) -> int:
    """Return the least number of prompt variants for a trace whose attempts are each under another one."""
    if format_.lengths == "all":
        return attempts.least or attempts.most
    return attempts.least or 1 if format_.lengths == "each" else 1


def _pool(format_: Format, attempts: Attempts) -> int:
    """Usable attempts that a question must have."""
    if not format_.whole_pool:
        return 1
    return attempts.least or attempts.most if format_.lengths == "all" else attempts.most


def shortage(format_: Format, candidates: Sequence[Candidate], attempts: Attempts) -> str | None:
    """Say why these candidates cannot give the format; None if they can."""
    correct = sum(candidate.correct for candidate in candidates)
    return shortage_of(format_, correct, len(candidates) - correct, attempts)


def shortage_of(format_: Format, correct: int, incorrect: int, attempts: Attempts) -> str | None:
    """As `shortage`, of so many candidates."""
    if correct + incorrect < _pool(format_, attempts):
        return TOO_FEW
    # a question without any correct attempt is left out of every format, "random" too, as published
    if correct < max(1, format_.last.count(True) + format_.earlier_correct):
        return TOO_FEW_CORRECT
    if incorrect < format_.last.count(False):
        return TOO_FEW_INCORRECT
    return None


def lengths(format_: Format, attempts: Attempts, available: int, rng: Random) -> Sequence[int]:
    """How many attempts each trace of a question has, for the formats that have a length."""
    if format_.lengths == "one":
        return (1,)
    if format_.lengths == "each":
        return range(attempts.least or 1, attempts.most + 1)
    if attempts.least is None:
        return (attempts.most,)
    return (rng.randint(attempts.least, min(attempts.most, available)),)


def pick(
    format_: Format, candidates: Sequence[Candidate], count: int, rng: Random, fits: Fits
) -> list[Candidate] | None:
    """`count` different candidates in trace order; None when too few of them fit each other.

    Only for candidates without a shortage.
    """
    left, picked = list(candidates), list[Candidate]()
    others = count - len(format_.last) - format_.earlier_correct
    for wanted in (*reversed(format_.last), *[True] * format_.earlier_correct, *[None] * others):
        # the last attempt's answer is the trace's, unless an earlier one is returned to
        free = bool(picked) or format_.review == "backtrack"
        found = _draw(left, wanted, rng, partial(_may_follow, picked, fits, free))
        if found is None:
            return None
        picked.append(found)
    last, earlier = picked[: len(format_.last)], picked[len(format_.last) :]
    rng.shuffle(earlier)
    return [*earlier, *reversed(last)]


def _may_follow(picked: Sequence[Candidate], fits: Fits, answer_is_free: bool, one: Candidate) -> bool:
    return (answer_is_free or one.answer != "") and fits(picked, one)


def _draw(
    left: list[Candidate], wanted: bool | None, rng: Random, fits: Callable[[Candidate], bool]
) -> Candidate | None:
    """Take one candidate of the wanted correctness, and that fits, out of those left."""
    places: Sequence[int] = range(len(left))
    if wanted is not None:
        places = [place for place in places if left[place].correct is wanted]
    while places:
        drawn = rng.randrange(len(places))
        if fits(left[places[drawn]]):
            return left.pop(places[drawn])
        places = [*places[:drawn], *places[drawn + 1 :]]
    return None


def use_up(candidates: Sequence[Candidate], most: int, rng: Random) -> Iterator[list[Candidate]]:
    """Algorithm 1 of the paper: groups of attempts, in trace order, until no correct one is left.

    Each draws n+ in [1, most] correct and n- in [0, n+ - 1] incorrect attempts, as far as there are,
    without replacement; all but one correct attempt are shuffled, that one is the last.
    """
    pools = {wanted: [one for one in candidates if one.correct is wanted] for wanted in (True, False)}
    for pool in pools.values():
        rng.shuffle(pool)
    while pools[True]:
        correct = min(rng.randint(1, most), len(pools[True]))
        incorrect = min(rng.randint(0, correct - 1), len(pools[False]))
        taken = [pools[True].pop() for _ in range(correct)]
        earlier = [*taken[1:], *(pools[False].pop() for _ in range(incorrect))]
        rng.shuffle(earlier)
        yield [*earlier, taken[0]]


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
