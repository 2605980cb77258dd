"""RL_DATA as verl reads it, and sets of more than one file."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from datasets import Features, disable_progress_bars, load_dataset

from assembly.cards import RL_SCHEMA
from assembly.exports import Example, rl_data, write_sft
from assembly.summary import AssemblySummary, SftSettings
from generation.dataset_card import code, fenced, table
from generation.records import Question

QUESTIONS = [
    Question(f"Make {target}.", f"{target}", "countdown_2arg", "made", "countdown", "equation", {"target": target})
    for target in (9, 7)
]


def test_rl_data_has_the_columns_that_verl_reads(tmp_path: Path) -> None:
    rl_data(QUESTIONS, tmp_path / "RL_DATA")
    disable_progress_bars()
    rows = load_dataset(str(tmp_path / "RL_DATA"), split="train", cache_dir=str(tmp_path / "cache"))
    assert rows.features == Features.from_arrow_schema(RL_SCHEMA)
    assert rows[1] == {
        "data_source": "countdown_2arg",
        "prompt": [{"role": "user", "content": "Make 7."}],
        "ability": "math",
        "reward_model": {
            "style": "rule",
            "ground_truth": '{"answer": "7", "facts": {"target": 7}, "grader": "countdown"}',
        },
        "extra_info": {"index": 1, "question_key": QUESTIONS[1].key, "split": "train"},
    }
    assert json.loads(rows[0]["reward_model"]["ground_truth"])["facts"] == QUESTIONS[0].facts
    card = (tmp_path / "RL_DATA" / "README.md").read_text(encoding="utf-8")
    assert "\n| `countdown_2arg` | 2 |\n" in card


@pytest.mark.parametrize(("per_file", "sizes"), [(4, [4, 4, 1]), (9, [9]), (3, [3, 3, 3]), (1000, [9])])
def test_a_long_set_is_written_in_several_files(per_file: int, sizes: list[int], tmp_path: Path) -> None:
    examples = [Example(f"k{n}", "q", "t", "0C", "0C", f"trace {n}") for n in range(9)]
    settings = SftSettings(("0C",), 1, 0)
    out = tmp_path / "SFT_DATA"
    write_sft(examples, AssemblySummary(out), settings, out, rows_per_file=per_file)
    files = sorted((out / "data").iterdir())
    assert [file.name for file in files] == [f"train-0000{n}-of-0000{len(sizes)}.parquet" for n in range(len(sizes))]
    assert [pq.read_metadata(file).num_rows for file in files] == sizes
    keys = [key for file in files for key in pq.read_table(file)["question_key"].to_pylist()]
    assert keys == [example.question_key for example in examples]


@pytest.mark.parametrize(
    ("text", "fence"),
    [("plain", "```"), ("``` ends", "````"), ("`````", "``````"), ("a `b`", "```")],
)
def test_fenced_text_cannot_leave_its_fence(text: str, fence: str) -> None:
    assert fenced(text) == f"{fence}\n{text}\n{fence}\n"


def test_a_table_keeps_its_cells_apart() -> None:
    assert table(("name", "count"), [(code("a|b"), 1234), ("c\nd", 5)]) == (
        "| name | count |\n| --- | ---: |\n| `a\\|b` | 1,234 |\n| c d | 5 |\n"
    )


def test_a_question_that_utf8_cannot_hold_is_kept(tmp_path: Path) -> None:
    rl_data([Question("Make \ud800.", "7", "sums", "a file", "answer", "number")], tmp_path / "RL_DATA")
    rows = pq.read_table(tmp_path / "RL_DATA" / "data" / "train-00000-of-00001.parquet").to_pylist()
    assert rows[0]["prompt"][0]["content"] == "Make \ufffd."
