"""PAIRS_DATA under the trainers' real data code: every pair is there, whole, behind the question that it answers."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from assembly.run import main
from generation.builtin import MODEL

RUN = Path("runs/consumers")
pytestmark = pytest.mark.consumers


@pytest.mark.parametrize(("trainer", "layout"), [("trl", "messages"), ("llamafactory", "sharegpt")])
def test_every_pair_is_read_whole(trainer: str, layout: str, tmp_path: Path) -> None:
    sft, told = tmp_path / "SFT_DATA", tmp_path / "pairs.jsonl"
    flags = ["--layout", layout, "--pairs", "2", "--validation", "0.3", "--system", "Check each step."]
    main(["--raw", str(RUN), "--attempts", "1", "--out", str(sft), *flags])
    python = Path(f".venv-{trainer}/bin/python").absolute()
    command = [
        str(python),
        "tests/consumers/ask_pairs.py",
        trainer,
        str(tmp_path / "PAIRS_DATA"),
        str(MODEL),
        str(told),
    ]
    environment = os.environ | {"HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=500)
    assert ended.returncode == 0, ended.stderr[-3000:]
    found = [json.loads(line) for line in told.read_text(encoding="utf-8").splitlines()]
    rows: list[dict[str, Any]] = pq.read_table(tmp_path / "PAIRS_DATA" / "data").to_pylist()
    assert len(found) == len(rows) > 0
    for one, row in zip(found, rows, strict=True):
        turns = row["conversations" if trainer == "llamafactory" else "prompt"]
        asked = f"<|im_start|>system\nCheck each step.<|im_end|>\n<|im_start|>user\n{turns[1]['content']}<|im_end|>\n"
        assert one["prompt"] == f"{asked}<|im_start|>assistant\n"
        for name in ("chosen", "rejected"):
            said = row[name] if trainer == "llamafactory" else row[name][0]
            assert one[name].rstrip("\n") == f"{said['content']}<|im_end|>"
