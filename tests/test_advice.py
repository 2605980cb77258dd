"""What a person is told: what the same command will do after a failure, and what happens while engines load."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from cluster.errors import ClusterLostError, EngineStartError, StoreGoneError, TornShardError
from cluster.inference.engine import EngineInfo
from cluster.inference.pool import Event, Loading, Lost, Started, Tick
from cluster.jobs import monitor
from cluster.jobs.failures import Failures
from cluster.jobs.progress import report_failure
from cluster.jobs.stop import Stop
from cluster.jobs.store import ShardStore
from cluster.jobs.tally import Tally
from generation.plan import make_plan
from generation.settings import Settings

AGAIN = "the same command ends the same way until that is mended"
ON = "the same command goes on from there"


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (EngineStartError("engine 0 did not start 3 times in a row: KeyError: 'x'; see engine-0.log"), AGAIN),
        (EngineStartError("no engine has found a place in the Ray cluster for 600 s"), AGAIN),
        (ValueError("column 'x' is of another type"), AGAIN),
        (ClusterLostError("Ray's head does not answer"), f"safe in run; {ON}"),
        (TornShardError(Path("shards/3.parquet"), Path("shards/torn/3.parquet")), f"safe in run; {ON}"),
        (OSError(errno.ENOSPC, "No space left on device"), f"make room on that disk, and {ON}"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), f"make room on that disk, and {ON}"),
        (OSError(errno.EROFS, "Read-only file system"), f"see that run can be written, and {ON}"),
        (OSError(errno.EMFILE, "Too many open files"), f"ulimit -n), and {ON}"),
        (OSError(errno.EIO, "Input/output error"), AGAIN),
        (MemoryError(), f"more memory to spare, and {ON}"),
        (pa.ArrowMemoryError("malloc of size 1 failed"), f"more memory to spare, and {ON}"),
        (StoreGoneError(Path("run/shards")), "put the folder back, or the same command begins anew"),
        (AssertionError("a row was lost"), "where it ends the same way, report it"),
        (RuntimeError("whatever"), "where it ends the same way, report it"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_the_advice_after_a_failure_is_true(
    error: Exception, advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert report_failure(error, Path("run"), "3 of 8 questions are") == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("3 of 8 questions are safe in run; ")
    assert advice in last
    assert ("goes on from there" in last) == (advice == AGAIN or ON in advice)


def test_while_engines_load_that_is_what_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(monitor, "FIRST_LINE_S", -1.0)
    monkeypatch.setattr(monitor, "LINE_S", -1.0)
    monkeypatch.setattr(monitor, "DRAW_S", -1.0)
    plan = make_plan(Settings(questions=8, out=str(tmp_path)))
    store = ShardStore(tmp_path / "shards", schema=plan.schema, sort_by=plan.sort_by)
    tally, told = Tally(plan, store, Failures(tmp_path)), monitor.Monitor(plan, 0, Stop(20))
    events: list[Event[Any, Any]] = [Loading(0), Tick(), Lost(0, "it died", 0), Tick(), Loading(0)]
    with told.watching(plan, 1, None, (), ()), tally:
        for event in events:
            tally.take(event)
            told.take(event)
        loading = capsys.readouterr().out
        tally.take(ready := Started(0, EngineInfo("vllm", "1", "m", "", 64)))
        told.take(ready)
        begun = capsys.readouterr().out
    lines = loading.splitlines()
    assert lines[:2] == ["engines     engine 0 loading the model", "loading     0/8 questions, 0 of 1 engine ready"]
    assert "engines     engine 0 was lost (it died)" in lines
    assert lines[-1] == "loading     0/8 questions, 0 of 1 engine ready, 1 lost"
    assert "rollout" not in loading
    assert begun.startswith(
        "engines     engine 0 ready: vllm 1\nrollout     0/8 questions, 1 of 1 engine ready, 1 lost\n"
    )
    assert "loading" not in begun
