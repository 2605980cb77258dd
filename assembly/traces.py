"""Makes all traces of one question: their attempts, the phrases between them, and their text.

All randomness is seeded by the question's key.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import count, islice, repeat
from random import Random
from typing import NamedTuple

from assembly.candidates import Candidate, QuestionSamples, Retry
from assembly.faults import FAULTS
from assembly.formats import FAULTY, NO_FALSE_STEP, NOT_RETRIED, TOO_ALIKE, TOO_FEW_CORRECT, TOO_FEW_INCORRECT, Format
from assembly.phrases import glue_after
from assembly.rendering import LabeledTrace, Trace, TraceStep, render
from assembly.settings import SftSettings

_DRAWS = 20  # how often a trace is drawn, at most, until it shows none of --drop_faults


class QuestionTraces(NamedTuple):
    made: tuple[LabeledTrace, ...]
    not_given: tuple[tuple[str, str], ...]  # (format, reason) for each format that is missing, wholly or in part


def assemble_question(asked: QuestionSamples, formats: Sequence[Format], settings: SftSettings) -> QuestionTraces:
    """Make a question's traces, each with its own random generator: none depends on other formats or questions."""
    correct = sum(one.correct for one in asked.candidates)
    wrong = len(asked.candidates) - correct
    made: list[LabeledTrace] = []
    not_given = []
    words = settings.hint_words
    for format_ in formats:
        reasons = list[str]()
        if format_.lengths == "alone":
            samples = sorted(one for one in (*asked.candidates, *asked.unreflected) if one.correct)
            alone = [
                LabeledTrace(format_.name, format_.label, one.response, (one,), None, one, (), words) for one in samples
            ]
            sound = [one for one in alone if not _shows_any(settings.dropped, one)]
            made += sound
            reasons += [] if sound else [FAULTY if samples else TOO_FEW_CORRECT]
        elif lack := _shortage(format_, asked, correct, settings):
            reasons.append(lack)
        else:
            different: dict[str, LabeledTrace] = {}
            for draws, rng in _groups(format_, asked, settings):
                one = _sound(format_, asked, draws, rng, settings)
                if isinstance(one, str):
                    reasons.append(one)
                else:
                    different.setdefault(one.text, one)
            made += different.values()
            if format_.lengths == "each" and format_.longest(wrong, settings.bounds) < settings.bounds.most:
                reasons.append(TOO_FEW_INCORRECT)
        if reasons:
            not_given.append((format_.name, reasons[-1]))
    return QuestionTraces(tuple(made), tuple(not_given))


def _shortage(format_: Format, asked: QuestionSamples, correct: int, settings: SftSettings) -> str | None:
    if format_.retried:
        return None if pairs_of(format_, asked.retries) else NO_FALSE_STEP if asked.retries else NOT_RETRIED
    return format_.shortage(correct, len(asked.candidates) - correct, settings.bounds)


def pairs_of(format_: Format, retries: Iterable[Retry]) -> list[list[Candidate]]:
    """Return the attempts of each trace of a format with retries: the sample, whole or cut, and the retry."""
    if format_.lengths == "retried":
        return [[one.first, one.after] for one in retries]
    places = ((one, one.cut_place) for one in retries if one.cut_place)
    return [[one.first._replace(response=one.first.response[:end], cut=False), one.after] for one, end in places]


def _sound(
    format_: Format,
    asked: QuestionSamples,
    draws: Iterable[list[Candidate] | None],
    rng: Random,
    settings: SftSettings,
) -> LabeledTrace | str:
    """Return the first trace that is drawn without a fault of --drop_faults, or why there is none."""
    for attempts in islice(draws, _DRAWS if settings.dropped else 1):
        if attempts is None:
            return TOO_ALIKE
        trace, final = _compose(format_, attempts, rng, settings)
        label = format_.label.replace("{n}", str(len(attempts)))
        one = LabeledTrace(
            format_.name, label, render(trace), tuple(attempts), trace, final, asked.numbers, settings.hint_words
        )
        if not _shows_any(settings.dropped, one):
            return one
    return FAULTY


def _shows_any(faults: Sequence[str], made: LabeledTrace) -> bool:
    return any(FAULTS[name](made) for name in faults)


