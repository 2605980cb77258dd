"""Every task from the command line to its datasets, in one mixture, on the scripted engine; and what a person sees."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from datasets import load_dataset

from assembly.rl_layouts import SOURCE
from generation.run import main
from generation.tasks.registry import TASKS
from generation.tasks.task import HEADER
from tests import hub_datasets
from tests.hub_state import Hub
from tests.hub_user import User

EXAMPLE = str(Path(__file__).parent.parent / "examples" / "my_task.py")
ALL = [*TASKS, "reasoning_gym/gcd", EXAMPLE]
SAMPLES = 2 * 2
"""Of each question: two variants, and samples with the built-in model's settings."""


def names(tasks: list[str]) -> list[str]:
    return ["days_between" if name == EXAMPLE else name for name in tasks]


def words(text: str) -> list[str]:
    """Wherever the lines end."""
    return text.split()


def test_every_task_end_to_end(hub: Hub, user: User) -> None:
    for make in hub_datasets.ALL.values():
        make(hub)
    flags = [
        "--task=" + ",".join(f"{name}:4" for name in ALL),
        "--out=run",
        "--variants=original,rephrase",
        "--attempts=2",
    ]
    done = user.run("tests.drive_job", *flags)
    assert done.returncode == 0, done.stderr
    run = user.folder / "run"
    raw = pq.read_table(run / "RAW_DATA" / "data").to_pylist()
    assert Counter(row["task"] for row in raw) == dict.fromkeys(names(ALL), 4 * SAMPLES)
    assert {row["task"] for row in raw if row["outcome"] == "right"} == set(names(ALL)), "gold answers are right"
    for row in raw:
        if row["model_responses__mutated_prompts__eval_extracted_answers"] == ["-77"]:
            assert row["outcome"] != "right", row["question"]
        assert json.loads(row["task_config"])["tasks"].keys() == set(names(ALL))
    rl = [row for path in run.glob("RL_DATA/*.parquet") for row in pq.read_table(path).to_pylist()]
    assert Counter(row["data_source"] for row in rl) == dict.fromkeys((f"{SOURCE}{name}" for name in names(ALL)), 1)
    assert not {row["prompt"][0]["content"] for row in rl} & {row["question"] for row in raw}
    card = (run / "RL_DATA" / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in card for name in names(ALL))
    again = user.run("tests.drive_job", *flags)
    assert again.returncode == 0, again.stderr
    other = user.run("tests.drive_job", flags[0].replace(":4", ":3", 1), *flags[1:])
    assert other.returncode == 2
    assert "never shrinks" in other.stderr
    assert load_dataset(str(run / "RAW_DATA"), split="train").num_rows == len(raw)


def test_the_list_of_tasks_is_printed_and_nothing_else_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert main(["--list_tasks"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    blocks = printed.out.split("\n\n")
    assert len(blocks) == len(TASKS) + 1, "a block a task, and what else may be named"
    for block, (name, task) in zip(blocks, TASKS.items(), strict=False):
        head, shown, *more = block.splitlines()
        assert head == f"{name}: {task.line}; grader {task.grader}"
        assert shown.startswith("    Q: ")
        asked, _, answer = "\n".join([shown, *more]).partition("\n    A: ")
        question = task.example()
        assert words(asked.removeprefix("    Q: ")) == words(question.text.removeprefix(HEADER)) != []
        assert words(answer) == words(question.answer) != []
    assert blocks[-1].splitlines()[0] == "reasoning_gym/NAME: a generator of reasoning-gym; grader gym, its own scoring"
    assert list(tmp_path.iterdir()) == []


def test_the_plan_of_a_mixture_names_its_tasks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["--dry_run", "--task=countdown_3arg:8,letter_countdown_4o:4"]) == 0
    shown = capsys.readouterr().out
    assert "task        mix-countdown_3arg-letter_countdown_4o: 12 questions, 3 more held out for RL\n" in shown
    assert "            countdown_3arg: 8 and 2\n            letter_countdown_4o: 4 and 1\n" in shown
    assert "--- first prompt of letter_countdown_4o, variant rephrase" in shown
    assert "runs/mix-countdown_3arg-letter_countdown_4o-skillfactory-tiny-3m" in shown
