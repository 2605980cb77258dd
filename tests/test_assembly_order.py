"""Traces of the buckets put into files: every kept row once and in order, whatever bucket it comes from."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assembly.sft import Summary
from assembly.sft_files import BUCKET_SCHEMA, BucketTraces, choose_traces, read_traces
from tests.assembly_rows import settings

LABELS = (("*C_full", "1C"), ("*C_full", "2C"), ("0C", "0C"))


def bucket(rows: list[tuple[str, int, int]], path: Path) -> BucketTraces:
    """Rows given as (key, score, label)."""
    columns = {name: [None] * len(rows) for name in BUCKET_SCHEMA.names} | {
        "format": [LABELS[label][0] for _, _, label in rows],
        "sft_template_type_idx": [LABELS[label][1] for _, _, label in rows],
        "question_key": [key for key, _, _ in rows],
        "score": [score for _, score, _ in rows],
        "more": [False] * len(rows),
    }
    with pa.ipc.new_file(path, BUCKET_SCHEMA) as writer:
        writer.write_table(pa.table(columns, schema=BUCKET_SCHEMA), max_chunksize=2)
    return BucketTraces(path, [LABELS[label] for _, _, label in rows], Summary())


@given(
    labels=st.lists(st.lists(st.integers(0, 2), max_size=12), max_size=4),
    at_once=st.integers(1, 9),
    subsample=st.none() | st.integers(1, 30),
)
def test_every_kept_row_comes_once_and_in_order(
    labels: list[list[int]],
    at_once: int,
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
    kept, files = (
        choose_traces(made, settings("*C", subsample=subsample)).all,
        [(one.path, len(one.labels)) for one in made],
    )
    groups = [kept[first : first + at_once] for first in range(0, len(kept), at_once)]
    found = [key for group in groups for key in read_traces(group, files)["question_key"].to_pylist()]
    assert found == sorted(set(found))
    assert len(found) == (total if subsample is None else min(subsample, total))
    if subsample is None:
        assert found == [key for one in keys for key in one]
