"""RL_DATA in the columns of each trainer: all of a question in every one, and its card says how it is given."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pyarrow.parquet as pq
import pytest
from datasets import Features, disable_progress_bars, load_dataset

from assembly.reward import truth_of
from assembly.rl import FILES, RL_DATA, rl_data
from assembly.rl_layouts import RL_LAYOUTS, RL_TRAINERS, held_in
from assembly.run import main
from generation.records import Question, RlLayoutName
from generation.tasks import countdown
from tests.assembly_rows import published_row, write_parquet
from tests.countdown_questions import make
from tests.test_rl_data import reward_module

QUESTIONS = make("countdown_3arg", 20, rl=True, seed=0, ranges=countdown.Ranges())
FACTS = {"numbers": [3, 4], "target": 7}
QUESTION = Question("Make 7.", "3 + 4", "countdown_2arg", "made", "countdown", "equation", FACTS)
TRUTH = '{"answer": "3 + 4", "facts": {"numbers": [3, 4], "target": 7}, "grader": "countdown"}'
TURN = [{"role": "user", "content": "Make 7."}]
OF_IT = {"question_key": QUESTION.key, "index": 0}
NAME = "skillfactory/countdown_2arg"
EXTRA = {"index": 0, "question_key": QUESTION.key, "split": "train"}
ROWS: dict[RlLayoutName, dict[str, Any]] = {
    "verl": {
        "data_source": NAME,
        "prompt": TURN,
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": TRUTH},
        "extra_info": EXTRA,
    },
    "trl": {"prompt": TURN, "ground_truth": TRUTH, "data_source": NAME, **OF_IT},
    "ms-swift": {"messages": TURN, "ground_truth": TRUTH, "data_source": NAME, **OF_IT},
    "openrlhf": {"prompt": "Make 7.", "ground_truth": TRUTH, "datasource": NAME, **OF_IT},
    "skyrl": {
        "data_source": NAME,
        "prompt": TURN,
        "env_class": "skillfactory",
        "reward_spec": {"method": "rule", "ground_truth": TRUTH},
        "extra_info": EXTRA,
    },
}


def rows(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    there = [(split, folder / name) for split, name in FILES.items() if (folder / name).exists()]
    return [(split, row) for split, path in there for row in pq.read_table(path).to_pylist()]


def test_each_layout_is_known_everywhere() -> None:
    assert [*RL_LAYOUTS] == [*RL_TRAINERS] == [*ROWS] == [*get_args(RlLayoutName)]


@pytest.mark.parametrize("layout", ROWS)
def test_a_row_says_what_its_trainer_asks(layout: RlLayoutName, tmp_path: Path) -> None:
    rl_data([QUESTION], tmp_path / RL_DATA, layout=layout)
    assert rows(tmp_path / RL_DATA) == [("train", ROWS[layout])]


@pytest.mark.parametrize("layout", ROWS)
def test_datasets_opens_it_and_every_question_is_whole(layout: RlLayoutName, tmp_path: Path) -> None:
    rl_data(QUESTIONS, tmp_path / RL_DATA, layout=layout)
    disable_progress_bars()
    splits = load_dataset(str(tmp_path / RL_DATA), cache_dir=str(tmp_path / "cache"))
    assert {name: len(split) for name, split in splits.items()} == {"train": 18, "validation": 2}
    assert splits["train"].features == Features.from_arrow_schema(RL_LAYOUTS[layout].schema)
    held = sorted(held_in(row, split) for split, row in rows(tmp_path / RL_DATA))
    assert [one.place for one in held] == [*range(20)]
    for one, question in zip(held, QUESTIONS, strict=True):
        assert (one.key, one.task, one.text) == (question.key, question.task, question.text)
        assert one.truth == truth_of(question)


@pytest.mark.parametrize("layout", ROWS)
def test_its_card_has_its_columns_and_its_lines(layout: RlLayoutName, tmp_path: Path) -> None:
    for count in (20, 1):
        rl_data(QUESTIONS[:count], tmp_path / RL_DATA, layout=layout)
        card = (tmp_path / RL_DATA / "README.md").read_text(encoding="utf-8")
        assert f"in the columns that {RL_TRAINERS[layout]['shown']} reads" in card
        for column in RL_LAYOUTS[layout].columns:
            assert f"| `{column.name}` |" in card
        how = card.partition("## How to train on it")[2]
        assert "train.parquet" in how
        assert ("val.parquet" in how) == (count > 1)
        assert "{train}" not in card


def test_a_run_is_laid_out_anew_and_back_to_the_same_bytes(tmp_path: Path) -> None:
    """From any layout to any other, beside the traces, and nothing else of the run is touched."""
    run = tmp_path / "run"
    written = [published_row(f"q{q}", f"r{q}/{n}", n % 2 == 0) for q in range(4) for n in range(4)]
    write_parquet(run / "RAW_DATA" / "data" / "train-00000-of-00001.parquet", written)
    rl_data(QUESTIONS, run / RL_DATA, {"task": "countdown_3arg"})
    before = {name: (run / RL_DATA / name).read_bytes() for name in FILES.values()}
    told = ["--raw", str(run), "--attempts", "3"]
    for layout in ("skyrl", "openrlhf", "ms-swift", "trl", "verl"):
        main([*told, "--rl_layout", layout])
        expected = tmp_path / layout
        rl_data(QUESTIONS, expected, layout=layout)
        for name in FILES.values():
            assert (run / RL_DATA / name).read_bytes() == (expected / name).read_bytes()
    assert {name: (run / RL_DATA / name).read_bytes() for name in FILES.values()} == before
    main([*told, "--rl_layout", "trl", "--out", str(tmp_path / "other" / "SFT_DATA")])
    assert {name: (run / RL_DATA / name).read_bytes() for name in FILES.values()} == before
    assert "ground_truth" in pq.read_schema(tmp_path / "other" / RL_DATA / "train.parquet").names


@pytest.mark.parametrize("fault", ["none", "another", "a file of theirs", "in its place"])
def test_what_cannot_be_laid_out_anew_is_refused_before_anything_is_made(
    fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = tmp_path / "run", ["--out", str(tmp_path / "run" / "SFT_DATA")]
    written = [published_row(f"q{q}", f"r{q}/{n}", n % 2 == 0) for q in range(4) for n in range(4)]
    raw = write_parquet(run / "RAW_DATA" / "data" / "train-00000-of-00001.parquet", written)
    rl_data(QUESTIONS, run / RL_DATA)
    if fault == "none":
        shutil.rmtree(run / RL_DATA)
    elif fault == "another":
        shutil.copy(raw, run / RL_DATA / "train.parquet")
    elif fault == "a file of theirs":
        (run / RL_DATA / "notes.txt").write_text("mine")
    else:
        out = ["--out", str(tmp_path / "new" / RL_DATA)]
    with pytest.raises(SystemExit) as ended:
        main(["--raw", str(run), "--attempts", "3", "--rl_layout", "trl", *out])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    words = {
        "none": "--rl_layout is for the RL_DATA of a run",
        "another": "is no RL_DATA that a run has made",
        "a file of theirs": "holds notes.txt",
        "in its place": "is where RL_DATA goes with --rl_layout",
    }
    assert words[fault] in line
    assert not (run / "SFT_DATA").exists()
    assert not (tmp_path / "new").exists()


def test_skyrl_has_the_reward_as_an_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As its library does it, by names alone; tests/consumers/check_skyrl.py has the library."""
    made: dict[str, Any] = {}
    gym, text = ModuleType("skyrl_gym"), ModuleType("skyrl_gym.envs.base_text_env")
    gym.__dict__.update(registry=made, register=lambda name, entry_point: made.update({name: entry_point}))
    text.__dict__["BaseTextEnv"] = object
    monkeypatch.setitem(sys.modules, "skyrl_gym", gym)
    monkeypatch.setitem(sys.modules, "skyrl_gym.envs", ModuleType("skyrl_gym.envs"))
    monkeypatch.setitem(sys.modules, "skyrl_gym.envs.base_text_env", text)
    rl_data([QUESTION], tmp_path / RL_DATA, layout="skyrl")
    reward_module(tmp_path / RL_DATA)
    (_, row) = rows(tmp_path / RL_DATA)[0]
    environment = made[row["env_class"]](env_config=None, extras={name: row[name] for name in ("reward_spec",)})
    assert environment.step("<answer>4 + 3</answer>")["reward"] == 1.0
    assert environment.step("<answer>4 * 3</answer>") == {
        "observations": [],
        "reward": 0.0,
        "done": True,
        "metadata": {},
    }
    assert json.loads(row["reward_spec"]["ground_truth"])["grader"] == "countdown"
