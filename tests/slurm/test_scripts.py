"""What shellcheck and Slurm itself say of the scripts, before anything of them runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.slurm.lab import folder, run

pytestmark = pytest.mark.slurm

ROOT = Path(__file__).parent.parent.parent
PRINTED = sorted((ROOT / "examples").glob("slurm_*.sh"))
SCRIPTS = [*PRINTED, *sorted(Path(__file__).parent.glob("*.sh"))]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(path: Path) -> None:
    done = subprocess.run(["shellcheck", path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_installing_again_changes_nothing() -> None:
    before = Path("/var/lib/dpkg/status").stat().st_mtime_ns
    done = subprocess.run(
        ["bash", Path(__file__).parent / "install.sh"], capture_output=True, text=True, check=True, timeout=20
    )
    assert (done.stdout, done.stderr) == ("", "")
    assert Path("/var/lib/dpkg/status").stat().st_mtime_ns == before


def test_slurm_reads_every_line_of_a_script_as_it_was_meant(tmp_path: Path) -> None:
    """With options that this cluster can grant; the job is held, so that nothing runs."""
    folder()
    words = ["--nodes=2", "--time=1-00:30", "--partition=main", "--job_name=a.b-c", "--cpus_per_task=2", "--mem=1500M"]
    text = run(sys.executable, "-m", "cluster.slurm", *words, "--sbatch_args=--hold,--comment=x", "--", "true")
    path = tmp_path / "job.sh"
    path.write_text(text)
    number = run("sbatch", "--parsable", str(path)).strip()
    told = dict(word.split("=", 1) for word in run("scontrol", "-o", "show", "job", number).split() if "=" in word)
    run("scancel", number)
    assert (
        told
        | {
            "JobName": "a.b-c",
            "JobState": "PENDING",
            "Partition": "main",
            "NumNodes": "2-2",
            "CPUs/Task": "2",
            "MinMemoryNode": "1500M",
            "TimeLimit": "1-00:30:00",
            "Requeue": "1",
            "Comment": "x",
            "WorkDir": os.getcwd(),
        }
        == told
    )
