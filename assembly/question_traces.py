"""All the traces that one question gives, and what it cannot: the pure heart of the assembly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import NamedTuple

from assembly.candidates import Asked, Candidate
from assembly.formats import TOO_ALIKE, TOO_FEW_CORRECT, Fits, Format, compose, lengths, pick, shortage, use_up
from assembly.phrases import load_phrases
from assembly.settings import SftSettings, read_attempts
from assembly.traces import Trace, render


class Made(NamedTuple):
    """A trace and what it was made of."""

    format: str
    label: str
    text: str
    """What the assistant says."""
    attempts: tuple[Candidate, ...]
    trace: Trace | None
    """None where the text is a sample alone."""

    @property
    def variants(self) -> tuple[str, ...]:
        """The prompt variant of each attempt."""
        return tuple(attempt.variant for attempt in self.attempts)


class QuestionTraces(NamedTuple):
    """All that one question gives, and what it cannot."""

    made: tuple[Made, ...]
    not_given: tuple[tuple[str, str], ...]
    """(format, reason) of each format it cannot give, or not every trace of."""


def assemble_question(asked: Asked, formats: Sequence[Format], settings: SftSettings) -> QuestionTraces:
    """The traces of one question.

    Every trace draws from a generator of its own, seeded by run seed, format, length, repeat and
    question, so that it does not change with the other formats or questions asked for.
    """
    made: list[Made] = []
    not_given = []
    for format_ in formats:
        found, reason = _of_format(format_, asked, settings)
        made += found
        if reason is not None:
            not_given.append((format_.name, reason))
    return QuestionTraces(tuple(made), tuple(not_given))


def _of_format(format_: Format, asked: Asked, settings: SftSettings) -> tuple[list[Made], str | None]:
    if format_.lengths == "alone":
        samples = [one for one in sorted((*asked.candidates, *asked.unreflected)) if one.correct]
        found = [Made(format_.name, format_.label, one.response, (one,), None) for one in samples]
        return found, None if found else TOO_FEW_CORRECT
    reason = shortage(format_, asked.candidates, read_attempts(settings.attempts))
    if reason is not None:
        return [], reason
    found, seen = [], set()
    for picked, rng in _groups(format_, asked, settings):
        if picked is None:
            reason = TOO_ALIKE
            continue
        trace = compose(format_, picked, load_phrases(), rng)
        text = render(trace)
        if text not in seen:
            seen.add(text)
            label = format_.label.replace("{n}", str(len(picked)))
            found.append(Made(format_.name, label, text, tuple(picked), trace))
    return found, reason


def _groups(format_: Format, asked: Asked, settings: SftSettings) -> Iterator[tuple[list[Candidate] | None, Random]]:
    """The attempts of each trace in order, with the generator that goes on to draw its phrases."""
    attempts, fits = read_attempts(settings.attempts), _fits(settings)
    for repeat in range(settings.repeats):
        again = f"/{repeat}" if repeat else ""
        if format_.lengths == "used up":
            rng = Random(f"{settings.seed}/{format_.name}/{asked.key}{again}")
            yield from ((group, rng) for group in use_up(asked.candidates, attempts.most, rng))
            continue
        drawn = Random(f"{settings.seed}/{format_.name}/{asked.key}{again}/length")
        for count in lengths(format_, attempts, len(asked.candidates), drawn):
            rng = Random(f"{settings.seed}/{format_.name}/{count}/{asked.key}{again}")
            yield pick(format_, asked.candidates, count, rng, fits), rng


def _fits(settings: SftSettings) -> Fits:
    """What attempts of one trace must not share."""

    def fits(picked: Sequence[Candidate], new: Candidate) -> bool:
        if settings.unique_variants and any(one.variant == new.variant for one in picked):
            return False
        most = settings.max_similarity
        return most is None or all(similarity(one.response, new.response) <= most for one in picked)

    return fits


def similarity(first: str, second: str) -> float:
    """Jaccard index of the texts' word triples, between 0 and 1; case and spacing do not count."""
    one, other = _triples(first), _triples(second)
    return len(one & other) / len(one | other)


def _triples(text: str) -> set[tuple[str, ...]]:
    words = text.lower().split()
    return {tuple(words[start : start + 3]) for start in range(max(1, len(words) - 2))}
