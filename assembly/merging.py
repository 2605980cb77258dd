"""Traces from many files, each in order, put in one order: which rows go into which file of the set.

The order is that of a hash of the question's key, and within a question that in which its traces were made.
Decided on numbers alone; the texts are read when a file is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assembly.piles import SCORED, MadeRows

ROWS_PER_FILE = 50_000
ROWS_PER_GROUP = 1_000
"""Rows that are sorted and written at a time."""


class Slice(NamedTuple):
    """Neighbouring rows of a file."""

    path: Path
    start: int
    end: int


class Span(NamedTuple):
    """Neighbouring rows of the set: of all those kept in the slices, in order, `rows` after the first `skip`."""

    slices: tuple[Slice, ...]
    skip: int
    rows: int


def kept_scores(made: Sequence[MadeRows], subsample: int | None) -> Mapping[tuple[str, str], int]:
    """The largest score that is kept of each (format, label); every trace where no subsample is asked for.

    Of each label its share, by largest remainders.
    """
    scores: dict[tuple[str, str], list[np.ndarray]] = {}
    for rows in made:
        for place, label in enumerate(rows.labels):
            scores.setdefault(label, []).append(rows.scores[rows.label_of == place])
    found = {label: np.sort(np.concatenate(several)) for label, several in sorted(scores.items())}
    counts = {label: len(several) for label, several in found.items()}
    shares = _shares(counts, subsample) if subsample is not None else counts
    return {label: int(several[shares[label] - 1]) if shares[label] else -1 for label, several in found.items()}


def _shares(counts: Mapping[tuple[str, str], int], wanted: int) -> dict[tuple[str, str], int]:
    total = sum(counts.values())
    if wanted >= total:
        return dict(counts)
    shares = {label: wanted * count // total for label, count in counts.items()}
    remainders = sorted(counts, key=lambda label: (-(wanted * counts[label] % total), label))
    for label in remainders[: wanted - sum(shares.values())]:
        shares[label] += 1
    return shares


def plan_files(made: Sequence[MadeRows], kept: Mapping[tuple[str, str], int]) -> list[list[Span]]:
    """The spans of each file of the set; one file without any where no row is kept."""
    none = np.array([], np.uint64)
    orders = np.sort(np.concatenate([none, *(rows.orders[_kept(rows, kept)] for rows in made)]))
    starts = range(0, max(1, len(orders)), ROWS_PER_FILE)
    ends = [min(start + ROWS_PER_FILE, len(orders)) for start in starts]
    return [
        [_span(made, orders, group, min(group + ROWS_PER_GROUP, end)) for group in range(start, end, ROWS_PER_GROUP)]
        for start, end in zip(starts, ends, strict=True)
    ]


def _kept(rows: MadeRows, kept: Mapping[tuple[str, str], int]) -> np.ndarray:
    limits = np.array([kept[label] for label in rows.labels], np.int64)
    return np.asarray(rows.scores <= limits[rows.label_of])


def _span(made: Sequence[MadeRows], orders: np.ndarray, start: int, end: int) -> Span:
    first, last = orders[start], orders[end - 1]
    slices = [
        Slice(
            rows.path,
            int(np.searchsorted(rows.orders, first, "left")),
            int(np.searchsorted(rows.orders, last, "right")),
        )
        for rows in made
    ]
    skip = start - int(np.searchsorted(orders, first, "left"))
    return Span(tuple(one for one in slices if one.start < one.end), skip, end - start)


def read_span(span: Span, kept: Mapping[tuple[str, str], int]) -> pa.Table:
    """The span's rows, of schema SCORED without the order and the score."""
    rows = pa.concat_tables([SCORED.empty_table(), *map(_read, span.slices)])
    if pc.max(rows["score"]).as_py():  # all are zero where every trace is kept
        keys = zip(rows["format"].to_pylist(), rows["sft_template_type_idx"].to_pylist(), strict=True)
        keep = [score <= kept[key] for key, score in zip(keys, rows["score"].to_pylist(), strict=True)]
        rows = rows.filter(pa.array(keep, pa.bool_()))
    # A stable sort: the traces of a question lie in one file, in their order.
    places = pc.sort_indices(rows, [("order", "ascending"), ("question_key", "ascending")])
    return rows.take(places[span.skip : span.skip + span.rows]).drop_columns(["order", "score"]).combine_chunks()


def _read(one: Slice) -> pa.Table:
    with pa.memory_map(str(one.path)) as file:
        return pa.ipc.open_file(file).read_all().slice(one.start, one.end - one.start)
