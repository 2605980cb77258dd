"""RL_DATA: two splits that share no question, in the columns that verl reads, and a reward.py that scores them."""

from __future__ import annotations

import importlib.util
import random
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow.parquet as pq
import pytest
from datasets import Features, disable_progress_bars, load_dataset
from hypothesis import given
from hypothesis import strategies as st

from assembly import reward
from assembly.rl import FILES, rl_data, validation_keys
from assembly.rl_layouts import RL_LAYOUTS
from generation.records import Question
from generation.tasks import countdown
from tests.countdown_questions import make

QUESTIONS = make("countdown_3arg", 40, rl=True, seed=0, ranges=countdown.Ranges())


def _rows(folder: Path) -> dict[str, list[dict[str, Any]]]:
    return {
        split: pq.read_table(folder / file).to_pylist() for split, file in FILES.items() if (folder / file).exists()
    }


def reward_module(folder: Path) -> ModuleType:
    """As verl loads it: by path, under a name of its own."""
    spec = importlib.util.spec_from_file_location("custom_module", folder / "reward.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_datasets_opens_both_splits(tmp_path: Path) -> None:
    rl_data(QUESTIONS, tmp_path / "RL_DATA")
    disable_progress_bars()
    splits = load_dataset(str(tmp_path / "RL_DATA"), cache_dir=str(tmp_path / "cache"))
    assert {name: len(split) for name, split in splits.items()} == {"train": 36, "validation": 4}
    for split in splits.values():
        assert split.features == Features.from_arrow_schema(RL_LAYOUTS["verl"].schema)


def test_a_row_says_what_verl_asks(tmp_path: Path) -> None:
    facts = {"numbers": [3, 4], "target": 7}
    question = Question("Make 7.", "3 + 4", "countdown_2arg", "made", "countdown", "equation", facts)
    rl_data([question], tmp_path / "RL_DATA")
    truth = '{"answer": "3 + 4", "facts": {"numbers": [3, 4], "target": 7}, "grader": "countdown"}'
    assert _rows(tmp_path / "RL_DATA")["train"] == [
        {
            "data_source": "skillfactory/countdown_2arg",
            "prompt": [{"role": "user", "content": "Make 7."}],
            "ability": "math",
            "reward_model": {"style": "rule", "ground_truth": truth},
            "extra_info": {"index": 0, "question_key": question.key, "split": "train"},
        }
    ]


@pytest.mark.parametrize(("count", "validation"), [(1, 0), (2, 1), (8, 1), (14, 1), (16, 2), (25, 2), (26, 3), (40, 4)])
def test_about_a_tenth_is_for_validation(count: int, validation: int, tmp_path: Path) -> None:
    rl_data(QUESTIONS[:count], tmp_path / "RL_DATA")
    rows = _rows(tmp_path / "RL_DATA")
    assert len(rows["train"]) == count - validation
    assert len(rows.get("validation", [])) == validation
    files = {"README.md", "reward.py", ".made-here", "train.parquet", *(["val.parquet"] if validation else [])}
    assert {path.name for path in (tmp_path / "RL_DATA").iterdir()} == files


def test_no_question_is_lost_or_in_both_splits(tmp_path: Path) -> None:
    rl_data(QUESTIONS, tmp_path / "RL_DATA")
    rows = [row for split in _rows(tmp_path / "RL_DATA").values() for row in split]
    by_index = sorted(rows, key=lambda row: row["extra_info"]["index"])
    assert [row["extra_info"]["question_key"] for row in by_index] == [question.key for question in QUESTIONS]
    assert {row["extra_info"]["split"] for row in rows} == set(FILES)
    for split, of_split in _rows(tmp_path / "RL_DATA").items():
        assert {row["extra_info"]["split"] for row in of_split} == {split}
        indices = [row["extra_info"]["index"] for row in of_split]
        assert indices == sorted(indices)


@given(st.integers(0, 40), st.randoms(use_true_random=False))
def test_the_choice_depends_on_no_order(count: int, rng: random.Random) -> None:
    questions = QUESTIONS[:count]
    chosen = validation_keys(questions)
    assert validation_keys(rng.sample(questions, count)) == chosen
    assert validation_keys([*questions, *questions]) == chosen
    assert chosen <= {question.key for question in questions}


def test_the_same_questions_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("first", "second"):
        rl_data(QUESTIONS, tmp_path / name)
    for path in (tmp_path / "first").iterdir():
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes()


def test_a_former_set_is_replaced_and_nothing_is_left_of_it(tmp_path: Path) -> None:
    rl_data(QUESTIONS, tmp_path / "RL_DATA")
    rl_data(QUESTIONS[:1], tmp_path / "RL_DATA")
    assert list(_rows(tmp_path / "RL_DATA")) == ["train"]


def test_its_reward_gives_each_gold_answer_one(tmp_path: Path) -> None:
    own = [Question(f"{n} + 1?", f"{n + 1}", "sums", "a file", "answer", "number") for n in range(9)]
    rl_data([*QUESTIONS, *own], tmp_path / "RL_DATA")
    module = reward_module(tmp_path / "RL_DATA")
    assert (module.compute_score, module.compute_score_batch) == (reward.compute_score, reward.compute_score_batch)
    gold = {question.key: question.answer for question in [*QUESTIONS, *own]}
    for row in (row for split in _rows(tmp_path / "RL_DATA").values() for row in split):
        answer = gold[row["extra_info"]["question_key"]]
        truth = row["reward_model"]["ground_truth"]
        assert module.compute_score(row["data_source"], f"<answer>{answer}</answer>", truth, row["extra_info"]) == 1.0
        assert module.compute_score(row["data_source"], "<answer>8 - 8</answer>", truth, row["extra_info"]) == 0.0


@pytest.mark.parametrize("other", [None, "", "from there import nothing"])
def test_without_the_project_its_reward_says_what_to_install(other: str | None, tmp_path: Path) -> None:
    """Or what is wrong inside, where an `assembly.reward` is there: it is not hidden by that advice."""
    rl_data(QUESTIONS[:1], tmp_path / "RL_DATA")
    if other is not None:  # a package of that name which is none of ours, without and with a module `reward`
        (tmp_path / "RL_DATA" / "assembly").mkdir()
        (tmp_path / "RL_DATA" / "assembly" / "__init__.py").touch()
    if other:
        (tmp_path / "RL_DATA" / "assembly" / "reward.py").write_text(other)
    # -S: without site-packages, where the tests' own installation of the project is
    command = [sys.executable, "-S", str(tmp_path / "RL_DATA" / "reward.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    if other:
        assert last == "ModuleNotFoundError: No module named 'there'"
    else:
        assert "During handling" not in done.stderr
        assert last == (
            "ModuleNotFoundError: reward.py needs the graders of the project skillfactory-data: in its checkout, "
            "run `pip install --no-deps .` with the pip of this environment"
        )


def test_the_card_tells_the_splits_and_what_verl_is_given(tmp_path: Path) -> None:
    rl_data(QUESTIONS, tmp_path / "RL_DATA")
    card = (tmp_path / "RL_DATA" / "README.md").read_text(encoding="utf-8")
    for lines in [
        "  - split: train\n    path: train.parquet\n  - split: validation\n    path: val.parquet",
        "| task | train | validation |\n| --- | ---: | ---: |\n| `countdown_3arg` | 36 | 4 |",
        "data.train_files=train.parquet\ndata.val_files=val.parquet\nreward.custom_reward_function.path=reward.py",
    ]:
        assert f"\n{lines}\n" in card


def test_a_question_that_utf8_cannot_hold_is_kept(tmp_path: Path) -> None:
    rl_data([Question("Make \ud800.", "7\ud800", "sums", "a file", "answer", "number")], tmp_path / "RL_DATA")
    (row,) = _rows(tmp_path / "RL_DATA")["train"]
    assert row["prompt"][0]["content"] == "Make \ufffd."
    truth = row["reward_model"]["ground_truth"]
    assert reward.compute_score("sums", "<answer>7\ud800</answer>", truth) == 1.0
