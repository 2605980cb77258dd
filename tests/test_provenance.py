"""What run.json and the cards say of how a dataset came to be."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cluster.inference.engine import Request
from cluster.jobs.card import fenced, run_section, texts_section
from cluster.jobs.run_directory import read_record, recorded_commit
from generation.variants import VARIANTS
from reflection.prompts import PROMPTS
from tests.drive_job import main as drive_job
from tests.scripted import reply

ROOT = Path(__file__).parent.parent
SAID = "from cluster.jobs.run_directory import code_version; print(code_version()['commit'])"


def _git(folder: Path, *arguments: str) -> str:
    person = ("-c", "user.name=A", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
    said = subprocess.run(["git", "-C", str(folder), *person, *arguments], capture_output=True, text=True, check=True)
    return said.stdout.strip()


def _commit_seen_from(folder: Path) -> str:
    ended = subprocess.run([sys.executable, "-c", SAID], cwd=folder, capture_output=True, text=True, check=True)
    return ended.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "cluster", tmp_path / "checkout" / "cluster", ignore=shutil.ignore_patterns("__pycache__"))
    _git(tmp_path, "init", "-q", "checkout")
    return tmp_path / "checkout"


def test_the_commit_is_that_of_the_checkout_that_runs(checkout: Path) -> None:
    assert _commit_seen_from(checkout) == "None", "a repository around us that does not know our files is another's"
    _git(checkout, "add", "-A")
    _git(checkout, "commit", "-qm", "one")
    head = _git(checkout, "rev-parse", "HEAD")
    assert _commit_seen_from(checkout) == head
    (checkout / "notes.txt").write_text("mine")
    assert _commit_seen_from(checkout) == head, "a file beside the project changes nothing of it"
    (checkout / "cluster" / "flags.py").write_text("")
    assert _commit_seen_from(checkout) == f"{head}-changed"


def test_what_pip_recorded_is_known_where_there_is_no_checkout() -> None:
    recorded = json.dumps({"url": "x", "vcs_info": {"vcs": "git", "commit_id": "c0ffee"}})
    assert recorded_commit(recorded) == "c0ffee"
    assert recorded_commit(json.dumps({"url": "file:///x", "dir_info": {"editable": True}})) is None
    assert recorded_commit(None) is None


def test_each_start_is_kept_with_how_far_it_came(tmp_path: Path) -> None:
    """The first one is stopped by a signal while the fourth question is asked."""
    flags = ["--questions=8", "--rl_questions=0", "--variants=original", f"--out={tmp_path / 'run'}", "--attempts=1"]
    asked: set[str] = set()

    def reply_until(request: Request) -> str:
        asked.add(request.key.partition("/")[0])
        if len(asked) == 4:
            signal.raise_signal(signal.SIGTERM)
        return reply(request)

    assert drive_job(flags, reply_until) == 75
    assert drive_job(flags, reply) == 0
    starts = read_record(tmp_path / "run")["starts"]
    assert [one["state"] for one in starts] == ["stopped", "done"]
    assert 3 <= starts[0]["questions"] < 8
    assert starts[0]["questions"] + starts[1]["questions"] == 8
    assert starts[0]["engines"] == {"wanted": 1, "gpus_each": 0, "started": {"scripted 1": 1}, "lost": 0}
    for one in starts:
        assert one["begun"] <= one["ended"]
        assert one["command"].startswith("python ")
        assert one["version"]
        assert one["versions"].keys() >= {"pyarrow", "transformers"}


def test_the_card_tells_of_starts_and_hides_whose_folder_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    commit = "a77b62c0" * 5
    engines = {"wanted": 8, "gpus_each": 1, "started": {"vllm 0.33.0": 9}, "lost": 1}
    start: dict[str, Any] = {
        "command": "python -m generation.run --out /home/somebody/runs/x",
        "version": "0.1.0",
        "commit": f"{commit}-changed",
        "begun": "2026-11-28T10:00:00+00:00",
        "ended": "2026-11-28T11:00:00+00:00",
        "state": "rolled out",
        "questions": 4000,
        "output_tokens": 1_234_567,
        "seconds": 3599.6,
        "engines": engines,
    }
    text = run_section([start, {**start, "engines": None, "commit": None, "state": "rolling out"}])
    row = "2026-11-28 10:00:00 | 2026-11-28 11:00:00 | rolled out | 4,000 | 1,234,567 | 3,600"
    assert f"| {row} | 8 on 1 GPU, vllm 0.33.0, 1 lost | 0.1.0 {commit[:12]}-changed |" in text
    assert "| rolling out | 4,000 | 1,234,567 | 3,600 |  | 0.1.0 |" in text
    assert text.count("python -m generation.run --out ~/runs/x") == 1, "the same command is shown once"
    assert "somebody" not in text
    assert run_section([]) == ""


def test_texts_stand_word_for_word() -> None:
    texts: dict[str, dict[str, Any]] = {
        "variants": {"a": {"system": "s ```", "user": "{question}"}},
        "phrases": {"b": ["one", "two"]},
    }
    text = texts_section("T", texts, "Why.")
    assert fenced("[system]\ns ```\n\n[user]\n{question}", "text") in text
    assert "one\ntwo" in text
    assert texts_section("T", {"variants": {}}, "Why.") == ""


def test_a_runs_record_and_cards_hold_command_code_and_texts(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert drive_job(["--questions", "4", "--out", str(run), "--variants", "original,rephrase", "--attempts", "2"]) == 0
    record = json.loads((run / "run.json").read_text())
    assert record["starts"][0]["state"] == "done"
    assert record["texts"]["variants"].keys() == {"original", "rephrase"}
    assert record["texts"]["reflections"] == PROMPTS
    card = (run / "RAW_DATA" / "README.md").read_text()
    for text in (VARIANTS["rephrase"].system, VARIANTS["rephrase"].user, *PROMPTS.values()):
        assert text in card
    assert VARIANTS["alternatively"].user not in card, "which this run did not use"
    for part in ("RAW_DATA", "SFT_DATA", "RL_DATA"):
        card = (run / part / "README.md").read_text()
        assert "## The run" in card, part
        assert f"| {record['starts'][0]['begun'][:10]}" in card
    phrases = record["texts"]["phrases"]
    card = (run / "SFT_DATA" / "README.md").read_text()
    assert all(phrase in card for phrase in phrases["generic"] + phrases["ending"])
    assert os.path.basename(sys.orig_argv[-1]) in card
