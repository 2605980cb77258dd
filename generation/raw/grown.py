"""Rows of RAW_DATA that are there when more is asked: what they hold, and how reflections are added to them."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from generation.raw.schema import (
    ATTEMPTS,
    PARENT,
    PREFIX,
    PROVENANCE,
    REFLECTIONS,
    REFLECTIONS_THOUGHT,
    RIGHT,
    provenance_of,
    without_surrogates,
)
from generation.records import Reflection

Row = Mapping[str, Any]
"""A row of RAW_DATA as Python values, by column."""


class StoredSample(NamedTuple):
    """What of a row its reflections depend on."""

    place: tuple[str, int]  # variant, and index among the samples of it
    shown: str  # the attempt that reflections are on
    outcome: str
    is_correct: bool | None
    reflections: int  # how many it has


class Grown(NamedTuple):
    """A row that is there, and the reflections that it lacked."""

    row: Row
    reflections: tuple[Reflection, ...]


def samples_in(rows: Iterable[Row]) -> dict[tuple[str, int], Row]:
    """Return the rows of samples, without retries, by variant and index."""
    return {(row["prompt_variant"], row["sample_index"]): row for row in rows if row[PARENT] is None}


def sample_of(row: Row) -> StoredSample:
    """Return what of a row its reflections depend on."""
    final = next((one["text"] for one in row[ATTEMPTS] or () if one["final"]), row[PREFIX][0])
    place = row["prompt_variant"], row["sample_index"]
    return StoredSample(place, final, row["outcome"], row[RIGHT][0], len(row[REFLECTIONS]))


def with_reflections(row: Row, more: Iterable[Reflection]) -> Row:
    """Return the row with more reflections behind its own; all else is as it was."""
    looks = [*more]
    added = {
        REFLECTIONS: [look.completion.text for look in looks],
        REFLECTIONS_THOUGHT: [look.completion.thought for look in looks],
        PROVENANCE: [provenance_of(look) for look in looks],
    }
    return {**row, **{name: [*row[name], *without_surrogates(values)] for name, values in added.items()}}
