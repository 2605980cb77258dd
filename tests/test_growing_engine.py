"""A run of the real engine, with the built-in model, that grows: the rows that were there are there, byte for byte."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.readme import ROOT
from tests.test_growing import kept, rows

FLAGS = ["--variants=original", "--rl_questions=0", "--max_tokens=48", "--formats=star"]


def typed(out: Path, *flags: str) -> str:
    command = [sys.executable, "-m", "generation.run", *FLAGS, *flags, f"--out={out}"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode in (0, 1), ended.stdout + ended.stderr
    assert (out / "RAW_DATA" / "README.md").exists(), ended.stdout + ended.stderr
    return ended.stdout


@pytest.mark.ray
@pytest.mark.engine
def test_the_built_in_model_is_asked_for_more(tmp_path: Path) -> None:
    out = tmp_path / "run"
    typed(out, "--questions=3", "--samples=1", "--reflections=1")
    before = rows(out)
    bytes_before = pq.read_table(out / "shards").num_rows
    said = typed(out, "--questions=5", "--samples=2", "--reflections=2")
    now = rows(out)
    assert (len(before), len(now), bytes_before) == (3, 10, 3)
    assert kept(before, now)
    looks = [len(row["reflections__provenance"]) for row in now.values() if row["outcome"] != "unknown"]
    assert set(looks) <= {2}
    assert "3 others have rows that stay, and are asked for what they lack" in " ".join(said.split())
    record = json.loads((out / "run.json").read_text())
    first, last = (start["output_tokens"] for start in record["starts"])
    told = sum(row["sample__provenance"]["output_tokens"] for row in now.values())
    told += sum(look["output_tokens"] for row in now.values() for look in row["reflections__provenance"])
    assert first + last == told, "nothing was asked twice"
