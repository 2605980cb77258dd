"""The reaper ends what carries its mark, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import reaper

_SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def mark() -> Iterator[str]:
    name = reaper.new_mark()
    yield name
    reaper.kill(name)


def _sleeper(mark: str | None) -> subprocess.Popen[bytes]:
    environment = dict(os.environ) | ({mark: "1"} if mark else {})
    return subprocess.Popen(_SLEEP, env=environment, start_new_session=True)


def test_kills_every_process_with_the_mark_and_no_other(mark: str) -> None:
    ours, other, none = _sleeper(mark), _sleeper(mark + "x"), _sleeper(None)
    try:
        # Between fork and exec a child still shows its parent's environment.
        deadline = time.monotonic() + 10
        while reaper.kill(mark) == 0:
            assert time.monotonic() < deadline
        assert ours.wait(10) == -9
        assert other.poll() is None
        assert none.poll() is None
    finally:
        for process in (ours, other, none):
            process.kill()
            process.wait()


def test_a_started_reaper_waits_for_the_end_of_its_input(mark: str) -> None:
    watcher = reaper.start(mark)
    sleeper = _sleeper(mark)
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            sleeper.wait(1.0)
        assert watcher.stdin is not None
        watcher.stdin.close()
        assert sleeper.wait(10) == -9
        assert watcher.wait(10) == 0
    finally:
        sleeper.kill()
        sleeper.wait()


def test_kills_who_holds_a_file_of_the_folder_unless_spared_and_removes_it(mark: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    watcher = reaper.start(mark, str(folder))
    spared = dict(os.environ) | {"SKILLFACTORY_SPARED": "1"}
    with (folder / "log").open("w") as log:
        holder = subprocess.Popen(_SLEEP, stdout=log, start_new_session=True)
        driver = subprocess.Popen(_SLEEP, stdout=log, start_new_session=True, env=spared)
    try:
        watcher.communicate()
        assert holder.wait(10) == -9
        assert not folder.exists()
        assert driver.poll() is None
    finally:
        for process in (holder, driver):
            process.kill()
            process.wait()


def test_a_reaper_outlives_the_signals_that_end_its_host(mark: str) -> None:
    watcher = reaper.start(mark)
    try:
        time.sleep(0.5)
        watcher.terminate()
        with pytest.raises(subprocess.TimeoutExpired):
            watcher.wait(0.5)
    finally:
        watcher.kill()
        watcher.wait()
        assert watcher.stdin is not None
        watcher.stdin.close()


def test_one_apart_is_no_child_and_does_the_same(mark: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    watcher = reaper.start(mark, str(folder), detached=True)
    sleeper = _sleeper(mark)
    try:
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        assert str(sleeper.pid) in children
        lines = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children]
        assert not [line for line in lines if mark.encode() in line]
        assert watcher.stdin is not None
        watcher.stdin.close()
        assert sleeper.wait(10) == -9
        deadline = time.monotonic() + 10
        while folder.exists():
            assert time.monotonic() < deadline
    finally:
        sleeper.kill()
        sleeper.wait()
