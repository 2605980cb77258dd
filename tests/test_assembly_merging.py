"""Traces from many files put in one order: every kept row once, whatever file it comes from."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assembly import merging
from assembly.merging import kept_scores, plan_files, read_span
from assembly.piles import SCORED, MadeRows

LABELS = (("*C_full", "1C"), ("*C_full", "2C"), ("0C", "0C"))
Rows = list[list[tuple[int, int, int]]]


def made(rows: list[tuple[int, int, int]], path: Path) -> MadeRows:
    """Rows given as (order, score, label); traces of one order are told apart by their places."""
    rows = sorted(rows, key=lambda row: row[0])
    columns = {name: [None] * len(rows) for name in SCORED.names} | {
        "order": [order for order, _, _ in rows],
        "score": [score for _, score, _ in rows],
        "format": [LABELS[label][0] for _, _, label in rows],
        "sft_template_type_idx": [LABELS[label][1] for _, _, label in rows],
        "question_key": [f"{order}" for order, _, _ in rows],
        "task": [f"{path.name} {place}" for place in range(len(rows))],
    }
    with pa.ipc.new_file(path, SCORED) as writer:
        writer.write_table(pa.table(columns, schema=SCORED), max_chunksize=2)
    label_of = np.array([label for _, _, label in rows], np.int32)
    orders, scores = np.array(columns["order"], np.uint64), np.array(columns["score"], np.int64)
    return MadeRows(path, 0, orders, scores, LABELS, label_of, Counter(), Counter())


@given(
    files=st.lists(
        st.lists(st.tuples(st.integers(0, 12), st.integers(0, 50), st.integers(0, 2)), max_size=12), max_size=4
    ),
    per_file=st.integers(1, 9),
    per_group=st.integers(1, 4),
    subsample=st.none() | st.integers(1, 30),
)
def test_every_kept_row_comes_once_and_in_order(
    files: Rows, per_file: int, per_group: int, subsample: int | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("made")
    # A question lies in one file alone, and no two scores are the same.
    files = [[(order * 4 + number, score, label) for order, score, label in rows] for number, rows in enumerate(files)]
    scores = random.Random(0).sample(range(10_000), sum(map(len, files)))
    files = [[(order, scores.pop(), label) for order, _, label in rows] for rows in files]
    all_made = [made(rows, folder / f"{number}.arrow") for number, rows in enumerate(files)]
    kept = kept_scores(all_made, subsample)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merging, "ROWS_PER_FILE", per_file)
        patch.setattr(merging, "ROWS_PER_GROUP", per_group)
        planned = plan_files(all_made, kept)
    written = [[row for span in spans for row in read_span(span, kept).to_pylist()] for spans in planned]
    wanted = sum(map(len, files)) if subsample is None else min(subsample, sum(map(len, files)))
    assert [len(rows) for rows in written[:-1]] == [per_file] * (len(written) - 1)
    rows = [row for one in written for row in one]
    assert len({row["task"] for row in rows}) == len(rows) == wanted
    orders = [int(row["question_key"]) for row in rows]
    assert orders == sorted(orders)
    for before, after in itertools.pairwise(rows):
        if before["question_key"] == after["question_key"]:
            assert int(before["task"].split()[1]) < int(after["task"].split()[1])
