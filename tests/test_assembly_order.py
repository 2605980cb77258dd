"""Traces of the buckets put into files: every kept row once and in order, whatever bucket it comes from."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assembly import exports
from assembly.buckets import BucketTraces
from assembly.cards import SFT_SCHEMA
from assembly.exports import plan_files, read_groups

LABELS = (("*C_full", "1C"), ("*C_full", "2C"), ("0C", "0C"))


def bucket(rows: list[tuple[str, int, int]], path: Path) -> BucketTraces:
    """Rows given as (key, score, label)."""
    columns = {name: [None] * len(rows) for name in SFT_SCHEMA.names} | {
        "format": [LABELS[label][0] for _, _, label in rows],
        "sft_template_type_idx": [LABELS[label][1] for _, _, label in rows],
        "question_key": [key for key, _, _ in rows],
    }
    with pa.ipc.new_file(path, SFT_SCHEMA) as writer:
        writer.write_table(pa.table(columns, schema=SFT_SCHEMA), max_chunksize=2)
    labels = {
        label: np.array([(place, row[1]) for place, row in enumerate(rows) if row[2] == number], np.int64)
        for number, label in enumerate(LABELS)
        if any(row[2] == number for row in rows)
    }
    return BucketTraces(path, 0, len(rows), labels, Counter(), Counter(), 0)


@given(
    labels=st.lists(st.lists(st.integers(0, 2), max_size=12), max_size=4),
    per_file=st.integers(1, 9),
    per_group=st.integers(1, 4),
    subsample=st.none() | st.integers(1, 30),
)
def test_every_kept_row_comes_once_and_in_order(
    labels: list[list[int]],
    per_file: int,
    per_group: int,
    subsample: int | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("made")
    total = sum(map(len, labels))
    scores = random.Random(0).sample(range(1, 10_000), total)  # no two are the same
    keys = [[f"{number} {place:02}" for place in range(len(found))] for number, found in enumerate(labels)]
    made = [
        bucket([(key, scores.pop(), label) for key, label in zip(*rows, strict=True)], folder / f"{number}.arrow")
        for number, rows in enumerate(zip(keys, labels, strict=True))
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exports, "ROWS_PER_FILE", per_file)
        patch.setattr(exports, "ROWS_PER_GROUP", per_group)
        groups = [
            [group["question_key"].to_pylist() for group in read_groups(one)] for one in plan_files(made, subsample)
        ]
    written = [[key for group in one for key in group] for one in groups]
    assert all(len(group) == per_group for one in groups for group in one[:-1])
    assert [len(found) for found in written[:-1]] == [per_file] * (len(written) - 1)
    found = [key for one in written for key in one]
    assert found == sorted(set(found))
    assert len(found) == (total if subsample is None else min(subsample, total))
    if subsample is None:
        assert found == [key for one in keys for key in one]
