"""RAW_DATA as read: both published families of names, what may be missing, and what is refused by name."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from generation.raw.files import find_files
from generation.raw.reader import UNDECIDED, open_parts
from generation.records import NO_ANSWER, stable_hash
from tests.assembly_rows import PUBLISHED, README, RIGHT, published_row, read, write_parquet

TAGGED = "so <answer>7</answer>"


def _file(tmp_path: Path, *rows: dict[str, Any]) -> Path:
    return write_parquet(tmp_path / "raw.parquet", rows)


def _readme_row(response: object, correct: object, **changes: Any) -> dict[str, Any]:
    """A row in the README's names, which come as plain values or as lists."""
    row = {
        "question": "3 + 4?",
        "answer": "7",
        README: response,
        f"{README}__eval_is_correct": correct,
        f"{README}__eval_extracted_answers": "7",
        f"{PUBLISHED}_reflection": [RIGHT],
        "prompt_type": "plan",
    }
    return {**row, **changes}


@pytest.mark.parametrize(
    ("row", "variant"),
    [
        (published_row("3 + 4?", "7", True, **{f"{PUBLISHED}_reflection": [RIGHT]}), "original"),
        (_readme_row("7", True), "plan"),
        (_readme_row(["7"], [True]), "plan"),
        (_readme_row(["7", "8"], [True, False], prompt_variant="both"), "both"),  # element 0 is used
    ],
)
def test_both_families_of_names_give_the_same_record(row: dict[str, Any], variant: str, tmp_path: Path) -> None:
    (record,) = read(_file(tmp_path, row))
    assert record.question_key == stable_hash("3 + 4?")[:16]
    assert (record.question, record.answer, record.task, record.variant) == ("3 + 4?", "7", "", variant)
    assert (record.response, record.is_correct, record.outcome, record.reason) == ("7", True, "right", "")
    assert (record.extracted_answer, record.cut, record.mentions_hint) == ("7", False, False)
    assert record.reflections == [RIGHT]


@pytest.mark.parametrize(
    ("correct", "extracted", "outcome", "reason"),
    [
        ([True], ["7"], "right", ""),
        ([False], ["8"], "wrong", ""),
        ([False], [""], "unknown", NO_ANSWER),  # published as False all the same
        ([False], [None], "unknown", NO_ANSWER),
        ([False], [" \n"], "unknown", NO_ANSWER),
        ([False], [], "unknown", NO_ANSWER),
        ([None], ["7"], "unknown", UNDECIDED),
        ([], ["7"], "unknown", UNDECIDED),
    ],
)
def test_the_outcome_of_a_foreign_row_is_derived(
    correct: list[bool | None], extracted: list[str | None], outcome: str, reason: str, tmp_path: Path
) -> None:
    changes = {f"{PUBLISHED}__eval_is_correct": correct, f"{PUBLISHED}__eval_extracted_answers": extracted}
    # the second row gives empty lists a type
    first, _ = read(_file(tmp_path, published_row("q", "r", True) | changes, published_row("q", "r", True)))
    assert (first.outcome, first.reason) == (outcome, reason)
    assert first.is_correct is (correct[0] if correct else None)


@pytest.mark.parametrize(
    ("column", "field", "expected"),
    [
        ("prompt_variant", "variant", None),
        (f"{PUBLISHED}_reflection", "reflections", []),
        (f"{PUBLISHED}__eval_extracted_answers", "extracted_answer", "7"),  # found in the response
    ],
)
def test_some_columns_may_be_missing(column: str, field: str, expected: object, tmp_path: Path) -> None:
    row = published_row("q", TAGGED, True)
    del row[column]
    (record,) = read(_file(tmp_path, row))
    assert getattr(record, field) == expected
    assert record.outcome == "right"


def test_columns_of_no_use_are_not_looked_at(tmp_path: Path) -> None:
    (record,) = read(_file(tmp_path, published_row("q", "r", True, all_other_columns=[{"a": 1}], cut=3)))
    assert not record.cut


@pytest.mark.parametrize("kind", [pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_texts_may_be_stored_in_any_way(kind: pa.DataType, tmp_path: Path) -> None:
    table = pa.Table.from_pylist([published_row("q", "r", True)])
    table = table.set_column(0, "question", table["question"].cast(pa.string()).cast(kind))
    pq.write_table(table, tmp_path / "raw.parquet")
    assert [row.question for row in read(tmp_path)] == ["q"]


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["data/train-00001-of-00002.parquet", "data/train-00000-of-00002.parquet"], ["00000", "00001"]),
        (["b.parquet", "a.parquet", "notes.txt"], ["a", "b"]),
        (["data/train-0.parquet", "other.parquet"], ["train-0"]),
    ],
)
def test_the_files_of_a_folder_come_in_order_of_name(names: list[str], found: list[str], tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for path, part in zip(find_files(tmp_path), found, strict=True):
        assert part in path.name


def test_every_batch_of_a_long_file_is_read(tmp_path: Path) -> None:
    file = _file(tmp_path, *(published_row(f"{n}", f"r{n}", True) for n in range(2500)))
    for batch_rows in (1, 1000, 4096):
        assert [row.response for row in read(file, batch_rows)] == [f"r{n}" for n in range(2500)]


@pytest.mark.parametrize(("part_bytes", "parts"), [(1, 10), (10**9, 1)])
def test_a_file_is_read_in_parts_that_know_their_rows(part_bytes: int, parts: int, tmp_path: Path) -> None:
    table = pa.Table.from_pylist([published_row(f"{n}", f"r{n}", True) for n in range(95)])
    pq.write_table(table, tmp_path / "raw.parquet", row_group_size=10)
    found = open_parts(tmp_path, part_bytes)
    assert len(found) == parts
    assert [part.first_row for part in found] == list(range(0, 95, 95 if parts == 1 else 10))
    assert sum(part.rows for part in found) == 95
    assert [row.response for row in read(tmp_path)] == [f"r{n}" for n in range(95)]


def test_the_row_of_a_fault_is_its_place_in_the_file(tmp_path: Path) -> None:
    rows = [published_row("q", "r", True, outcome="right") for _ in range(30)]
    rows[23]["outcome"] = "maybe"
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "raw.parquet", row_group_size=7)
    with pytest.raises(ValueError, match="row 23: outcome is 'maybe'"):
        read(tmp_path, 3)


def _without(column: str) -> dict[str, Any]:
    return {name: value for name, value in published_row("q", "r", True).items() if name != column}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([_without("question")], "raw.parquet: no column 'question', which gives the question"),
        ([_without("answer")], "no column 'answer', which gives the answer"),
        ([_without(PUBLISHED)], f"no column '{PUBLISHED}' or '{README}', which gives the response"),
        ([_without(f"{PUBLISHED}__eval_is_correct")], f"no column '{PUBLISHED}__eval_is_correct'"),
        ([published_row("q", "r", True) | {"question": 3}], "column 'question' is of type int64; expected text"),
        ([published_row("q", "r", True) | {"question": ["q"]}], "expected text$"),  # only samples come in lists
        ([published_row("q", "r", True) | {PUBLISHED: [1]}], "expected text or a list of it"),
        ([published_row("q", "r", True) | {f"{PUBLISHED}__eval_is_correct": ["yes"]}], "expected bool or a"),
        ([published_row("q", "r", True) | {f"{PUBLISHED}_reflection": [[RIGHT]]}], "expected text or a list"),
        ([published_row("q", "r", True), published_row("q", "r", True) | {"question": None}], "row 1: no question"),
        ([published_row("q", "r", True), published_row("q", "r", True) | {PUBLISHED: []}], "row 1: no response"),
        ([published_row("q", "r", True, outcome="maybe")], "row 0: outcome is 'maybe'; expected one of right"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(rows: list[dict[str, Any]], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        read(_file(tmp_path, *rows))


def test_a_wrong_second_file_is_told_before_the_first_row(tmp_path: Path) -> None:
    write_parquet(tmp_path / "0.parquet", [published_row("q", "r", True)])
    write_parquet(tmp_path / "1.parquet", [_without("answer")])
    with pytest.raises(ValueError, match=r"1\.parquet: no column 'answer'"):
        read(tmp_path)


def test_a_folder_without_rows_is_refused(tmp_path: Path) -> None:
    table = pa.Table.from_pylist([published_row("q", "r", True)])
    pq.write_table(table.slice(0, 0), tmp_path / "raw.parquet")
    with pytest.raises(ValueError, match="holds no rows; expected one row a sample"):
        read(tmp_path)


def test_a_torn_file_is_refused_by_name(tmp_path: Path) -> None:
    file = _file(tmp_path, *(published_row(f"{n}", "r" * n, True) for n in range(50)))
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"raw\.parquet: cannot be read as parquet"):
        read(file)


def test_a_file_with_a_broken_middle_is_refused_by_name(tmp_path: Path) -> None:
    file = _file(tmp_path, *(published_row(f"{n}", "r" * n, True) for n in range(50)))
    whole = file.read_bytes()
    file.write_bytes(whole[:4] + b"\xff" * 400 + whole[404:])
    with pytest.raises(ValueError, match=r"raw\.parquet: torn after row 0"):
        read(file)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("./nowhere/at/all", "./nowhere/at/all: no such file or folder"),
        ("nowhere", "nowhere: no such file or folder"),
        ("/" + "x" * 300, "cannot be looked at"),
        (".", r"\.: holds no parquet file; expected data/\*\.parquet or \*\.parquet"),
    ],
)
def test_a_place_without_raw_data_is_refused(
    raw: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(tmp_path / "data", ignore_errors=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        read(raw)
