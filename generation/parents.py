"""What retries follow: a sample with a reflection that says Incorrect, just made or in a row of RAW_DATA."""

from collections.abc import Iterable

from cluster.inference.engine import Completion
from generation.raw.grown import Row, sample_of
from generation.raw.schema import EXTRACTED, PARENT, REFLECTIONS, WAS_CUT
from generation.records import Attempt, InnerAttempt, Parent, Question
from reflection.verdict import parse_verdict


def shown_of(completion: Completion, inner: Iterable[InnerAttempt]) -> str:
    """Return what of a sample is reflected on: of one that is a trace itself, the attempt that gives its answer."""
    return next((one.text for one in inner if one.is_final), completion.text)


def parents_of(sample: Attempt, most: int) -> list[Parent]:
    """Return what retries of a sample see: each of its first reflections that say Incorrect, whether it is or not."""
    rejecting = [place for place, look in enumerate(sample.reflections) if look.verdict is False]
    shown = shown_of(sample.completion, sample.inner)
    return [
        Parent(
            sample.variant,
            sample.index,
            number,
            shown,
            sample.grade.extracted,
            sample.reflections[number].completion.text,
            sample.grade.outcome,
            cut=sample.completion.finish_reason == "length",
            mentions_hint=sample.mentions_hint,
        )
        for number in rejecting[:most]
    ]


def parents_in(row: Row, most: int) -> list[Parent]:
    """Return what retries of the sample in a row of RAW_DATA see, as `parents_of` does."""
    verdicts = [parse_verdict(text) for text in row[REFLECTIONS]]
    rejecting = [place for place, verdict in enumerate(verdicts) if verdict is False]
    sample = sample_of(row)
    return [
        Parent(
            *sample.place,
            number,
            sample.shown,
            row[EXTRACTED][0],
            row[REFLECTIONS][number],
            row["outcome"],
            cut=row[WAS_CUT][0],
            mentions_hint=row["mentions_hint"],
        )
        for number in rejecting[:most]
    ]


def names_of(question: Question, row: Row) -> tuple[str, str]:
    """Return what seeds the reflection prompts of the sample or retry in a row, and the key of its request."""
    if row[PARENT] is None:
        place = f"{question.key}/{row['prompt_variant']}/{row['sample_index']}"
        return place, f"{place}/sample"
    before, number = row[PARENT].rsplit("/", 1)
    key = f"{question.key}/{before}/retry/{number}"
    return key, key
