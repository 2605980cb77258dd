"""What a person is told: what the same command will do after a failure, and what happens while engines load."""

from __future__ import annotations

import errno
from pathlib import Path

import pyarrow as pa
import pytest

from cluster.errors import ClusterLostError, EngineStartError, StoreGoneError, TornShardError
from cluster.inference.engine import EngineInfo
from cluster.inference.pool import Loading, Lost, Started, Tick
from cluster.jobs import progress as terminal
from cluster.jobs.progress import Tally, report_failure
from cluster.jobs.store import Failures, ShardStore
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
    monkeypatch.setattr(terminal, "EVERY_S", 1e-9)
    monkeypatch.setattr(terminal, "LOADING_EVERY_S", 1e-9)
    plan = make_plan(Settings(questions=8, out=str(tmp_path)))
    store = ShardStore(tmp_path / "shards", schema=plan.schema, sort_by=plan.sort_by)
    tally = Tally(plan, store, Failures(tmp_path))
    with tally:
        for event in (Loading(0), Tick(), Lost(0, "it died", 0), Tick(), Loading(0)):
            tally.take(event)
        loading = capsys.readouterr().out
        tally.take(Started(0, EngineInfo("vllm", "1", "m", "", 64)))
        tally.take(Tick())
        ready = capsys.readouterr().out
    assert loading.startswith("engines     engine 0 loading the model\nloading     the engines, 0 s\n")
    assert "rollout" not in loading
    assert ready.startswith("engines     engine 0 ready: vllm 1\nrollout     0/8 questions, ")
    assert "loading" not in ready
