"""Pairs of a right and a wrong sample: which stand in them, on which side, and in whose columns."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pyarrow.parquet as pq
import pytest
from datasets import disable_progress_bars, load_dataset
from hypothesis import given
from hypothesis import strategies as st

from assembly.assemble import assemble
from assembly.feasibility import NothingMadeError
from assembly.pairs import draw_pairs
from assembly.sft import DATASET_INFO
from tests.assembly_rows import PUBLISHED, published_row, settings, write_parquet

SAMPLES = st.lists(st.tuples(st.sampled_from("uvwxyz"), st.sampled_from(["original", "plan"])), max_size=9)
ROWS = [published_row(f"q{q}", f"{'right' if n < q else 'wrong'} {n}", n < q) for q in range(9) for n in range(8)]


@given(SAMPLES, SAMPLES, st.integers(1, 5), st.integers(0, 99))
def test_no_text_stands_in_two_pairs(
    right: list[tuple[str, str]], wrong: list[tuple[str, str]], most: int, seed: int
) -> None:
    drawn = draw_pairs(right, wrong, most, Random(seed))
    texts = [{text for text, _ in side} for side in (right, wrong)]
    assert len(drawn) == min(most, *map(len, texts))
    for place, side in enumerate((right, wrong)):
        found = [pair[place] for pair in drawn]
        assert len({text for text, _ in found}) == len(found)
        assert {*found} <= {*side}
    assert drawn == draw_pairs(right[::-1], wrong[::-1], most, Random(seed))


def made(folder: Path, rows: list[dict[str, Any]] = ROWS, **changes: Any) -> list[dict[str, Any]]:
    raw = write_parquet(folder / "raw.parquet", rows)
    assemble(raw, folder / "SFT_DATA", settings("0C", **changes), 1)
    found: list[dict[str, Any]] = pq.read_table(folder / "PAIRS_DATA" / "data").to_pylist()
    return found


def test_right_is_chosen_and_wrong_is_rejected(tmp_path: Path) -> None:
    rows = made(tmp_path, pairs=3)
    assert Counter(row["conversations"][0]["content"] for row in rows) == {
        f"q{q}": min(3, q, 8 - q) for q in range(1, 8)
    }
    for row in rows:
        assert row["chosen"]["content"].startswith("right")
        assert row["rejected"]["content"].startswith("wrong")
        assert {row[name]["role"] for name in ("chosen", "rejected")} == {"assistant"}
    card = (tmp_path / "PAIRS_DATA" / "README.md").read_text(encoding="utf-8")
    assert f"| pairs | {len(rows)} of 7 questions |" in card
    assert "| mean length of the chosen | 7.0 characters, 1.00 times as long |" in card
    assert made(tmp_path, pairs=3) == rows
    assert made(tmp_path, pairs=3, seed=1) != rows


def test_samples_need_no_reflection_but_an_answer(tmp_path: Path) -> None:
    mute = [row | {f"{PUBLISHED}_reflection": []} for row in ROWS]
    silent = [published_row("s", f"{n}", n > 0, **{f"{PUBLISHED}__eval_extracted_answers": [None]}) for n in range(2)]
    rows = made(tmp_path, [*ROWS[8:16], *mute[16:], *silent], pairs=1)
    assert {row["question_key"] for row in rows} == {row["question_key"] for row in made(tmp_path, pairs=1)}


def test_columns_are_those_of_the_trainers(tmp_path: Path) -> None:
    made(tmp_path, pairs=2, system="Be right.", validation=0.3)
    info = json.loads((tmp_path / "PAIRS_DATA" / DATASET_INFO).read_text(encoding="utf-8"))
    assert info.keys() == {"skillfactory_pairs", "skillfactory_pairs_validation"}
    for entry in info.values():
        assert entry["ranking"] is True
        assert entry["columns"] == {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"}
    (row, *_) = made(tmp_path, pairs=2, system="Be right.", layout="messages")
    assert [turn["role"] for turn in row["prompt"]] == ["system", "user"]
    assert [[turn["role"] for turn in row[name]] for name in ("chosen", "rejected")] == [["assistant"]] * 2
    assert not (tmp_path / "PAIRS_DATA" / DATASET_INFO).exists()


def test_pairs_stand_on_the_side_of_their_traces(tmp_path: Path) -> None:
    made(tmp_path, pairs=2, validation=0.3)
    disable_progress_bars()
    sides = []
    for one in ("SFT_DATA", "PAIRS_DATA"):
        splits = load_dataset(str(tmp_path / one), cache_dir=str(tmp_path / f"cache-{one}"))
        sides.append({name: {*rows["question_key"]} for name, rows in splits.items()})
    for split in ("train", "validation"):
        assert sides[1][split] <= sides[0][split]
    assert not sides[1]["train"] & sides[1]["validation"]


def test_without_a_pair_everything_stays(tmp_path: Path) -> None:
    before = made(tmp_path, pairs=1)
    with pytest.raises(NothingMadeError, match="no pair comes with --pairs"):
        made(tmp_path, [row for row in ROWS if row[f"{PUBLISHED}__eval_is_correct"][0]], pairs=1)
    assert pq.read_table(tmp_path / "PAIRS_DATA" / "data").to_pylist() == before
