"""Sets of more than one file, and what cards are made of."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from assembly import sft_files
from assembly.assemble import assemble
from cluster.jobs.card import Table, code, fenced
from generation.records import stable_hash
from tests.assembly_rows import published_row, settings, write_parquet


@pytest.mark.parametrize(("per_file", "sizes"), [(4, [4, 4, 1]), (9, [9]), (3, [3, 3, 3]), (1000, [9])])
def test_a_long_set_is_written_in_several_files(
    per_file: int, sizes: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sft_files, "ROWS_PER_FILE", per_file)
    monkeypatch.setattr(sft_files, "ROWS_PER_GROUP", 2)
    raw = write_parquet(tmp_path / "raw.parquet", [published_row(f"q{n}", "r", True) for n in range(9)])
    out = tmp_path / "SFT_DATA"
    assemble(raw, out, settings("0C"))
    files = sorted((out / "data").iterdir())
    assert [file.name for file in files] == [f"train-0000{n}-of-0000{len(sizes)}.parquet" for n in range(len(sizes))]
    assert [pq.read_metadata(file).num_rows for file in files] == sizes
    for size, found in zip(sizes, map(pq.read_metadata, files), strict=True):
        groups = [found.row_group(number).num_rows for number in range(found.num_row_groups)]
        assert groups == [2] * (size // 2) + [1] * (size % 2)
    keys = [key for file in files for key in pq.read_table(file)["question_key"].to_pylist()]
    assert sorted(keys) == sorted(stable_hash(f"q{n}")[:16] for n in range(9))


@pytest.mark.parametrize(
    ("text", "fence"),
    [("plain", "```"), ("``` ends", "````"), ("`````", "``````"), ("a `b`", "```")],
)
def test_fenced_text_cannot_leave_its_fence(text: str, fence: str) -> None:
    assert fenced(text) == f"{fence}\n{text}\n{fence}\n"


def test_a_table_keeps_its_cells_apart() -> None:
    assert Table(("name", "count"), [(code("a|b"), 1234), ("c\nd", 5)]).markdown() == (
        "| name | count |\n| --- | ---: |\n| `a\\|b` | 1,234 |\n| c d | 5 |\n"
    )


def test_a_table_is_the_same_as_text() -> None:
    told = Table(("  name", "count", "share"), [("a" * 9, 1234, 0.5), ("", 5, None)])
    assert told.text(7, 8) == ["  name      count   share", "  aaaaaa…   1,234   50.0%", "  (none)        5       -"]
    assert told.markdown(1).splitlines()[2:] == ["| `aaaaaaaaa` | 1,234 | 50.0% |", "| `(none)` | 5 |  |"]
