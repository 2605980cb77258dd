"""All the traces that one question gives, and what it cannot. All chance comes from generators seeded by its key."""

from collections.abc import Iterator, Sequence
from random import Random
from typing import NamedTuple

from assembly.candidates import Candidate, QuestionSamples
from assembly.formats import TOO_ALIKE, TOO_FEW_CORRECT, Attempts, Format
from assembly.settings import SftSettings
from assembly.traces import PHRASES, Review, Trace, TraceStep, glue_after, render


class Made(NamedTuple):
    """A trace and what it was made of."""

    format: str
    label: str
    text: str
    """What the assistant says."""
    attempts: tuple[Candidate, ...]
    trace: Trace | None
    """None where the text is a sample alone."""


class QuestionTraces(NamedTuple):
    """All that one question gives, and what it cannot."""

    made: tuple[Made, ...]
    not_given: tuple[tuple[str, str], ...]
    """(format, reason) of each format it cannot give, or not every trace of."""


def assemble_question(asked: QuestionSamples, formats: Sequence[Format], settings: SftSettings) -> QuestionTraces:
    """Make the traces of one question.

    Every trace draws from a generator of its own, seeded by run seed, format, length, repeat and
    question, so that it does not change with the other formats or questions asked for.
    """
    attempts, correct = settings.bounds, sum(one.correct for one in asked.candidates)
    made: list[Made] = []
    not_given = []
    for format_ in formats:
        reason = format_.shortage(correct, len(asked.candidates) - correct, attempts)
        if format_.lengths == "alone":
            samples = sorted(one for one in (*asked.candidates, *asked.unreflected) if one.correct)
            made += [Made(format_.name, format_.label, one.response, (one,), None) for one in samples]
            reason = None if samples else TOO_FEW_CORRECT
        elif reason is None:
            found, reason = _framed(format_, asked, settings)
            made += found
        if reason is not None:
            not_given.append((format_.name, reason))
    return QuestionTraces(tuple(made), tuple(not_given))


def _framed(format_: Format, asked: QuestionSamples, settings: SftSettings) -> tuple[list[Made], str | None]:
    """The different traces of a format that has no shortage, and why there are not more of them."""
    found: dict[str, Made] = {}
    reason = None
    for picked, rng in _groups(format_, asked, settings):
        if picked is None:
            reason = TOO_ALIKE
            continue
        trace = _compose(format_, picked, rng)
        text = render(trace)
        label = format_.label.replace("{n}", str(len(picked)))
        found.setdefault(text, Made(format_.name, label, text, tuple(picked), trace))
    return list(found.values()), reason


def _groups(
    format_: Format, asked: QuestionSamples, settings: SftSettings
) -> Iterator[tuple[list[Candidate] | None, Random]]:
    """The attempts of each trace in order, with the generator that goes on to draw its phrases."""
    attempts = settings.bounds
    for repeat in range(settings.repeats):
        behind = f"{asked.key}/{repeat}" if repeat else asked.key
        if format_.lengths == "used up":
            rng = Random(f"{settings.seed}/{format_.name}/{behind}")
            yield from ((group, rng) for group in _use_up(asked.candidates, attempts.most, rng))
            continue
        drawn = Random(f"{settings.seed}/{format_.name}/{behind}/length")
        for count in _lengths(format_, attempts, len(asked.candidates), drawn):
            rng = Random(f"{settings.seed}/{format_.name}/{count}/{behind}")
            yield _pick(format_, asked.candidates, count, rng, settings), rng


def _lengths(format_: Format, attempts: Attempts, available: int, rng: Random) -> Sequence[int]:
    """How many attempts each trace of a question has."""
    if format_.lengths == "one":
        return (1,)
    if format_.lengths == "each":
        return range(attempts.least or 1, attempts.most + 1)
    if attempts.least is None:
        return (attempts.most,)
    return (rng.randint(attempts.least, min(attempts.most, available)),)


def _pick(
    format_: Format, candidates: Sequence[Candidate], count: int, rng: Random, settings: SftSettings
) -> list[Candidate] | None:
    """`count` different candidates in trace order; None when too few of them fit each other."""
    left, picked = list(candidates), list[Candidate]()
    others = count - format_.shortest
    for wanted in (*reversed(format_.last), *[True] * format_.earlier_correct, *[None] * others):
        places = [place for place, one in enumerate(left) if wanted is None or one.correct is wanted]
        # the last attempt's answer is the trace's, unless an earlier one is returned to
        needs_answer = not picked and format_.review != "backtrack"
        while places:
            drawn = rng.randrange(len(places))
            one = left[places[drawn]]
            if (one.answer or not needs_answer) and _fits(picked, one, settings):
                picked.append(left.pop(places[drawn]))
                break
            del places[drawn]
        else:
            return None
    last, earlier = picked[: len(format_.last)], picked[len(format_.last) :]
    rng.shuffle(earlier)
    return [*earlier, *reversed(last)]


def _fits(picked: Sequence[Candidate], new: Candidate, settings: SftSettings) -> bool:
    """Whether a candidate may stand in one trace with those picked already."""
    if settings.unique_variants and any(one.variant == new.variant for one in picked):
        return False
    most = settings.max_similarity
    return most is None or all(similarity(one.response, new.response) <= most for one in picked)


def similarity(first: str, second: str) -> float:
    """Return the Jaccard index of the texts' word triples, between 0 and 1; case and spacing do not count."""
    triples = []
    for text in (first, second):
        words = text.lower().split()
        triples.append({tuple(words[start : start + 3]) for start in range(max(1, len(words) - 2))})
    one, other = triples
    return len(one & other) / len(one | other)


def _use_up(candidates: Sequence[Candidate], most: int, rng: Random) -> Iterator[list[Candidate]]:
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


def _compose(format_: Format, picked: Sequence[Candidate], rng: Random) -> Trace:
    """The picked attempts as a trace: a reflection for each, phrases between, the format's ending."""
    shown = format_.reflections
    steps = tuple(TraceStep(one.response, rng.choice(one.reflections) if shown else None) for one in picked)
    glue = tuple(rng.choice(glue_after(one.correct if shown else None)) for one in picked[:-1])
    answer, review = picked[-1].answer, None
    if format_.review == "backtrack":
        latest = next(one for one in reversed(picked) if one.correct)
        review = Review(rng.choice(PHRASES["backtrack"]), latest.response)
        answer = latest.answer
    elif format_.review == "confirm":
        review = Review(rng.choice(PHRASES["confirm"]))
    return Trace(steps, glue, rng.choice(PHRASES["ending"]), answer, review)
