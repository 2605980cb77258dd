"""The page that each command leaves behind, and that a command does not depend on it."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import assembly.run
from assembly import report
from assembly.reporting import page
from cluster.inference.engine import ScriptedSettings
from cluster.inference.replicas import Fleet
from cluster.jobs.run_directory import read_record
from generation import evaluate
from reflection import run as reflection
from tests import drive_job, scripted_evaluations, scripted_reflections
from tests.report_pages import told_in


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("left") / "run"
    assert drive_job.main(["--questions=6", "--rl_questions=2", f"--out={out}"]) == 0
    return out


def kinds(found: Path) -> list[str]:
    return [one["kind"] for side in told_in(found)["sides"] for one in side["contents"]]


def test_the_whole_job_leaves_a_report(run: Path) -> None:
    assert kinds(run / "report.html") == ["RAW_DATA", "SFT_DATA"]
    (side,) = told_in(run / "report.html")["sides"]
    assert (side["state"], side["starts"][-1]["state"]) == ("done", "done")


def test_more_reflections_leave_a_report(run: Path, tmp_path: Path) -> None:
    fleet = Fleet(ScriptedSettings(scripted_reflections.speak))
    assert reflection.main([f"--raw={run}", "--reflections=3", f"--out={tmp_path / 'more'}"], fleet=fleet) == 0
    assert kinds(tmp_path / "more" / "report.html") == ["RAW_DATA"]


def test_an_evaluation_leaves_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "evaluation"
    words = ["--task=countdown_3arg:8", "--samples=2", "--variants=original", f"--out={out}"]
    fleet = Fleet(ScriptedSettings(scripted_evaluations.reply))
    assert evaluate.main(words, fleet=fleet) == 1, "it is asked for what the scripted model refuses"
    assert kinds(out / "report.html") == ["EVAL_DATA"]
    assert f"report      {out / 'report.html'}" in capsys.readouterr().out


def test_assembly_leaves_a_report_beside_its_set(run: Path, tmp_path: Path) -> None:
    before = (run / "report.html").read_bytes()
    assembly.run.main([f"--raw={run}", "--attempts=1", f"--out={tmp_path / 'traces'}"])
    assert kinds(tmp_path / "traces.html") == ["SFT_DATA"]
    assert (run / "report.html").read_bytes() == before


def test_a_report_that_cannot_be_made_fails_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run" / "report.html").mkdir(parents=True)
    (tmp_path / "run" / "report.html" / "mine").touch()
    page.leave_report(tmp_path / "run")
    assert capsys.readouterr().out.startswith("note        report could not be made: ")


def test_a_stop_while_it_is_made_leaves_a_run_that_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def slow(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(30)

    monkeypatch.setattr(page, "write_report", slow)
    flags = ["--questions=6", "--rl_questions=2", "--grace_s=0", f"--out={tmp_path / 'run'}"]
    assert drive_job.main(flags) == 0
    assert read_record(tmp_path / "run")["state"] == "done"
    assert "report was not made, since this was stopped" in capsys.readouterr().out


def test_a_run_of_very_many_rows_says_how_to_make_it(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(page, "_LARGE", 10)
    page.leave_report(run, out=tmp_path / "page.html")
    assert f": python -m assembly.report {run}" in capsys.readouterr().out
    assert not (tmp_path / "page.html").exists()


def test_a_set_without_rows_hides_no_other(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    for file in (tmp_path / "run" / "SFT_DATA" / "data").iterdir():
        pq.write_table(pq.read_schema(file).empty_table(), file)
    assert report.main([str(tmp_path / "run")]) == 0
    assert kinds(tmp_path / "run" / "report.html") == ["RAW_DATA"]
