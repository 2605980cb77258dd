"""Rows dealt by question: whatever their order in RAW_DATA, all rows of a question meet in one pile.

A pile holds the questions whose hash lies in its range, as a few Arrow files; so memory holds one
pile, not all rows. Made for each assembly anew, in a folder that goes with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assembly.candidates import POOL, choose
from assembly.settings import SftSettings
from generation.raw_reader import Part, read_part

PILE_BYTES = 48 << 20
MOST_PILES = 512
"""Files open at a time; beyond it piles grow."""
_BATCH_ROWS = 16_384


class Dealt(NamedTuple):
    """What a part of RAW_DATA held."""

    samples: int
    left_out: Counter[str]


def count_piles(parts: Sequence[Part]) -> int:
    """From the size of RAW_DATA alone, so that the same rows give the same piles."""
    return max(1, min(MOST_PILES, sum(part.size for part in parts) // PILE_BYTES))


def deal(part: Part, number: int, piles: int, settings: SftSettings, folder: Path) -> Dealt:
    """Deal the rows of one part; raises ValueError for rows that cannot be read."""
    samples, left_out = 0, Counter[str]()
    writers: dict[int, pa.ipc.RecordBatchFileWriter] = {}
    try:
        for rows in read_part(part, _BATCH_ROWS):
            pool = choose(rows, settings)
            samples += pool.num_rows
            left_out.update({why: n for why, n in _counted(pool["left_out"]) if why})
            for pile, table in _split(pool, piles):
                if pile not in writers:
                    path = folder / f"pile-{pile:04}-{number:06}.arrow"
                    # Not compressed: that would take a fifth of the whole assembly's time.
                    writers[pile] = pa.ipc.new_file(path, POOL)
                writers[pile].write_table(table)
    finally:
        for writer in writers.values():
            writer.close()
    return Dealt(samples, left_out)


def _counted(column: pa.ChunkedArray) -> list[tuple[str, int]]:
    return [(entry["values"], entry["counts"]) for entry in pc.value_counts(column).to_pylist()]


def _split(pool: pa.Table, piles: int) -> list[tuple[int, pa.Table]]:
    if piles == 1:
        return [(0, pool)]
    orders = pool["order"].combine_chunks().dictionary_encode()
    pile_of = np.array([int(order[:8], 16) * piles >> 32 for order in orders.dictionary.to_pylist()])
    wanted = pile_of[orders.indices.to_numpy()]
    pool = pool.take(pa.array(np.argsort(wanted, kind="stable")))
    numbers, counts = np.unique(wanted, return_counts=True)
    starts = np.cumsum(counts) - counts
    return [
        (int(number), pool.slice(start, count)) for number, start, count in zip(numbers, starts, counts, strict=True)
    ]


def read_pile(pile: int, folder: Path) -> pa.Table:
    """All rows of a pile, of schema POOL, in the order of the parts."""
    tables = [POOL.empty_table()]
    for path in sorted(folder.glob(f"pile-{pile:04}-*.arrow")):
        with pa.memory_map(str(path)) as file:
            tables.append(pa.ipc.open_file(file).read_all())
    return pa.concat_tables(tables)
