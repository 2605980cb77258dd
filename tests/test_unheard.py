"""A run whose terminal is closed, or whose reader is gone, goes on to its end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq

from tests.terminals import ROOT, Terminal


def _command(out: Path) -> list[str]:
    flags = ["--questions=12", "--rl_questions=0", "--samples=2", "--attempts=2", f"--out={out}"]
    return [sys.executable, "-m", "tests.drive_shown", "lasting", *flags]


def _rows(out: Path) -> int:
    return int(pq.read_table(out / "RAW_DATA" / "data").num_rows)


def test_of_a_pipe(tmp_path: Path) -> None:
    with subprocess.Popen(_command(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as job:
        assert job.stdout is not None
        assert job.stderr is not None
        job.stdout.readline()
        job.stdout.close()
        assert (job.stderr.read(), job.wait(120)) == (b"", 0)
    assert _rows(tmp_path) == 12 * 4 * 2


def test_of_a_terminal(tmp_path: Path) -> None:
    """As after `disown`: the signal that the terminal is gone is not heard."""
    deaf = ["bash", "-c", "trap '' HUP; exec \"$@\"", "bash", *_command(tmp_path)]
    shown = Terminal(deaf, 80)
    shown.wait_for(lambda: shown.find("rolling out"), 120)
    shown.hang_up()
    assert shown.process.wait(120) == 0
    assert _rows(tmp_path) == 12 * 4 * 2
    assert (tmp_path / "report.html").exists()
