"""Wrong input to the whole job: one line that says what is wrong and what is right, exit 2, nothing left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from generation.run import main
from tests.processes import Job

WRONG: list[tuple[list[str], tuple[str, ...]]] = [
    (["--sampels", "3"], ("sampels", "samples")),
    (["stray"], ("stray",)),
    (["--samples", "four"], ("samples", "four", "whole number")),
    (["--samples", "0"], ("--samples", "between 1 and")),
    (["--samples", "-3"], ("--samples", "between 1 and")),
    (["--temperature", "hot"], ("temperature", "hot")),
    (["--temperature", "nan"], ("temperature", "nan")),
    (["--top_p", "1.5"], ("--top_p", "1.5")),
    (["--seed", "1e5"], ("seed", "1e5")),
    (["--model"], ("model", "value")),
    (["--task", "countdown_9arg"], ("countdown_9arg", "countdown_3arg")),
    (["--variants", "plain,orginal"], ("orginal", "original")),
    (["--variants", "plain,original"], ("twice",)),
    (["--formats", "*C_ful"], ("*C_ful", "*C_full")),
    (["--formats", "*C*IC", "--attempts", "1"], ("*C*IC", "2")),
    (["--attempts", "0"], ("--attempts",)),
    (["--inputs", "9-1"], ("--inputs", "9-1")),
    (["--targets", "many"], ("--targets", "LOW-HIGH")),
    (["--inputs", "1-2", "--targets", "10-11", "--questions", "50"], ("different SFT questions", "--inputs")),
    (["--questions", "nowhere.jsonl"], ("nowhere.jsonl", "not there")),
    (["--questions", "words"], ("words", ".jsonl")),
    (["--questions", "mine.jsonl", "--task", "countdown_3arg"], ("--task countdown_3arg", "leave it out")),
    (["--model", "./nowhere"], ("./nowhere", "not there")),
    (["--model", "Nonesuch"], ("Nonesuch", "hub id")),
    (["--max_tokens", "5000"], ("--max_tokens", "1024")),
    (["--dry_run=perhaps"], ("dry_run", "perhaps")),
    (["--out", "file/below"], ("file/below",)),
    (["--out", "file"], ("file", "folder")),
    (["--out", "full"], ("full", "run.json")),
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a file and a folder of somebody else's."""
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("mine")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1, printed.err
    return printed.err


@pytest.mark.parametrize(("argv", "words"), WRONG, ids=[" ".join(argv) for argv, _ in WRONG])
def test_wrong_input(here: Path, capsys: pytest.CaptureFixture[str], argv: list[str], words: tuple[str, ...]) -> None:
    before = sorted(here.rglob("*"))
    line = refused(argv, capsys)
    for word in words:
        assert word in line
    assert sorted(here.rglob("*")) == before


def _write(path: Path, rows: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _torn(path: Path) -> None:
    pq.write_table(pa.table({"question": ["2+2?"], "answer": ["4"]}), path)
    path.write_bytes(path.read_bytes()[:-20])


GOOD: dict[str, object] = {"question": "2+2?", "answer": "4"}


@pytest.mark.parametrize(
    ("name", "write", "words"),
    [
        ("q.jsonl", lambda path: _write(path, []), ("no questions",)),
        ("q.jsonl", lambda path: _write(path, [GOOD, {"question": "1+1?"}]), ("line 2", "answer")),
        ("q.jsonl", lambda path: _write(path, [GOOD, GOOD]), ("line 2", "line 1")),
        ("q.jsonl", lambda path: path.write_text(json.dumps(GOOD)[:-4]), ("line 1", "JSON")),
        ("q.parquet", _torn, ("q.parquet", "parquet")),
        ("q.parquet", lambda path: pq.write_table(pa.table({"question": ["a"]}), path), ("answer", "question")),
    ],
)
def test_wrong_questions(
    here: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    write: Callable[[Path], object],
    words: tuple[str, ...],
) -> None:
    write(here / name)
    before = sorted(here.rglob("*"))
    line = refused(["--questions", name], capsys)
    for word in words:
        assert word in line
    assert sorted(here.rglob("*")) == before


def test_a_process_ends_within_seconds_and_with_code_2(tmp_path: Path) -> None:
    started = time.monotonic()
    job = Job("generation.run", ["--sampels", "3"], tmp_path / "log", {})
    assert job.wait(60) == 2
    assert time.monotonic() - started < 30
    assert job.left_behind() == {}


def test_a_dry_run_prints_the_plan_and_leaves_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(here.rglob("*"))
    assert main(["--dry_run", "--variants", "all", "--out", "new"]) == 0
    printed = capsys.readouterr().out
    assert "256 samples" not in printed  # all eight variants: twice as many as plain
    assert "512 samples and up to 1,024 reflections" in printed
    assert printed.count("<|im_start|>assistant") == 8 + 5
    assert "Hint: a correct equation is" in printed
    assert sorted(here.rglob("*")) == before


def test_without_vllm_the_remedy_is_named(tmp_path: Path) -> None:
    """As on a machine where only the package itself was installed."""
    code = (
        "import importlib.util as u, sys; real = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'vllm' else real(name, *a)\n"
        "from generation.run import main\nmain(['--out', 'new'])"
    )
    environment = dict(os.environ) | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment, check=False
    )
    assert ended.returncode == 2
    assert "pip install" in ended.stderr
    assert list(tmp_path.iterdir()) == []
