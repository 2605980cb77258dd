"""python -m cluster.status: what another shell or node is told of a run, in each of its states."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cluster import status as command
from cluster.inference.engine import ScriptedSettings
from cluster.inference.replicas import Fleet
from cluster.jobs.status import STATUS_FILE, read_status, write_status
from generation import run
from tests.processes import Job
from tests.scripted import reply
from tests.terminals import Terminal

FLAGS = ["--rl_questions=0", "--samples=2", "--attempts=4"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished") / "run"
    with contextlib.redirect_stdout(io.StringIO()):
        assert run.main(["--questions=6", *FLAGS, f"--out={out}"], fleet=Fleet(ScriptedSettings(reply))) == 0
    return out


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """The run with what only tells of it, to be changed."""
    for name in ("run.json", STATUS_FILE):
        (tmp_path / name).write_bytes((finished / name).read_bytes())
    return tmp_path


def told(run: Path, capsys: pytest.CaptureFixture[str], *flags: str) -> tuple[int, str]:
    capsys.readouterr()
    code = command.main([str(run), *flags])
    return code, capsys.readouterr().out


def change(run: Path, **fields: object) -> None:
    status = read_status(run)
    assert status is not None
    write_status(run, replace(status, **fields))  # type: ignore[arg-type]


@pytest.mark.parametrize("argv", [["RUN"], ["--run", "RUN"], ["--run=RUN"]])
def test_a_run_that_is_done(finished: Path, argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(finished.rglob("*"))
    capsys.readouterr()
    assert command.main([one.replace("RUN", str(finished)) for one in argv]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [f"run         {finished}", "state       done"]
    assert lines[2].startswith("done        ━")
    assert lines[2].endswith("6/6 questions")
    assert any(one.startswith("samples by variant") for one in lines)
    assert sorted(finished.rglob("*")) == before


def test_json_is_for_programs(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = told(finished, capsys, "--json")
    found = json.loads(text)
    assert (code, found["code"], found["words"], found["failed"]) == (0, 0, "done", 0)
    assert found["status"]["done"] == 6
    assert found["command"].startswith("python ")


def test_a_run_that_goes_on(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(copy, stage="rolling out", pid=os.getpid(), host=socket.gethostname())
    code, text = told(copy, capsys)
    assert code == 3
    assert f"state       it runs on {socket.gethostname()}, process {os.getpid()}\n" in text
    change(copy, stage="making sets", pid=1, host="another-node")
    assert told(copy, capsys)[0] == 3


def test_one_that_was_killed_here_is_known_by_its_process(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gone = os.posix_spawn(sys.executable, [sys.executable, "-c", ""], {})
    os.waitpid(gone, 0)
    change(copy, stage="rolling out", pid=gone, host=socket.gethostname())
    code, text = told(copy, capsys)
    assert code == 75
    assert "state       no sign of life for " in text
    assert "; killed, or its machine is gone; the same command goes on\n" in text
    assert "next        python " in text


def test_one_that_was_killed_elsewhere_is_known_by_its_silence(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(copy, stage="rolling out", pid=1, host="another-node")
    old = time.time() - 3600
    os.utime(copy / STATUS_FILE, (old, old))
    code, text = told(copy, capsys)
    assert code == 75
    assert "state       no sign of life for 1 h; killed" in text


def test_one_that_is_suspended_here_still_runs(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(copy, stage="rolling out", pid=os.getpid(), host=socket.gethostname())
    old = time.time() - 3600
    os.utime(copy / STATUS_FILE, (old, old))
    code, text = told(copy, capsys)
    assert code == 3
    assert f"state       no sign of life for 1 h, but process {os.getpid()} is there: suspended" in text


def test_a_command_that_could_not_make_all_of_it_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not by an exception, and whatever an earlier start left."""
    argv = ["--questions=2", "--rl_questions=0", "--samples=2", "--variants=original", "--formats=*C*IC"]
    fleet = Fleet(ScriptedSettings(lambda _: "<answer>1</answer>"))
    assert run.main([*argv, "--attempts=2", f"--out={tmp_path / 'run'}"], fleet=fleet) == 1
    old = tmp_path / "run" / "logs" / "failure.txt"
    old.write_text("OSError: of an earlier start\n")
    os.utime(old, (0, 0))
    capsys.readouterr()
    code, text = told(tmp_path / "run", capsys)
    assert (code, text.splitlines()[1]) == (
        1,
        "state       failed: not all that it was to make could be made; it said why",
    )


