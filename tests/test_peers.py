"""What counts in `benchmarks.peers`: rows that are all there, and figures of the right moments and processes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.peers import rows as read
from benchmarks.peers.__main__ import main as compare
from benchmarks.peers.contenders import CONTENDERS
from benchmarks.peers.export import command_of, export
from benchmarks.peers.measure import first_token, kind, spent, stages, watch
from benchmarks.peers.table import markdown, median, ratio
from benchmarks.peers.work import END, JOB, READY, REQUEST, TOKEN, Answer, Job, read_job, row, write_rows
from cluster.inference.engine import Request, ScriptedSettings
from cluster.inference.replicas import Fleet
from generation.run import main
from tests.scripted import reply

QUESTIONS = 2
Change = Callable[[list[dict[str, Any]]], object]


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    folder = tmp_path_factory.mktemp("job")
    export(QUESTIONS, folder)
    return read_job(folder)


def made(job: Job) -> list[dict[str, Any]]:
    """Rows as they should be: each first sample right, the others without an answer."""
    rows = []
    for prompt in job.prompts:
        for place, sample in enumerate(prompt.samples):
            text = f"{place} <answer>{prompt.question.answer}</answer>" if place == 0 else f"{place} do not know"
            looks = [Answer("<verdict>Correct</verdict>", 3, 9, look.seed) for look in sample.looks]
            outcome = prompt.outcome(text)
            rows.append(row(sample, Answer(text, 5, prompt.tokens, sample.seed), outcome, looks[: 2 * (place == 0)]))
    return rows


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda rows: None, []),
        (lambda rows: rows.pop(), ["1 samples lost"]),
        (lambda rows: rows.append(rows[0]), ["1 samples twice", "3 seeds twice"]),
        (lambda rows: rows.append({**rows[1], "id": 999, "seed": 1}), ["1 samples that nobody asked for"]),
        (lambda rows: rows[0].update(prompt_tokens=1), ["1 other prompts"]),
        (lambda rows: rows[0]["looks"][1].update(tokens=0), ["1 empty answers"]),
        (lambda rows: rows[0].update(outcome="wrong"), ["1 wrong grades"]),
        (lambda rows: rows[0].update(shown=rows[0]["text"], text="drawn anew"), []),  # the bare engine's
        (lambda rows: rows[0]["looks"].pop(), ["1 samples with other than their reflections"]),
        (lambda rows: rows[0]["looks"][0].update(verdict=False), ["1 verdicts misread"]),
        (lambda rows: rows[0].update(seed=rows[1]["seed"]), ["1 seeds twice"]),
        (lambda rows: [one.update(seed=None) for one in rows], []),  # a library that was given none
        (
            lambda rows: [look.update(text="", verdict=None) for one in rows for look in one["looks"]],
            ["no verdict at all"],
        ),
        (
            lambda rows: [one.update(text="same", outcome="unknown", looks=[]) for one in rows],
            [f"{4 * QUESTIONS} of {4 * QUESTIONS} prompts with samples that are all the same"],
        ),
    ],
)
def test_rows_are_checked_before_they_count(job: Job, change: Change, told: list[str]) -> None:
    rows = made(job)
    change(rows)
    assert read.faults(rows, job) == told


def test_rows_come_back_as_they_were_written(job: Job, tmp_path: Path) -> None:
    rows = made(job)
    write_rows(tmp_path, rows)
    assert read.read_rows(tmp_path, job) == rows
    other = tmp_path / "datatrove"
    other.mkdir()
    (other / "00000.jsonl").write_text(json.dumps({"metadata": {"rollout_results": [{"rows": rows}]}}) + "\n")
    assert read.read_rows(other, job) == rows
    assert read.tokens_of(rows) == sum(5 + 3 * len(one["looks"]) for one in rows)


def test_a_state_of_another_job_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Asked otherwise, or with other settings of vLLM, the rounds before could not be compared."""
    known = ["--questions", "1", "--rounds", "0", "--state", str(tmp_path)]
    compare(known)
    compare(known)
    told = tmp_path / "job-1" / JOB
    told.write_text(told.read_text().replace('"max_num_seqs": 128', '"max_num_seqs": 64'))
    with pytest.raises(SystemExit) as ended:
        compare(known)
    assert ended.value.code == 2
    assert "holds another job, by job.json: give another --state" in capsys.readouterr().err


def scripted(request: Request) -> str:
    return f"{request.seed} {reply(request)}"


def test_the_products_rows_are_what_was_exported(job: Job, tmp_path: Path) -> None:
    """Samples, reflection prompts and seeds: whoever asks what is exported asks what the product asks."""
    out = tmp_path / "product"
    assert main(command_of(QUESTIONS, out)[1:], fleet=Fleet(ScriptedSettings(scripted))) == 0
    rows = read.read_rows(out, job)
    # A scripted engine counts words.
    assert [fault for fault in read.faults(rows, job) if "other prompts" not in fault] == []
    wanted = job.by_id()
    assert all([look["seed"] for look in one["looks"]] == _seeds(wanted[one["id"]], one) for one in rows)
    assert sum(len(one["looks"]) for one in rows) > 0


