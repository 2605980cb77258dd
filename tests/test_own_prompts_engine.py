"""A user's own phrases and formats on the built-in model, with real vLLM on the CPU, as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from reflection.prompts import OURS
from tests.own_words import write_own
from tests.processes import Job

pytestmark = pytest.mark.engine


def test_the_builtin_model_with_own_phrases_and_formats(tmp_path: Path) -> None:
    own, out = write_own(tmp_path / "own", "phrases", "formats"), tmp_path / "run"
    flags = ["--out", str(out), "--questions", "12", "--prompts", str(own), "--reflection_prompts", "response"]
    job = Job("generation.run", [*flags, "--formats", "plainly,bare,back", "--attempts", "2"], tmp_path / "log")
    try:
        assert job.wait(240) == 0, job.output()
    finally:
        job.clean()
    rows = pq.read_table(out / "RAW_DATA" / "data").to_pylist()
    looks = [look for row in rows for look in row["reflections__provenance"]]
    assert {look["prompt_name"] for look in looks} == {*OURS.groups["response"]}
    assert sum(look["valid"] for look in looks) >= len(looks) / 2
    traces = pq.read_table(out / "SFT_DATA" / "data").to_pylist()
    assert {row["format"] for row in traces} == {"plainly", "bare", "back"}
    for row in traces:
        text = row["conversations"][1]["content"]
        assert text.count("\nOwn: ") == {"plainly": 2, "bare": 0, "back": 3}[row["format"]]
        assert ("<scratch>" in text) is (row["format"] == "plainly")
    assert json.loads((out / "run.json").read_text())["texts"]["phrases"]["confirm"] == ["Own: twice."]
