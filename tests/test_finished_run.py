"""A run that is finished: other formats are made of it without Ray or an engine, and a dry run says so."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from generation.run import main
from reflection.run import main as reflect
from tests import drive_job
from tests.assembly_rows import write_parquet
from tests.reflection_rows import add_to, foreign_rows

ROOT = Path(__file__).parent.parent
LONGEST_S = 30
"""On a busy machine; it takes two seconds of processor time."""
_WITHOUT_ENGINES = """
import sys
from importlib.machinery import PathFinder

import ray

find = PathFinder.find_spec

def find_others(name, path=None, target=None):
    return None if name.split(".")[0] in {"vllm", "torch", "transformers"} else find(name, path, target)

def refuse(*args, **named):
    raise AssertionError("Ray is started")

PathFinder.find_spec = find_others
ray.init = refuse
from COMMAND import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("finished") / "run"
    assert drive_job.main([*FLAGS, f"--out={run}"]) == 0
    return run


FLAGS = ("--questions=6", "--rl_questions=2")


def without_engines(command: str, *flags: str) -> subprocess.CompletedProcess[str]:
    """The command where Ray cannot be started and no package of an engine can be imported."""
    code = _WITHOUT_ENGINES.replace("COMMAND", command)
    python = [sys.executable, "-c", code, *flags]
    return subprocess.run(python, cwd=ROOT, capture_output=True, text=True, check=False, timeout=LONGEST_S)


def test_other_formats_of_a_finished_run_need_neither_ray_nor_an_engine(finished: Path) -> None:
    before = {path: path.read_bytes() for path in (finished / "RAW_DATA").rglob("*.parquet")}
    again = without_engines("generation.run", *FLAGS, f"--out={finished}", "--formats=0C")
    assert again.returncode == 0, again.stderr
    assert "rollout     going on: 6 of 6 questions are done already\n" in again.stdout
    assert "engine" not in again.stdout
    assert "0C" in (finished / "SFT_DATA" / "README.md").read_text()
    assert {path: path.read_bytes() for path in (finished / "RAW_DATA").rglob("*.parquet")} == before
    assert [start["state"] for start in json.loads((finished / "run.json").read_text())["starts"]] == ["done"] * 2


def test_another_layout_of_its_rl_questions_needs_none_either(finished: Path) -> None:
    raw, verl = (finished / name / "README.md" for name in ("RAW_DATA", "RL_DATA"))
    before, asked = raw.read_bytes(), pq.read_table(finished / "RL_DATA" / "train.parquet").to_pylist()
    done = without_engines("generation.run", *FLAGS, f"--out={finished}", "--rl_layout=openrlhf")
    assert done.returncode == 0, done.stderr
    rows = pq.read_table(finished / "RL_DATA" / "train.parquet").to_pylist()
    assert [row["ground_truth"] for row in rows] == [row["reward_model"]["ground_truth"] for row in asked]
    assert "--data.label_key ground_truth" in verl.read_text(encoding="utf-8")
    assert before.partition(b"## The run")[0] == raw.read_bytes().partition(b"## The run")[0]


def test_more_reflections_that_are_there_need_none_either(tmp_path: Path) -> None:
    raw = write_parquet(tmp_path / "raw.parquet", foreign_rows())
    add_to(raw, tmp_path / "more")
    again = without_engines("reflection.run", f"--raw={raw}", f"--out={tmp_path / 'more'}")
    assert again.returncode == 0, again.stderr
    assert "going on: 45 of 45 rows are done already" in again.stdout


def test_a_run_that_is_not_finished_needs_them(tmp_path: Path) -> None:
    refused = without_engines("generation.run", *FLAGS, f"--out={tmp_path / 'run'}")
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: vLLM is not installed")
    assert not (tmp_path / "run").exists()


def test_a_dry_run_says_what_is_owed(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*FLAGS, f"--out={finished}", "--dry_run"]) == 0
    assert "\nowed        nothing, so no engine would be started\n\n--- first prompt" in capsys.readouterr().out
    assert main([*FLAGS, f"--out={tmp_path / 'new'}", "--dry_run"]) == 0
    assert "owed" not in capsys.readouterr().out
    shards = sorted((finished / "shards").glob("*.parquet"))
    shards[0].rename(tmp_path / "gone.parquet")
    assert main([*FLAGS, f"--out={finished}", "--dry_run"]) == 0
    (tmp_path / "gone.parquet").rename(shards[0])
    said = capsys.readouterr().out
    assert "owed" not in said if len(shards) == 1 else "of 6 questions\n" in said


def test_a_dry_run_of_finished_reflections_says_so_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = write_parquet(tmp_path / "raw.parquet", foreign_rows())
    add_to(raw, tmp_path / "more")
    capsys.readouterr()
    assert reflect([f"--raw={raw}", f"--out={tmp_path / 'more'}", "--dry_run"]) == 0
    assert "\nowed        nothing, so no engine would be started\n" in capsys.readouterr().out


def test_a_cluster_that_does_not_answer_is_wrong_input_and_nothing_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([*FLAGS, f"--out={tmp_path / 'some' / 'run'}", "--address=127.0.0.1:9"])
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: no Ray cluster answers at --address 127.0.0.1:9: ")
    assert said.err.count("\n") == 1
    assert [*tmp_path.iterdir()] == []
