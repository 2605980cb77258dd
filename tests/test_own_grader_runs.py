"""Graders of the user's own in every command that grades: runs, evaluations, grading again, the reward of RL_DATA."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow.parquet as pq
import pytest

from assembly import reward
from assembly.rl import RL_DATA, programs_in
from assembly.run import main as assemble
from cluster.inference.engine import Completion, Request, ScriptedSettings
from cluster.inference.replicas import Fleet
from generation import evaluate
from generation.grading.workers import close_pools
from generation.records import GRADER_DIED
from generation.regrade import main as regrade
from tests.assembly_rows import published_row, write_parquet
from tests.drive_job import main as drive
from tests.own_graders import EXAMPLE, LISTS, ROOT, SAYING
from tests.processes import Job
from tests.regraded import table
from tests.test_evaluate import rows_of

TASK = '''from generation.tasks.task import Drawn, Problem


def draw(rng):
    low = rng.randrange(10**6)
    return Problem(f"Name a number above {low}.", str(low + 1), {"low": low})


def grade(answer, facts):
    """Any number above the one in the question."""
    return (int(answer) > facts["low"], "too low")


TASK = Drawn("above", "a number above another", "grade", "number", draw)
'''
ROWS = [json.loads(line) for line in LISTS.read_text(encoding="utf-8").splitlines()]
FLAGS = ["--reflections", "1", "--samples", "2", "--variants", "original", "--formats", "star"]


def _says(request: Request) -> str:
    """The gold answer, no number, or another one; and verdicts that are true."""
    said = request.messages[-1]["content"]
    gold = next(row["answer"] for row in ROWS if row["question"] in said)
    if "# Response" in said:
        right = f"<answer>{gold}</answer>" in said
        return f"Hm.\n<verdict>{'Correct' if right else 'Incorrect'}</verdict>"
    return f"<answer>{[gold, 'I cannot tell', '-77'][request.seed % 3]}</answer>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the example, and the grader's file as it was."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "lists.jsonl").write_bytes(LISTS.read_bytes())
    (folder / "my_grader.py").write_bytes(EXAMPLE.read_bytes())
    assert drive(_flags(folder), _says) == 0
    return folder


def _flags(folder: Path, grader: str = "my_grader.py") -> list[str]:
    named = ["--questions", str(folder / "lists.jsonl"), "--grader", str(folder / grader), "--rl_questions", "3"]
    return [*named, *FLAGS, "--out", str(folder / "run")]


def test_each_sample_is_graded_by_it(folder: Path) -> None:
    rows = table(folder / "run" / "RAW_DATA").to_pylist()
    assert len(rows) == 5 * 2
    record = json.loads((folder / "run" / "run.json").read_text(encoding="utf-8"))
    sha256 = record["configuration"]["task_config"]["grader_sha256"]
    assert record["texts"]["graders"] == {"my_grader.py": EXAMPLE.read_text(encoding="utf-8")}
    found = set()
    for row in rows:
        known = json.loads(row["metadata"])
        assert (known["grader"], known["grader_sha256"]) == ("my_grader.py", sha256)
        assert known["answer_type"] == "list of numbers"
        assert known["facts"].keys() == {"ordered"}
        found.add((row["outcome"], row["outcome_reason"]))
    assert found == {("right", ""), ("wrong", "other numbers"), ("unknown", "no number in it")}
    assert "my_grader.py" in (folder / "run" / "RAW_DATA" / "README.md").read_text(encoding="utf-8")


def test_another_text_is_another_configuration(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = EXAMPLE.read_text(encoding="utf-8")
    (folder / "changed").mkdir()
    (folder / "changed" / "my_grader.py").write_text(source + "# changed\n", encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        drive(_flags(folder, "changed/my_grader.py"), _says)
    assert ended.value.code == 2
    assert "task_config.grader_sha256 was" in capsys.readouterr().err
    (folder / "moved").mkdir()
    (folder / "moved" / "my_grader.py").write_text(source, encoding="utf-8")
    assert drive(_flags(folder, "moved/my_grader.py"), _says) == 0, "a file that was moved is the same"


def test_grading_again_takes_the_file_and_executes_no_other(folder: Path, tmp_path: Path) -> None:
    raw = str(folder / "run" / "RAW_DATA")
    lenient = EXAMPLE.read_text(encoding="utf-8").replace('"unknown", "no number in it"', 'False, "no number"')
    (tmp_path / "mended.py").write_text(lenient, encoding="utf-8")
    for grader, moved in ((EXAMPLE, 0), (tmp_path / "mended.py", None)):
        regrade(["--raw", raw, "--out", str(tmp_path / "again"), "--grader", str(grader)])
        before, after = table(folder / "run" / "RAW_DATA"), table(tmp_path / "again")
        unknown = before["outcome"].to_pylist().count("unknown")
        told = json.loads((tmp_path / "again" / "regraded.json").read_text(encoding="utf-8"))["regraded"]
        assert told["by"]["grader"] == grader.name
        assert len(told["by"]["grader_sha256"]) == 64
        assert "own" not in told["by"]
        changed = sum(a != b for a, b in zip(before["outcome"].to_pylist(), after["outcome"].to_pylist(), strict=True))
        assert changed == (unknown if moved is None else moved)
        assert "The same numbers, in the same order" in (tmp_path / "again" / "README.md").read_text(encoding="utf-8")
    assert "unknown" not in after["outcome"].to_pylist()


def test_grading_again_without_the_file_says_which_it_needs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        regrade(["--raw", str(folder / "run"), "--out", str(folder / "again")])
    assert ended.value.code == 2
    assert "graded by my_grader.py, a file of its maker's own: give that file with --grader" in capsys.readouterr().err


def test_published_rows_are_graded_by_it(tmp_path: Path) -> None:
    rows = [published_row("A number?", "<answer>7 of them</answer>", False)]
    write_parquet(tmp_path / "raw" / "data" / "train-00000-of-00001.parquet", [{**rows[0], "answer": "So.\n#### 7"}])
    (tmp_path / "g.py").write_text(SAYING.format("facts['answer'] in answer"), encoding="utf-8")
    regrade(["--raw", str(tmp_path / "raw"), "--out", str(tmp_path / "out"), "--grader", str(tmp_path / "g.py")])
    assert table(tmp_path / "out")["outcome"].to_pylist() == ["right"]


def test_a_task_brings_questions_and_grader(tmp_path: Path) -> None:
    path, run = tmp_path / "above.py", tmp_path / "run"
    path.write_text(TASK, encoding="utf-8")
    flags = ["--task", f"{path}:4,longmult_2dig:4", "--rl_questions", "4", *FLAGS, "--out", str(run)]
    assert drive(flags, lambda request: f"<answer>{['9' * 7, '-1', 'x'][request.seed % 3]}</answer>") == 0
    rows = [row for row in table(run / "RAW_DATA").to_pylist() if row["task"] == "above"]
    assert {json.loads(row["metadata"])["grader"] for row in rows} == {"above.py"}
    grades = {(row["outcome"], row["outcome_reason"]) for row in rows}
    assert grades <= {
        ("right", ""),
        ("wrong", "too low"),
        ("unknown", "the grader raised ValueError in line 11 of above.py"),
    }
    assert len(grades) > 1
    path.write_text(TASK.replace('(int(answer) > facts["low"], "too low")', '("right", "")'), encoding="utf-8")
    regrade(["--raw", str(run), "--out", str(tmp_path / "again"), "--task", str(path)])
    again = [row for row in table(tmp_path / "again").to_pylist() if row["task"] == "above"]
    assert {row["outcome"] for row in again} == {"right"}
    assert len(programs_in(run / RL_DATA)) == 1


def test_an_evaluation_is_graded_by_it(tmp_path: Path) -> None:
    flags = ["--questions", str(LISTS), "--grader", str(EXAMPLE), "--samples", "6", "--out", str(tmp_path / "run")]

    def reply(request: Request) -> str | Completion:
        return f"<answer>{['19 17 13 11', 'none', '17 11 13 19'][request.seed % 3]}</answer>"

    assert evaluate.main(flags, fleet=Fleet(ScriptedSettings(reply))) == 0
    (primes,) = (row for row in rows_of(tmp_path / "run") if "prime" in row["question"])
    kinds = {"none": "unknown", "19 17 13 11": "right", "17 11 13 19": "right"}
    assert primes["responses__outcome"] == [kinds[text[8:-9]] for text in primes["model_responses"]]
    right = {
        same
        for same, outcome in zip(primes["responses__same_answer"], primes["responses__outcome"], strict=True)
        if outcome == "right"
    }
    assert len(right) == 1, "right answers are one class"
    before = rows_of(tmp_path / "run")
    out = ["--eval", str(tmp_path / "run"), "--out", str(tmp_path / "again"), "--grader", str(EXAMPLE)]
    regrade(out)
    after = table(tmp_path / "again").to_pylist()
    assert [row["responses__outcome"] for row in after] == [row["responses__outcome"] for row in before]


def _reward_of(folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("custom_module", folder / "reward.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _by_trl(module: ModuleType, row: dict[str, Any], said: list[str]) -> list[float]:
    turns = [[{"role": "assistant", "content": one}] for one in said]
    return list(module.reward(turns, ground_truth=[row["ground_truth"]] * len(said)))


def _by_verl(module: ModuleType, row: dict[str, Any], said: list[str]) -> list[float]:
    truth = row["reward_model"]["ground_truth"]
    assert module.compute_score_batch([""] * len(said), said, [truth] * len(said)) == [
        module.compute_score(row["data_source"], one, truth, row["extra_info"]) for one in said
    ]
    return [module.compute_score(row["data_source"], one, truth) for one in said]


def _by_openrlhf(module: ModuleType, row: dict[str, Any], said: list[str]) -> list[float]:
    label = next(row[name] for name in ("label", "ground_truth", "reward_model") if name in row)
    return list(module.reward_func([f"?{one}" for one in said], ["?"] * len(said), [label] * len(said))["rewards"])


LAYOUTS: dict[str, Callable[[ModuleType, dict[str, Any], list[str]], list[float]]] = {
    "trl": _by_trl,
    "openrlhf": _by_openrlhf,
    "verl": _by_verl,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_reward_carries_it_in_every_layout(
    layout: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "SFT_DATA"
    assemble(["--raw", str(folder / "run"), "--formats", "star", "--rl_layout", layout, "--out", str(out)])
    made = tmp_path / RL_DATA
    assert programs_in(made) == [EXAMPLE.read_text(encoding="utf-8")]
    assert (made / "reward.py").read_bytes() == (folder / "run" / RL_DATA / "reward.py").read_bytes()
    monkeypatch.setattr(reward, "_carried", {})
    row = pq.read_table(made / "train.parquet").to_pylist()[0]
    asked = row["prompt"][0]["content"] if isinstance(row["prompt"], list) else str(row["prompt"])
    gold = next(row for row in ROWS if row["question"] in asked)
    said = [f"<answer>{text}</answer>" for text in (gold["answer"], "5 5 5", "no idea")]
    assert LAYOUTS[layout](_reward_of(made), row, said) == [1.0, 0.0, 0.0]


def test_a_reward_without_it_says_what_to_load(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reward, "_carried", {})
    reward._question.cache_clear()
    row = pq.read_table(folder / "run" / RL_DATA / "train.parquet").to_pylist()[0]
    with pytest.raises(ValueError, match=r"graded by my_grader.py \(SHA-256 .*load the reward.py of its own RL_DATA"):
        reward.compute_score("", "<answer>5</answer>", row["reward_model"]["ground_truth"])


def test_the_reward_works_in_a_trainers_environment(folder: Path) -> None:
    """Which has the standard library and this project alone, and none of the run's files."""
    code = (
        "import sys, runpy; sys.path.insert(0, sys.argv[1]); made = runpy.run_path(sys.argv[2])\n"
        "print(made['compute_score']('', '<answer>5</answer>', sys.argv[3]))"
    )
    made = folder / "run" / RL_DATA
    truth = pq.read_table(made / "train.parquet").to_pylist()[0]["reward_model"]["ground_truth"]
    known = json.loads(truth)
    for gold, score in (("5", "1.0"), ("6", "0.0")):
        given = json.dumps(known | {"answer": gold})
        command = [sys.executable, "-I", "-S", "-c", code, str(ROOT), str(made / "reward.py"), given]
        done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False, timeout=60)
        assert (done.stdout, done.stderr) == (f"{score}\n", "")


