"""The rows of a part of RAW_DATA, by question: questions that lie whole in it, and rows of those that do not.

Rows of a question usually stand together. Where they are scattered over parts, they are dealt to piles, a
pile for a range of the questions' hashes, as a few Arrow files in a folder that goes with the assembly; so
memory holds a part or a pile, not all rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assembly.candidates import POOL, choose, orders
from assembly.settings import SftSettings
from generation.raw.files import Part
from generation.raw.reader import read_part

PILE_BYTES = 48 << 20
MOST_PILES = 512
"""Files open at a time; beyond it piles grow."""
_BATCH_ROWS = 2_048
"""As many as stay in a processor's cache."""


class Dealt(NamedTuple):
    """What a part of RAW_DATA held."""

    samples: int
    left_out: Counter[str]
    whole: pa.Table
    """Rows, of schema POOL, of the questions that lie in this part alone."""


class Surveyed(NamedTuple):
    """What a part holds, told without reading a sample."""

    orders: np.ndarray
    """The `order` of each question that the part has rows of, uint64."""
    samples: np.ndarray
    """How many rows it has of each under the variants asked for, int64."""
    variants: frozenset[str]
    """All that there are; "" where a row names none."""


def survey(part: Part, variants: Collection[str]) -> Surveyed:
    """Count the rows of each question; under all variants where none is asked for."""
    groups = read_groups(part)
    keys = groups["question_key"].combine_chunks().dictionary_encode()
    asked = pc.is_in(groups["variant"], pa.array(sorted(variants), pa.string())) if variants else True
    counts = pc.if_else(asked, groups["samples"], 0).to_numpy()
    samples = np.bincount(keys.indices.to_numpy(), counts, len(keys.dictionary)).astype(np.int64)
    there = frozenset(groups["variant"].unique().to_pylist())
    return Surveyed(np.asarray(orders(keys.dictionary).to_numpy()), samples, there)


def read_groups(part: Part) -> pa.Table:
    """Return columns question_key, variant and samples: how many rows the part has of each."""
    rows = pa.concat_tables(table.select(["question_key", "variant"]) for table in read_part(part, 65_536))
    rows = rows.set_column(1, "variant", pc.fill_null(rows["variant"], ""))
    return (
        rows.group_by(rows.column_names).aggregate([([], "count_all")]).rename_columns([*rows.column_names, "samples"])
    )


def most_samples(parts: Sequence[Surveyed]) -> int:
    """Return the number of samples of the question that has most, wherever its rows lie."""
    every, places = np.unique(np.concatenate([part.orders for part in parts]), return_inverse=True)
    if not len(every):
        return 0
    return int(np.bincount(places, np.concatenate([part.samples for part in parts])).max())


def scattered(parts: Sequence[Surveyed]) -> np.ndarray:
    """Return the sorted orders that are in several parts."""
    every, counts = np.unique(np.concatenate([part.orders for part in parts]), return_counts=True)
    return np.asarray(every[counts > 1])


def count_piles(parts: Sequence[Part]) -> int:
    """From the size of RAW_DATA alone."""
    return max(1, min(MOST_PILES, sum(part.size for part in parts) // PILE_BYTES))


def deal(part: Part, number: int, apart: np.ndarray, settings: SftSettings, piles: Sequence[Path]) -> Dealt:
    """Read one part, and put its rows of the questions `apart` into the folders of their piles.

    Raises ValueError for rows that cannot be read.
    """
    samples, left_out = 0, Counter[str]()
    whole = [POOL.empty_table()]
    writers: dict[int, pa.ipc.RecordBatchFileWriter] = {}
    with ExitStack() as opened:
        for rows in read_part(part, _BATCH_ROWS):
            pool = choose(rows, settings)
            samples += pool.num_rows
            left_out.update({why: n for why, n in _counted(pool["left_out"]) if why})
            away = np.isin(pool["order"].to_numpy(), apart)
            whole.append(pool.filter(pa.array(~away)) if away.any() else pool)
            for pile, table in _split(pool.filter(pa.array(away)), len(piles)) if away.any() else ():
                if pile not in writers:
                    path = piles[pile] / f"{number:06}.arrow"
                    path.parent.mkdir(exist_ok=True)
                    # Not compressed: where all rows go this way that would take a fifth of the time.
                    writers[pile] = opened.enter_context(pa.ipc.new_file(path, POOL))
                writers[pile].write_table(table)
    return Dealt(samples, left_out, pa.concat_tables(whole))


def _counted(column: pa.ChunkedArray) -> list[tuple[str, int]]:
    return [(entry["values"], entry["counts"]) for entry in pc.value_counts(column).to_pylist()]


def _split(pool: pa.Table, piles: int) -> list[tuple[int, pa.Table]]:
    wanted = ((pool["order"].to_numpy() >> 32) * piles >> 32).astype(np.int64)
    pool = pool.take(pa.array(np.argsort(wanted, kind="stable")))
    numbers, counts = np.unique(wanted, return_counts=True)
    starts = np.cumsum(counts) - counts
    return [
        (int(number), pool.slice(start, count)) for number, start, count in zip(numbers, starts, counts, strict=True)
    ]


def read_pile(pile: Path) -> pa.Table:
    """All rows of a pile, of schema POOL, in the order of the parts."""
    tables = [POOL.empty_table()]
    for path in sorted(pile.glob("*.arrow")):
        with pa.memory_map(str(path)) as file:
            tables.append(pa.ipc.open_file(file).read_all())
    return pa.concat_tables(tables)
