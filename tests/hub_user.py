"""Somebody at a terminal with a token, a folder and the hub of the tests."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from cluster.jobs.atomic import MADE_HERE
from tests.assembly_rows import published_row, write_parquet
from tests.hub_state import TOKEN, Hub
from tests.raw_rows import bytes_of

NAME = "countdown_3arg-skillfactory-tiny-3m"
FOLDERS = ("RAW_DATA", "SFT_DATA", "RL_DATA")


class User:
    """Somebody at a terminal with a token, a folder and a hub."""

    def __init__(self, hub: Hub, folder: Path) -> None:
        self.folder = folder
        self.hub = hub
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
            "HF_ENDPOINT": hub.endpoint,
            "HF_HOME": str(folder / "hub-home"),
            "HF_TOKEN": TOKEN,
            "HF_HUB_DISABLE_XET": "1",  # the hub of the tests speaks LFS
            "HF_HUB_OFFLINE": "0",
            "PYTHONPATH": str(Path(__file__).parents[1]),
        }

    def start(self, module: str, *args: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", module, *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env=self.environment | environment,
        )

    def run(self, module: str, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
        process = self.start(module, *args, **environment)
        try:
            said, complained = process.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            process.kill()
            raise AssertionError(f"{module} hangs: {process.communicate()}") from None
        return subprocess.CompletedProcess(args, process.returncode, said, complained)

    def job(self, *flags: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """The job on a scripted engine, its out folder `run`."""
        flags = ("--questions=12", "--rl_questions=4", "--out=run", "--push_to=someone", *flags)
        return self.run("tests.drive_job", *flags, **environment)

    def push(self, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """A folder of two large files and a card."""
        self.make_folder()
        return self.run("tests.push", str(self.folder / "data-set"), "someone", "a-set", *args, **environment)

    def make_folder(self, files: int = 2) -> None:
        for number in range(files):
            path = self.folder / "data-set" / "data" / f"train-{number:05}-of-{files:05}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_parquet(path, [published_row(f"question {number}", "right", True)])
        (self.folder / "data-set" / "README.md").write_text("# A set\n", encoding="utf-8")

    def held(self, name: str = "someone/a-set") -> dict[str, bytes]:
        return {path: body for path, body in self.hub.repositories[name].files.items() if path != ".gitattributes"}


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a dataset repository but the mark that it was made here."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != MADE_HERE]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def digest(folder: Path) -> str:
    """Of all that the same command makes again: a card also tells when each start was."""
    return hashlib.sha256(repr(sorted(bytes_of(folder).items())).encode()).hexdigest()


def assert_token_is_nowhere(user: User, *runs: subprocess.CompletedProcess[str]) -> None:
    assert user.hub.leaked == []
    for run in runs:
        assert TOKEN not in run.stdout + run.stderr
    for path in user.folder.rglob("*"):
        if path.is_file():
            assert TOKEN.encode() not in path.read_bytes(), path


def rows_of(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows
