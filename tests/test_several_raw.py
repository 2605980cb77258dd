"""Several RAW_DATA assembled as one: what two of them have counts once, and the card tells the rest."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from assembly.assemble import assemble
from assembly.run import main
from assembly.settings import SftSettings
from assembly.several import without_copies
from tests.assembly_rows import PUBLISHED, RIGHT, WRONG, chosen, published_row, retry_row, settings, write_parquet

MADE = SftSettings(("*C_full",), "4")


def sample(question: str, response: str, *, correct: bool, looks: int = 1, model: str = "me/one") -> dict[str, object]:
    said = [f"Look {number}. {RIGHT if correct else WRONG}" for number in range(looks)]
    answers = [response.partition(">")[2][0]]
    more = {f"{PUBLISHED}_reflection": said, f"{PUBLISHED}__eval_extracted_answers": answers, "model": model}
    return published_row(question, response, correct, **more)


A = [
    sample("2+2?", "It is <answer>5</answer>", correct=False),
    sample("2+2?", "It is <answer>4</answer>", correct=True),
    sample("2+2?", "It is <answer>4</answer>", correct=True),
    sample("3+3?", "Six: <answer>6</answer>", correct=True),
]
B = [
    sample("2+2?", "It is <answer>4</answer>", correct=True, model="you/two"),
    sample("2+2?", "It is <answer>6</answer>", correct=False, model="you/two"),
    sample("3+3?", "Six: <answer>6</answer>", correct=True, looks=3, model="you/two"),
    sample("4+4?", "Eight: <answer>8</answer>", correct=True, model="you/two"),
]


@pytest.fixture
def raws(tmp_path: Path) -> tuple[Path, Path]:
    return write_parquet(tmp_path / "a" / "train.parquet", A).parent, write_parquet(tmp_path / "b.parquet", B)


def traces(folder: Path) -> list[dict[str, object]]:
    return [row for file in sorted((folder / "data").glob("*.parquet")) for row in pq.read_table(file).to_pylist()]


def test_rows_of_both_count_once(raws: tuple[Path, Path], tmp_path: Path) -> None:
    summary = assemble(raws, tmp_path / "both", MADE)
    assert (summary.samples, summary.repeated, summary.questions) == (6, 2, 3)
    assert summary.variants.total() == 6
    alone = [assemble(raw, tmp_path / f"alone{place}", SftSettings(("star",))) for place, raw in enumerate(raws)]
    assert [one.repeated for one in alone] == [0, 0], "what one RAW_DATA holds twice are two samples"
    assert [one.samples for one in alone] == [4, 4]


def test_it_is_the_set_of_all_different_rows(raws: tuple[Path, Path], tmp_path: Path) -> None:
    """Of a sample that was reflected on further the one with more reflections stays, wherever it stands."""
    joined = write_parquet(tmp_path / "joined.parquet", [*A[:3], B[1], B[2], B[3]])
    assemble(joined, tmp_path / "joined", MADE)
    for order in (raws, raws[::-1]):
        assemble(order, tmp_path / "both", MADE, 2)
        assert traces(tmp_path / "both") == traces(tmp_path / "joined")


def test_retries_are_the_same_if_they_saw_the_same() -> None:
    """Short retries of other samples often have the same text."""
    saw = [("It is 8.", f"No. {WRONG}"), ("Is it 8?", f"No. {WRONG}"), ("It is 8.", f"It is not. {WRONG}")]
    rows = [retry_row("It is seven.", True, *one) for one in [*saw, saw[0]]]
    kept, copies = without_copies(chosen(rows, settings("retry")), np.array([0, 1, 1, 1]))
    assert [(row["response"], row["reflection"]) for row in kept["first"].to_pylist()] == saw
    assert copies.num_rows == 1


def test_the_card_and_the_terminal_say_so(
    raws: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "both"
    main([f"--raw={raws[0]},{raws[1]}", f"--out={out}", "--attempts=4"])
    said = " ".join(capsys.readouterr().out.split())
    assert "rows that more than one RAW_DATA has, and that count once: 2" in said
    assert "a: 4 rows by me/one" in said
    assert "b.parquet: 4 rows by you/two" in said
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "From `a, b.parquet`, whose files have the digest" in card
    assert "its samples are by `me/one`, `you/two`" in " ".join(card.split())
    assert "Rows that more than one RAW_DATA has, and that count once: 2." in card
    assert json.loads((out / "analysis.json").read_text())


def test_words_and_commas_are_the_same(raws: tuple[Path, Path], tmp_path: Path) -> None:
    main(["--raw", str(raws[0]), str(raws[1]), f"--out={tmp_path / 'words'}", "--attempts=2"])
    main([f"--raw={raws[0]},{raws[1]}", f"--out={tmp_path / 'commas'}", "--attempts=2"])
    assert traces(tmp_path / "words") == traces(tmp_path / "commas")
