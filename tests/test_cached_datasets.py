"""`datasets` gives the rows that lie in a folder, and not what it remembers of a folder of the same name."""

from __future__ import annotations

from pathlib import Path

import pytest
from datasets import disable_progress_bars, load_dataset

from assembly.rl import rl_data
from generation.records import Question


def _question(text: str) -> Question:
    return Question(text, "4", "sums", "made", "number", "number")


@pytest.mark.parametrize("other", ["2 + 2 = ?", "1 + 3 = ?"])
def test_a_set_made_anew_and_one_of_the_same_name_are_read_as_they_lie(tmp_path: Path, other: str) -> None:
    """The questions are as long as each other, so that no size tells the sets apart."""
    disable_progress_bars()

    def read(folder: Path) -> str:
        rows = load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))
        return str(rows["prompt"][0][0]["content"])

    first, second = tmp_path / "a" / "RL_DATA", tmp_path / "b" / "RL_DATA"
    rl_data([_question("3 + 1 = ?")], first)
    rl_data([_question(other)], second)
    assert (read(first), read(second)) == ("3 + 1 = ?", other)
    rl_data([_question(other)], first)
    assert read(first) == other
