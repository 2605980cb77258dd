"""The coverage-guided fuzzing of the graders, a short turn of it; benchmarks/RESULTS.md has the long one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
INPUTS = 8000


def test_atheris_finds_nothing_in_a_short_turn() -> None:
    """Each input gets an outcome, the same one twice, and none raises."""
    pytest.importorskip("atheris", reason="there is no wheel of it for this machine")
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.fuzz_graders", "--atheris", str(INPUTS), "7"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"Done {INPUTS} runs" in ended.stderr
