"""RAW_DATA to which the tests add reflections, and how they look at what came out."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from generation.raw.schema import PROVENANCE, REFLECTIONS, REFLECTIONS_THOUGHT
from reflection.added.source import ADDED
from tests import drive_reflections
from tests.assembly_rows import published_row

OURS = {REFLECTIONS, REFLECTIONS_THOUGHT, PROVENANCE, ADDED}


def add_to(raw: Path, out: Path, *flags: str, reply: str = "judge", code: int = 0) -> Path:
    """Add reflections; the folder of the RAW_DATA that comes out."""
    assert drive_reflections.main(reply, [f"--raw={raw}", f"--out={out}", *flags]) == code
    return out / "RAW_DATA"


def rows_of(raw: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(raw.glob("**/*.parquet")) for row in pq.read_table(path).to_pylist()]


def assert_only_reflections_added(before: Path, after: Path) -> None:
    """Files, rows, their order, values and types: but for our columns the same."""
    given, made = sorted(before.glob("**/*.parquet")), sorted(after.glob("data/*.parquet"))
    assert len(given) == len(made)
    for one, other in zip(given, made, strict=True):
        old, new = pq.read_table(one), pq.read_table(other)
        assert [name for name in new.schema.names if name not in OURS] == [n for n in old.schema.names if n not in OURS]
        for name in set(old.schema.names) - OURS:
            assert new.schema.field(name).equals(old.schema.field(name), check_metadata=True)
            assert new[name].equals(old[name]), name
        for name in OURS & set(old.schema.names):
            for was, now in zip(old[name].to_pylist(), new[name].to_pylist(), strict=True):
                if isinstance(was, str):
                    assert now[0] == was
                else:
                    assert now is None if was is None and not now else (now or [])[: len(was or [])] == (was or [])


def foreign_rows(count: int = 45) -> list[dict[str, Any]]:
    """In the published names; the rows of a question do not lie together."""
    rng = random.Random(5)
    return [
        published_row(f"What is {n % 7} + 4?", f"answer {n}", rng.random() < 0.5, all_other_columns='{"a": 1}', place=n)
        for n in range(count)
    ]