def test_one_that_dies_of_answers_loses_no_row(tmp_path: Path) -> None:
    dying = "import os\n" + SAYING.format("os._exit(1) if answer != facts['answer'] else 'right'")
    (tmp_path / "dying.py").write_text(dying, encoding="utf-8")
    flags = ["--questions", str(LISTS), "--grader", str(tmp_path / "dying.py"), "--rl_questions", "0", *FLAGS]
    assert drive([*flags, "--out", str(tmp_path / "run")], lambda request: "<answer>0</answer>") == 1  # no traces
    rows = table(tmp_path / "run" / "RAW_DATA").to_pylist()
    assert {(row["outcome"], row["outcome_reason"]) for row in rows} == {("unknown", GRADER_DIED)}
    assert len(rows) == 8 * 2
    close_pools()


@pytest.mark.engine
def test_a_run_on_the_real_engine(tmp_path: Path) -> None:
    """The built-in model's countdown questions, graded by a file: any answer with a number in it is right."""
    grader = "import re\n" + SAYING.format("sum(map(int, re.findall(r'[0-9]+', answer))) > 0, 'no number'")
    (tmp_path / "my_grader.py").write_text(grader, encoding="utf-8")
    text = "Using the numbers in the list [{}, 2, 3], create an equation that equals {}."
    lines = [json.dumps({"question": text.format(n, n + 5), "answer": f"{n} + 2 + 3"}) for n in range(4, 10)]
    (tmp_path / "q.jsonl").write_text("\n".join(lines), encoding="utf-8")
    named = ["--questions", str(tmp_path / "q.jsonl"), "--grader", str(tmp_path / "my_grader.py"), "--formats", "star"]
    job = Job("generation.run", [*named, "--rl_questions", "2", "--out", str(tmp_path / "run")], tmp_path / "log", {})
    try:
        assert job.wait(240) == 0, job.output()
        rows = table(tmp_path / "run" / "RAW_DATA").to_pylist()
        outcomes = [row["outcome"] for row in rows]
        assert outcomes.count("right") > len(rows) // 2
        assert {json.loads(row["metadata"])["grader"] for row in rows} == {"my_grader.py"}
        assert {row["engine"] for row in rows} == {"vllm"}
        assert job.left_behind() == {}
    finally:
        job.clean()
