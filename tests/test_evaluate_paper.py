"""--task paper: its fifteen tasks with its counts, those of the hub from splits that no training set is made from."""

from __future__ import annotations

import re

import pytest

from generation.evaluation.averages import PAPER_TASKS
from tests.hub_datasets import card, parquet, put
from tests.hub_state import Hub
from tests.hub_user import User

ROWS = 110
LONGEST_S = 600.0  # 25 s of processor time, on cores that others may share
WIDE = ("--inputs", "1-100", "--targets", "10-1000")  # the built-in model's numbers are too few for two arguments


@pytest.fixture
def asker(hub: Hub, user: User) -> User:
    """Somebody whose hub has as many rows of both tasks as the paper asks, in each split."""
    splits = {"train": "main/train-*", "test": "main/test-*"}
    sums = {
        f"main/{split}-00000-of-00001.parquet": parquet(
            [{"question": f"{split}: {n} apples and 1?", "answer": f"So.\n#### {n + 1}"} for n in range(ROWS)]
        )
        for split in splits
    }
    put(hub, "gsm8k", {**sums, "README.md": card(("main", splits))})
    choices = {"label": list("ABCDE"), "text": [f"place {n}" for n in range(5)]}
    places = {
        f"data/{split}-00000-of-00001.parquet": parquet(
            [{"question": f"{split}: where is {n}?", "choices": choices, "answerKey": "B"} for n in range(ROWS)]
        )
        for split in ("train", "validation")
    }
    put(hub, "commonsenseQA", places)
    return user


def test_the_paper_asks_fifteen_tasks_with_its_counts(asker: User) -> None:
    flags = ("--task", "paper", "--samples", "4,gsm8k=34", *WIDE, "--dry_run", "--out", "run")
    process = asker.start("generation.evaluate", *flags)
    try:
        said, complained = process.communicate(timeout=LONGEST_S)
    finally:
        process.kill()
    assert process.returncode == 0, complained
    counts = re.findall(r"^ {12}(\w+): (\d+), (\d+) replies each$", said, re.MULTILINE)
    assert {name: int(count) for name, count, _ in counts} == PAPER_TASKS
    assert {name: int(samples) for name, _, samples in counts} == {**dict.fromkeys(PAPER_TASKS, 4), "gsm8k": 34}
    assert "task        paper: 3,291 questions" in said
    shown = dict(re.findall(r"^--- first prompt of (\w+), question -*\n(.*?)(?=^---|\Z)", said, re.DOTALL | re.M))
    assert shown.keys() == PAPER_TASKS.keys()
    assert "test: " in shown["gsm8k"]
    assert "validation: " in shown["commonsenseQA"]