def _seeds(wanted: Any, one: Any) -> list[int]:
    return [look.seed for look in wanted[1].looks[: len(one["looks"])]]


def marked(*moments: tuple[str, float]) -> list[dict[str, float | str]]:
    return [{"moment": moment, "at": at, "pid": 1} for moment, at in moments]


@pytest.mark.parametrize(
    ("marks", "told"),
    [
        ([(READY, 1), (REQUEST, 2), (TOKEN, 3), (END, 9)], [(1, 9)]),
        ([(REQUEST, 2), (TOKEN, 3), (END, 9)], [(2, 9)]),
        ([(READY, 1), (END, 4), (READY, 6), (END, 9)], [(1, 4), (6, 9)]),  # loaded again in between
        ([(READY, 1), (END, 8), (END, 9)], [(1, 8)]),
        ([(READY, 1), (TOKEN, 3)], []),
        ([], []),
    ],
)
def test_the_generation_part(marks: list[tuple[str, float]], told: list[tuple[float, float]]) -> None:
    assert stages(marked(*marks)) == told
    assert first_token(marked(*marks)) == next((at for moment, at in marks if moment == TOKEN), None)


@pytest.mark.parametrize(
    ("title", "is_root", "is_front", "told"),
    [
        ("VLLM::EngineCore", False, False, "vLLM core"),
        ("VLLM::Worker", False, False, "vLLM worker"),
        ("ray::Host.do", False, True, "front end"),
        ("ray::IDLE", False, False, "Ray"),
        ("ray::MapWorker(ChatTemplateUDF)", False, False, "Ray's other actors"),
        ("/x/ray/core/src/ray/raylet/raylet --raylet_socket_name=/tmp", False, False, "Ray"),
        ("python -m generation.run", True, False, "driver"),
        ("python -m benchmarks.peers.barriers", True, True, "front end"),
        ("python -m something", False, False, "helpers"),
    ],
)
def test_kinds_of_processes(title: str, is_root: bool, is_front: bool, told: str) -> None:
    assert kind(title, is_root, is_front) == told


BUSY = """
import os, subprocess, sys, time
from benchmarks.peers.work import mark
sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
mark("ready")
until = time.process_time() + 1.5
while time.process_time() < until: pass
mark("end")
time.sleep(float(sys.argv[1]))
"""


@pytest.mark.parametrize(("rest", "code"), [("0", 0), ("600", None)], ids=["returns", "limit"])
def test_a_command_is_measured_and_ended_whole(
    rest: str, code: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.peers.measure._ENDED_S", 0.5)
    root = str(Path(__file__).parents[1])
    ended = watch([sys.executable, "-c", BUSY, rest], {"PYTHONPATH": root}, tmp_path / "log", limit_s=15)
    assert ended.code == code
    assert ended.left == (1 if code == 0 else 0)
    taken = spent(ended, stages(ended.marks))
    assert 0.5 < taken["driver"] < 2.5
    assert ended.memory > 1 << 20
    assert not [pid for pid, _ in ended.titles if Path(f"/proc/{pid}").exists()]


ROUNDS: list[dict[str, dict[str, Any]]] = [
    {
        "script": {"rate": 100.0, "whole_rate": 50.0, "generation_spent": {"front end": 2.0}, "failure": None},
        "product": {"rate": 110.0, "whole_rate": 40.0, "generation_spent": {"front end": 3.0}, "failure": None},
    },
    {
        "script": {"rate": 200.0, "whole_rate": 90.0, "generation_spent": {"front end": 2.0}, "failure": None},
        "product": {"rate": 180.0, "whole_rate": 80.0, "generation_spent": {}, "failure": None},
    },
    {
        "script": {"generation_spent": {}, "failure": "3 samples lost"},
        "product": {"rate": 500.0, "whole_rate": 80.0, "generation_spent": {}, "failure": None},
    },
]


def test_medians_and_ratios_within_a_round() -> None:
    assert median(ROUNDS, "script", "rate") == 150
    assert median(ROUNDS, "product", "rate") == 180
    assert median(ROUNDS, "bare", "rate") is None
    assert ratio(ROUNDS, "product", "script", "rate") == pytest.approx((1.1 + 0.9) / 2)
    assert ratio(ROUNDS, "product", "bare", "rate") is None


def test_the_table_tells_failures_and_gives_them_no_rate() -> None:
    told = markdown(ROUNDS)
    script = CONTENDERS["script"].what
    assert f"| {script} | 2 of 3 | 150 (100 to 200) | 1.00 |" in told
    assert f"- {script}, round 3: 3 samples lost" in told
    alone = markdown([{"script": {"generation_spent": {}, "failure": "not done after 9 s"}}])
    assert alone.startswith("Nobody finished.")
    assert alone.endswith("round 1: not done after 9 s")
