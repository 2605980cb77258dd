"""reflection.run asked for more on the same RAW_DATA: what is there stays, and nothing is asked twice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from cluster.inference.engine import Completion, Request, ScriptedSettings
from cluster.inference.replicas import Fleet
from cluster.jobs import tally
from generation.raw.schema import REFLECTIONS
from reflection.run import main
from tests.assembly_rows import write_parquet
from tests.raw_rows import bytes_of
from tests.reflection_rows import foreign_rows, rows_of
from tests.scripted_reflections import judge


def add(raw: Path, out: Path, count: int) -> Counter[str]:
    """Add so many reflections; what was asked."""
    asked = Counter[str]()

    def reply(request: Request) -> str | Completion:
        asked[request.key] += 1
        return judge(request)

    argv = [f"--raw={raw}", f"--out={out}", f"--reflections={count}"]
    assert main(argv, fleet=Fleet(ScriptedSettings(reply))) == 0
    return asked


def test_more_reflections_are_added_to_those_that_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tally, "SHARD_ROWS", 40)
    raw = write_parquet(tmp_path / "raw" / "train.parquet", foreign_rows(100)).parent
    at_once = add(raw, tmp_path / "whole", 4)
    asked, before = Counter[str](), list[list[str]]()
    for count in (1, 3, 4):
        asked += add(raw, tmp_path / "grown", count)
        now = [row[REFLECTIONS] for row in rows_of(tmp_path / "grown" / "RAW_DATA")]
        assert all(row[: len(was)] == was for row, was in zip(now, before, strict=False))
        before = now
    assert asked == at_once
    assert max(asked.values()) == 1
    assert bytes_of(tmp_path / "grown" / "RAW_DATA") == bytes_of(tmp_path / "whole" / "RAW_DATA")
    with pytest.raises(SystemExit, match="2"):
        main([f"--raw={raw}", f"--out={tmp_path / 'grown'}", "--reflections=2"], fleet=Fleet(ScriptedSettings(judge)))
    assert "--reflections was 4, now 2: a run grows, and never shrinks" in capsys.readouterr().err
