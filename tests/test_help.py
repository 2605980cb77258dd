"""What the commands say of themselves: --help, --version, a package without a command, and to a reader who leaves."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

import assembly.check
import assembly.report
import assembly.run
import cluster.slurm
import cluster.status
import generation.regrade
import generation.settings
from assembly.formats import FORMATS
from cluster import COMMANDS
from cluster.flag_help import HELP_WIDTH
from cluster.flags import parse
from generation.evaluation.settings import EvaluateSettings
from generation.settings import Settings
from generation.variants import PLAIN
from reflection.added.plan import AdditionSettings

ROOT = Path(__file__).parent.parent


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(Settings, ["--version"])
    assert ended.value.code == 0
    assert re.fullmatch(r"skillfactory-data (\d[\w.]*|\(not installed\))\n", capsys.readouterr().out)


REAL = [
    Settings,
    EvaluateSettings,
    AdditionSettings,
    generation.regrade.Config,
    assembly.run.Config,
    assembly.check.Config,
    assembly.report.Config,
    cluster.slurm.Options,
    cluster.status.Config,
]


@pytest.mark.parametrize("command", REAL)
def test_the_help_of_each_command_is_whole(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """At 80 columns, nothing cut, every choice named."""
    with pytest.raises(SystemExit, match="0"):
        parse(command, ["--help"])
    page = capsys.readouterr().out
    assert max(map(len, page.splitlines())) <= HELP_WIDTH
    assert "..." not in page
    words = " ".join(page.split())
    required = ["(required)" in line for line in page.splitlines() if line.startswith("    --")]
    assert required == sorted(required, reverse=True), "what must be given comes first"
    for name, kind in get_type_hints(command).items():
        assert f"--{name}=" in words
        for choice in [one for member in get_args(kind) if get_origin(member) is Literal for one in get_args(member)]:
            assert re.search(rf"Type: one of [^.]*\b{choice}\b", words), f"--{name} does not say {choice}"
    for line in re.findall(r"--(?:formats|variants)=.*?(?= --\w+=)", words):
        names = FORMATS if line.startswith("--formats") else PLAIN
        assert [name for name in names if name not in line] == []


def test_the_formats_that_the_help_names_are_those_there_are() -> None:
    assert tuple(FORMATS) == generation.settings.FORMATS


@pytest.mark.parametrize(
    "command",
    [
        "generation.run --help",
        "generation.run --version",
        "generation.run --list_tasks",
        "generation.run --dry_run",
        "assembly.run --help",
        "generation.regrade --help",
        "assembly.check --help",
        "cluster.slurm --nodes=1 --time=10 -- python train.py",
    ],
)
def test_who_reads_a_page_may_stop_early(command: str) -> None:
    """As `| head -1` does: no traceback, no failure."""
    read, write = os.pipe()
    os.close(read)
    ended = subprocess.run(
        [sys.executable, "-m", *command.split()],
        cwd=ROOT,
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(write)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("package", ["cluster", "reflection", "generation", "assembly"])
def test_a_package_is_no_command_and_names_those_there_are(package: str, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", package, "--model", "x"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
    assert [name for name in COMMANDS if f"python -m {name}" not in ended.stderr] == []


def test_each_command_is_there() -> None:
    assert set(COMMANDS) == {name for name in COMMANDS if (ROOT / f"{name.replace('.', '/')}.py").is_file()}
