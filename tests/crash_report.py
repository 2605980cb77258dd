"""What came of a run directory that was killed and resumed: counted, and compared row by row with a quiet run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

_LONGEST_S = 1200
_IDENTITY = ("question_key", "prompt_variant", "sample_index")


@dataclass
class Report:
    """What came of a course."""

    seed: int
    engine: str
    kills: Counter[str] = field(default_factory=Counter)
    hung: int = 0
    """Times that the job was alive and did nothing, and had to be killed."""
    ended: Counter[str] = field(default_factory=Counter)
    """Exit codes of jobs that ended by themselves."""
    lost: int = 0
    twice: int = 0
    differing: int = 0
    """Rows that the quiet run has otherwise."""
    same_bytes: bool = False
    again: int = 0
    """Questions begun once more than needed."""
    spread: int = 0
    """Most nodes that held engines when one was killed."""
    left: int = 0
    """Processes that outlived their job by 20 s."""
    seconds: float = 0.0

    @property
    def survived(self) -> bool:
        return not (self.lost or self.twice or self.differing or self.left or self.hung) and self.same_bytes

    def record(self) -> dict[str, Any]:
        return {**vars(self), "survived": self.survived}

    def compare(self, run: Path, quiet: Path, begun: Sequence[str]) -> None:
        """Count what differs from the quiet run. `begun` holds a line for each time that a question was begun."""
        mine, theirs = run / "run" / "RAW_DATA", quiet / "run" / "RAW_DATA"
        self.same_bytes = files(mine) == files(theirs)
        rows, wanted = read(mine), read(theirs)
        keys, owed = list(map(identity, rows)), {identity(row): row for row in wanted}
        self.lost = len(owed.keys() - set(keys))
        self.twice = len(keys) - len(set(keys))
        self.differing = sum(row != owed.get(key) for key, row in zip(keys, rows, strict=True))
        self.again = len(begun) - len(set(begun))


def files(folder: Path) -> dict[str, bytes]:
    """The dataset's files by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*.parquet"))}


def read(folder: Path) -> list[dict[str, Any]]:
    """The dataset's rows in their order."""
    rows: list[dict[str, Any]] = pa.concat_tables(map(pq.read_table, sorted(folder.rglob("*.parquet")))).to_pylist()
    return rows


def identity(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """What tells a row from every other row."""
    return tuple(row[name] for name in _IDENTITY)


def kill(scene: str, kills: int, folder: Path) -> dict[str, Any]:
    """One course of so many kills; its report."""
    state = folder / "state.jsonl"
    command = [sys.executable, "-m", "benchmarks.kills", str(state), str(kills), "1", scene]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_LONGEST_S)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    report: dict[str, Any] = json.loads(state.read_text())
    told = ended.stdout + "".join(path.read_text() for path in folder.glob("state.*/log"))
    assert report["survived"], told
    assert sum(report["kills"].values()) >= kills
    assert set(report["ended"]) <= {"0", "1"}, told
    return report
