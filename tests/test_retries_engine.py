"""Retries of the real engine: the built-in model answers again after its own reflections, and is right more often."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from generation.raw.schema import PARENT, SEEN_COLUMN
from tests.readme import ROOT
from tests.trace_texts import parse

FLAGS = ["--questions=16", "--rl_questions=0", "--samples=1", "--retries=1", "--formats=retry"]


@pytest.mark.ray
@pytest.mark.engine
def test_the_built_in_model_mends_wrong_answers(tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "generation.run", *FLAGS, f"--out={out}"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    rows = pq.read_table(out / "RAW_DATA" / "data").to_pylist()
    after = Counter((row[SEEN_COLUMN]["outcome"], row["outcome"]) for row in rows if row[PARENT])
    wrong = sum(count for (before, _), count in after.items() if before == "wrong")
    assert wrong >= 10, ended.stdout
    assert after["wrong", "right"] >= 3, after
    assert " retries: " in ended.stdout
    traces = [
        parse(row["conversations"][-1]["content"]) for row in pq.read_table(out / "SFT_DATA" / "data").to_pylist()
    ]
    assert len(traces) >= 1
    assert all(len(trace.steps) == 2 for trace in traces)