def _groups(
    format_: Format, asked: QuestionSamples, settings: SftSettings
) -> Iterator[tuple[Iterable[list[Candidate] | None], Random]]:
    """Yield draws of each trace's attempts, None if too few differ, with the generator that then draws its phrases."""
    bounds, candidates = settings.bounds, asked.candidates
    longest = format_.longest(sum(not one.correct for one in candidates), bounds)
    for number in range(settings.repeats):
        behind = f"{asked.key}/{number}" if number else asked.key
        if format_.lengths == "used_up":
            rng = Random(f"{settings.seed}/{format_.name}/{behind}")
            yield from ((repeat(group), rng) for group in _use_up(candidates, bounds.most, rng))
            continue
        if format_.retried:
            for place, pair in enumerate(pairs_of(format_, asked.retries)):
                rng = Random(f"{settings.seed}/{format_.name}/{place}/{behind}")
                yield repeat(None if _alike(pair, settings) else pair), rng
            continue
        lengths: Sequence[int] = [1 if format_.lengths == "one" else bounds.most]
        if format_.lengths == "each":
            lengths = range(bounds.least or 1, longest + 1)
        elif format_.lengths == "all" and bounds.least is not None:
            rng = Random(f"{settings.seed}/{format_.name}/{behind}/length")
            lengths = [rng.randint(bounds.least, min(longest, len(candidates)))]
        for length in lengths:
            rng = Random(f"{settings.seed}/{format_.name}/{length}/{behind}")
            yield (_pick(format_, candidates, length, rng, settings) for _ in count()), rng


def _pick(
    format_: Format, candidates: Sequence[Candidate], length: int, rng: Random, settings: SftSettings
) -> list[Candidate] | None:
    """Draw `length` candidates, in trace order; None if too few differ enough."""
    left, picked = list(candidates), list[Candidate]()
    for wanted in (
        *reversed(format_.last),
        *[True] * format_.earlier_correct,
        *[format_.earlier] * (length - format_.shortest),
    ):
        places = [place for place, one in enumerate(left) if wanted in (None, one.correct)]
        while places:
            drawn = places.pop(rng.randrange(len(places)))
            one = left[drawn]
            alike = settings.unique_variants and any(other.variant == one.variant for other in picked)
            if settings.max_similarity is not None and not alike:
                alike = any(similarity(other.response, one.response) > settings.max_similarity for other in picked)
            # The trace gives the last attempt's answer, unless it returns to an earlier one.
            if (one.answer or picked or format_.review == "backtrack") and not alike:
                picked.append(left.pop(drawn))
                break
        else:
            return None
    last, earlier = picked[: len(format_.last)], picked[len(format_.last) :]
    rng.shuffle(earlier)
    return [*earlier, *reversed(last)]


def _alike(pair: Sequence[Candidate], settings: SftSettings) -> bool:
    first, after = (one.response for one in pair)
    return settings.max_similarity is not None and similarity(first, after) > settings.max_similarity


def similarity(first: str, second: str) -> float:
    """Return the Jaccard index of the texts' word trigrams, between 0 and 1, ignoring case and spacing."""
    words = first.lower().split(), second.lower().split()
    one, other = ({tuple(text[start : start + 3]) for start in range(max(1, len(text) - 2))} for text in words)
    return len(one & other) / len(one | other)


def _use_up(candidates: Sequence[Candidate], most: int, rng: Random) -> Iterator[list[Candidate]]:
    """Yield groups of attempts, in trace order, until no correct one is left: Algorithm 1 of arXiv 2512.04072.

    Each takes n+ in [1, most] correct and n- in [0, n+ - 1] incorrect attempts, or as many as are left, without
    replacement, and shuffles all but one correct attempt, which comes last.
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


def _compose(
    format_: Format, picked: Sequence[Candidate], rng: Random, settings: SftSettings
) -> tuple[Trace, Candidate]:
    """Make a trace of the picked attempts: a reflection for each, phrases in between, the format's ending.

    Returned with it is the attempt whose answer it gives.
    """
    shown, phrases = format_.reflections, settings.words.phrases
    steps = tuple(TraceStep(one.response, rng.choice(one.reflections) if shown else None) for one in picked)
    known = [one.correct if shown else None for one in picked[:-1]]
    glue = tuple(rng.choice(glue_after(one, phrases)) for one in known) if "glue" in format_.blocks else None
    review: tuple[str, ...] = (rng.choice(phrases[format_.review]),) if format_.review != "none" else ()
    final = picked[-1]
    if format_.review == "backtrack":
        final = next(one for one in reversed(picked) if one.correct)
        review += (final.response,)
    ending = rng.choice(phrases["ending"]) if "ending" in format_.blocks else None
    return Trace(steps, glue, ending, final.answer, review, format_.marks), final
