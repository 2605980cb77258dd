"""A run's figures at a tracker: the real wandb, offline, read back from what it wrote."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cluster.inference.engine import ScriptedSettings
from cluster.inference.replicas import Fleet
from cluster.jobs.card import Table
from cluster.jobs.run_directory import fingerprint, now, read_record, write_record
from cluster.jobs.status import EngineStatus, Section, Status, write_status
from cluster.jobs.trackers import TRACKERS_FILE, figures, final_counts, leaves
from cluster.jobs.tracking import check_library, check_tracker, tracking
from generation.run import main
from tests.scripted import reply
from tests.wandb_files import runs_in

ENGINES = (
    EngineStatus(0, "ready", running=3, waiting=1, lost=2),
    EngineStatus(1, "ready", running=4),
    EngineStatus(2, "loading"),
)
SAMPLES = Table(["variant", "right", "wrong", "rate"], [("original", 3, 1, 0.75), ("plan/../and", 0, 2, None)])
STATUS = Status(
    "rolling out",
    "here",
    1,
    "2026-11-30T10:00:00+00:00",
    "2026-11-30T10:00:02+00:00",
    total=100,
    before=10,
    done=5,
    failed=1,
    output_tokens=900,
    recent=450.5,
    left_s=(10.0, 20.0, 30.0),
    prompt_tokens=400,
    cached_tokens=100,
    engines=ENGINES,
    sections=[Section("samples by variant", SAMPLES)],
)


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith(("WANDB_", "MLFLOW_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("HOME", str(tmp_path))


def begun(folder: Path) -> Path:
    """A run directory that a job has begun."""
    folder.mkdir()
    configuration: dict[str, Any] = {"sampling": {"temperature": 0.5}, "variants": ["original", "rephrase"]}
    record: dict[str, Any] = {"configuration": configuration, "fingerprint": fingerprint(configuration), "starts": []}
    write_record(folder, record)
    start(folder)
    return folder


def start(run: Path) -> None:
    """Another start of the run, a second after the last."""
    time.sleep(1)
    record = read_record(run)
    record["starts"].append({"state": "begun", "begun": now()})
    write_record(run, record)


def is_doing(run: Path, done: int) -> None:
    """The command has this many units done by now, and its tracker has the time to see it."""
    write_status(run, replace(STATUS, done=done, updated=datetime.now(UTC).isoformat()))
    time.sleep(1)


def end(run: Path, state: str, **counts: int) -> None:
    record = read_record(run)
    record["starts"][-1]["state"] = state
    write_record(run, record | {"state": state, "counts": counts})


def wait_for(seen: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_status_is_flat_figures() -> None:
    assert figures(STATUS) == {
        "done": 15,
        "failed": 1,
        "total": 100,
        "output_tokens": 900,
        "prompt_tokens": 400,
        "cached_tokens": 100,
        "cached_share": 0.25,
        "tokens_per_second": 450.5,
        "seconds_left": 20,
        "engines/ready": 2,
        "engines/lost": 2,
        "requests/running": 7,
        "requests/waiting": 1,
        "samples_by_variant/original/right": 3,
        "samples_by_variant/original/wrong": 1,
        "samples_by_variant/original/rate": 0.75,
        "samples_by_variant/plan_.._and/right": 0,
        "samples_by_variant/plan_.._and/wrong": 2,
    }


@pytest.mark.parametrize(
    "name", ["../..", "_step", "a\nb", "<script>", "x" * 999, "任务", "", ".", "a/b", "a:b", 7, None]
)
def test_a_name_from_outside_becomes_a_part_of_a_metric(name: object) -> None:
    told = figures(replace(STATUS, sections=[Section("t", Table(["", "right"], [(name, 5)]))]))
    (metric,) = (metric for metric in told if metric.startswith("t/"))
    assert re.fullmatch(r"t/[^\W_][\w.-]{0,59}/right", metric)
    assert told[metric] == 5


def test_what_is_no_figure_is_left_out() -> None:
    rows = [("a", float("nan"), True, "5", None, 1)]
    table = Table(["", "nan", "flag", "text", "none", "one", "lacking"], rows)
    told = figures(replace(STATUS, prompt_tokens=0, sections=[Section("t", table)]))
    assert [name for name in told if name.startswith("t/")] == ["t/a/one"]
    assert "cached_share" not in told


def test_counts_of_a_record_are_flat() -> None:
    record = {
        "counts": {"samples": 8, "by": {"task": 3}},
        "starts": [{"seconds": 9}, {"seconds": 1.5, "state": "done"}],
    }
    assert final_counts(record) == {"counts/samples": 8, "counts/by/task": 3, "start/seconds": 1.5}
    assert final_counts({}) == {}
    assert dict(leaves({"a": {"b": [1, 2]}, "c": {}})) == {"a/b": "[1, 2]"}


def test_a_run_is_followed_and_gone_on_with(tmp_path: Path) -> None:
    run, told = begun(tmp_path / "run"), list[str]()
    with tracking(run, "wandb", told.append, every_s=0.1):
        wait_for(lambda: told)
        for done in (1, 2):
            is_doing(run, done)
        end(run, "stopped", samples=20)
    start(run)
    with tracking(run, "wandb", told.append, every_s=0.1):
        wait_for(lambda: len(told) > 1)
        is_doing(run, 3)
        end(run, "done", samples=30)
    first, second = runs_in(run / "logs")
    assert first.id == second.id == json.loads((run / TRACKERS_FILE).read_text())["wandb"]
    assert first.name == "run"
    assert first.config["sampling"] == {"temperature": 0.5}
    assert first.config["run"]["folder"] == str(run)
    assert [one["done"] for one in first.history] == [11, 12]
    assert [one["done"] for one in second.history] == [13]
    assert first.history[0]["samples_by_variant/original/right"] == 3
    assert (first.summary["state"], first.summary["counts/samples"], first.preempted) == ("stopped", 20, True)
    assert (second.summary["state"], second.summary["counts/samples"], second.exit_code) == ("done", 30, 0)
    assert all(line.startswith("wandb, offline, for `wandb sync ") for line in told)
    assert len(told) == 2


def test_a_job_is_followed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    flags = ["--questions", "4", "--rl_questions", "2", "--log_to", "wandb", "--out", str(run)]
    assert main(flags, fleet=Fleet(ScriptedSettings(reply))) == 0
    assert re.search(r"^tracker +wandb, offline, ", capsys.readouterr().out, re.MULTILINE)
    (wrote,) = runs_in(run / "logs")
    record = read_record(run)
    assert wrote.name == "run"
    assert (wrote.exit_code, wrote.summary["state"]) == (0, "done")
    assert wrote.summary["counts/samples"] == record["counts"]["samples"]
    assert wrote.summary["start/output_tokens"] == record["starts"][-1]["output_tokens"] > 0
    assert wrote.config["seed"] == 0
    assert wrote.history[-1]["done"] == wrote.history[-1]["total"] == 4
    assert wrote.history[-1]["output_tokens"] == record["starts"][-1]["output_tokens"]
    assert any(name.endswith("/original/right") for name in wrote.history[-1])
    # Nothing that the rows or the configuration depend on: the run goes on without a tracker, too.
    assert main([*flags[:4], "--out", str(run)], fleet=Fleet(ScriptedSettings(reply))) == 0
    assert len(runs_in(run / "logs")) == 1


def test_a_driver_that_is_gone_leaves_a_run_that_ended(tmp_path: Path) -> None:
    run, told = begun(tmp_path / "run"), list[str]()
    with tracking(run, "wandb", told.append, every_s=0.1):
        wait_for(lambda: told)
    (wrote,) = runs_in(run / "logs")
    assert (wrote.summary["state"], wrote.exit_code) == ("begun", 1)


def test_a_tracker_that_fails_is_told_once_and_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_DIR", "/proc/none")
    monkeypatch.setenv("WANDB_MODE", "online")
    run, told = begun(tmp_path / "run"), list[str]()
    with tracking(run, "wandb", told.append, every_s=0.1):
        wait_for(lambda: told)
        time.sleep(1)
    assert len(told) == 1
    assert re.fullmatch(r"wandb does not take the figures \(.*\); the run goes on, and they are tried again", told[0])
    assert "Traceback" not in told[0]


@pytest.mark.parametrize("python", ["/nowhere/python", "/bin/false"])
def test_a_process_that_cannot_run_is_told(tmp_path: Path, python: str) -> None:
    run, told = begun(tmp_path / "run"), list[str]()
    with tracking(run, "wandb", told.append, python=python):
        wait_for(lambda: told)
    assert len(told) == 1
    assert "wandb is " in told[0]


def test_a_library_is_checked_before_any_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    check_tracker("wandb")
    monkeypatch.delenv("WANDB_MODE")
    with pytest.raises(ValueError, match=r"--log_to wandb: .*API key"):
        check_tracker("wandb")
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ValueError, match=r"--log_to mlflow needs its library: pip install -e '\.\[mlflow\]'"):
        check_library("mlflow")
    with pytest.raises(SystemExit) as ended:
        main(["--log_to", "mlflow", "--dry_run", "--out", str(tmp_path / "run")])
    assert ended.value.code == 2
    assert not (tmp_path / "run").exists()
