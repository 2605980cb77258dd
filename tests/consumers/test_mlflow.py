"""A run's figures at MLflow: the real client with its SQLite store, in an environment of its own, read back by it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cluster.jobs.trackers import TRACKERS_FILE
from cluster.jobs.tracking import tracking
from tests.test_tracking import begun, end, is_doing, start, wait_for

pytestmark = pytest.mark.consumers
PYTHON = str(Path(".venv-mlflow/bin/python").absolute())


@pytest.fixture(autouse=True)
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow.db"


def told_by_mlflow() -> list[dict[str, Any]]:
    command = [PYTHON, "-W", "ignore", str(Path(__file__).parent / "ask_mlflow.py")]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    answer: list[dict[str, Any]] = json.loads(ended.stdout.splitlines()[-1])
    return answer


def log(run: Path, state: str, *done: int) -> list[str]:
    """Follow the run through these counts to this state; return what was told."""
    told: list[str] = []
    with tracking(run, "mlflow", told.append, python=PYTHON, every_s=0.1):
        wait_for(lambda: told)
        for count in done:
            is_doing(run, count)
        end(run, state, samples=10 * done[-1])
    return told


def test_a_run_is_followed_and_gone_on_with(tmp_path: Path, store: str) -> None:
    run = begun(tmp_path / "run")
    (first,) = log(run, "stopped", 2)
    (stopped,) = told_by_mlflow()
    assert (stopped["status"], stopped["tags"]["state"]) == ("KILLED", "stopped")
    start(run)
    (second,) = log(run, "done", 3)
    (whole,) = told_by_mlflow()
    assert first == second == f"mlflow, run {whole['id']} at {store}"
    assert json.loads((run / TRACKERS_FILE).read_text()) == {"mlflow": whole["id"]}
    assert (whole["experiment"], whole["name"], whole["status"]) == ("skillfactory", "run", "FINISHED")
    assert whole["params"] == {"sampling/temperature": "0.5", "variants": '["original", "rephrase"]'}
    assert whole["tags"]["folder"] == str(run)
    # A step is a unit that is done or has failed.
    assert whole["done"] == [[13, 12], [14, 13]]
    assert whole["metrics"]["samples_by_variant/original/right"] == 3
    assert whole["metrics"]["counts/samples"] == 30


def test_a_run_that_was_deleted_is_begun_anew(tmp_path: Path, store: str) -> None:
    run = begun(tmp_path / "run")
    (run / TRACKERS_FILE).write_text('{"mlflow": "0123456789abcdef0123456789abcdef", "wandb": "x"}')
    assert len(log(run, "failed", 1)) == 1
    (whole,) = told_by_mlflow()
    assert whole["status"] == "FAILED"
    assert json.loads((run / TRACKERS_FILE).read_text()) == {"mlflow": whole["id"], "wandb": "x"}


def test_a_server_that_does_not_answer_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9/")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    (told,) = log(begun(tmp_path / "run"), "done", 1)
    assert told.startswith("mlflow does not take the figures (")
    assert told.endswith("; the run goes on, and they are tried again")
    assert "secret" not in told