def test_stopped_and_failed_ones(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(copy, stage="stopped")
    code, text = told(copy, capsys)
    assert (code, text.splitlines()[1]) == (75, "state       stopped: the same command goes on")
    change(copy, stage="failed")
    (copy / "logs").mkdir()
    traceback = "Traceback (most recent call last):\n  File x\ncluster.errors.EngineStartError: no room\x1b[31m\n"
    (copy / "logs" / "failure.txt").write_text(traceback)
    (copy / "failed.json").write_text(json.dumps({"a": {"reason": "x"}, "b": {"reason": "y"}}))
    code, text = told(copy, capsys)
    assert code == 1
    assert "state       failed: cluster.errors.EngineStartError: no room [31m\n" in text
    assert f"failed      2, see {copy / 'failed.json'}\n" in text
    assert "\x1b" not in text


@pytest.mark.parametrize(("state", "age_s", "code"), [("done", 0, 0), ("stopped", 0, 75), ("rolling out", 5, 3)])
def test_a_run_of_an_earlier_version_is_told_from_its_record(
    copy: Path, state: str, age_s: float, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    (copy / STATUS_FILE).unlink()
    record = json.loads((copy / "run.json").read_text())
    (copy / "run.json").write_text(json.dumps(record | {"state": state}))
    assert told(copy, capsys)[0] == code
    for torn in ('{"half', "null", "[]", '{"engines": [1]}'):
        (copy / STATUS_FILE).write_text(torn)
        found, text = told(copy, capsys)
        assert found == code
        assert f"state       {state}" in text


@pytest.fixture
def working(tmp_path: Path) -> Iterator[tuple[Job, Path]]:
    """A run that takes a while, as a process."""
    out = tmp_path / "run"
    job = Job("tests.drive_shown", ["lasting", "--questions=400", *FLAGS, f"--out={out}"], tmp_path / "log")
    job.wait_for(lambda: (status := read_status(out)) and status.done, 60)
    yield job, out
    job.clean()


def test_it_is_watched_until_it_ends(working: tuple[Job, Path]) -> None:
    """On a terminal; and after a kill at once as one that goes on."""
    job, out = working
    screen = Terminal([sys.executable, "-m", "cluster.status", str(out), "--watch"], 100)
    screen.wait_for(lambda: screen.find("rolling out ") and screen.find("it runs on"))
    before = screen.find("/400 questions")
    screen.wait_for(lambda: screen.find("/400 questions") != before)
    job.process.send_signal(signal.SIGKILL)
    job.process.wait()
    assert screen.wait() == 75
    assert screen.find("no sign of life for ")
    assert len(screen.find("rolling out ")) == 1, "what was drawn before is gone"


def test_who_leaves_the_watch_leaves_the_run(working: tuple[Job, Path]) -> None:
    job, out = working
    screen = Terminal([sys.executable, "-m", "cluster.status", str(out), "--watch"], 100)
    screen.wait_for(lambda: screen.find("rolling out "))
    screen.type("\x03")
    assert screen.wait() == 3
    assert job.process.poll() is None


def test_a_log_of_the_watch_has_lines(working: tuple[Job, Path]) -> None:
    job, out = working
    watch = Job("cluster.status", [str(out), "--watch"], out.parent / "watch")
    watch.wait_for(lambda: "rollout     " in watch.output())
    job.process.send_signal(signal.SIGINT)
    assert job.wait() == 75
    assert watch.wait(30) == 75
    assert "state       stopped: the same command goes on" in watch.output()
    assert "\x1b" not in watch.output()
