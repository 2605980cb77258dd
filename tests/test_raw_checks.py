"""What is looked at in a RAW_DATA before its rows are used: whole sets of files, copies, keys, several responses."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assembly.run import main
from generation.raw.files import check_copies, find_files, notes_on_responses
from generation.raw.reader import open_parts, read_part
from generation.raw.schema import SAMPLE_PROVENANCE
from reflection.added.source import open_source
from reflection.run import main as reflect
from tests.assembly_rows import PUBLISHED, README, published_row, read, write_parquet
from tests.raw_rows import bytes_of

WHOLE = "train-00000-of-00001.parquet"
BLANK = "its response is blank"


def _sample(index: int, response: str = "7", key: str = "k", **changes: Any) -> dict[str, Any]:
    """A row that says which sample of a run it is."""
    return published_row("3 + 4?", response, True, question_key=key, sample_index=index) | changes


@pytest.mark.parametrize("below", ["data", "."])
def test_the_raw_data_of_a_run_comes_before_what_else_lies_there(below: str, tmp_path: Path) -> None:
    within = write_parquet(tmp_path / "RAW_DATA" / below / WHOLE, [published_row("q", "r", True)])
    write_parquet(tmp_path / "notes.parquet", [published_row("another", "r", True)])
    write_parquet(tmp_path / "data" / "notes.parquet", [published_row("another", "r", True)])
    assert find_files(tmp_path) == (within,)


def test_a_stray_file_is_not_taken_for_the_raw_data_that_a_run_has_not_made(tmp_path: Path) -> None:
    write_parquet(tmp_path / "notes.parquet", [published_row("another", "r", True)])
    (tmp_path / "run.json").touch()
    with pytest.raises(ValueError, match="is a run that has made no RAW_DATA yet"):
        find_files(tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"],
        ["train-00000-of-00001.parquet", "test-00000-of-00002.parquet", "test-00001-of-00002.parquet"],
        ["train-00000-of-00002-0123456789abcdef.parquet", "train-00001-of-00002-fedcba9876543210.parquet"],
        ["train-00000-of-00001.parquet", "more.parquet"],
        ["train-1-of-3.parquet"],  # nobody's convention: the numbers may mean anything
    ],
)
def test_whole_sets_of_files_are_taken(names: list[str], tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).touch()
    assert [path.name for path in find_files(tmp_path)] == sorted(names)


def test_one_file_of_many_may_be_asked_for_by_its_name(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "train-00001-of-00004.parquet", [published_row("q", "r", True)])
    assert find_files(path) == (path,)


def test_a_link_to_nothing_is_not_called_torn(tmp_path: Path) -> None:
    """The hub's cache is links; its files may be cleared away under them."""
    (tmp_path / "raw.parquet").symlink_to(tmp_path / "blob")
    with pytest.raises(ValueError, match=r"raw\.parquet: is a link to a file that is not there; get it again"):
        open_parts(tmp_path)


def test_a_file_that_went_away_is_not_called_torn(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "raw.parquet", [published_row("q", "r", True)])
    (part,) = open_parts(tmp_path)
    path.unlink()
    with pytest.raises(ValueError, match=r"raw\.parquet: is not there any more; get it again"):
        list(read_part(part))


SEEDED = {SAMPLE_PROVENANCE: {"seed": 5, "error": "x"}}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (_sample(0), _sample(1)),
        (_sample(0), _sample(0, key="l")),
        (_sample(0), _sample(0, prompt_variant="plan")),
        (_sample(0), _sample(0, "8")),  # of two runs that were put together
        (_sample(0, model="a"), _sample(0, model="b")),
        (_sample(0) | SEEDED, _sample(0) | {SAMPLE_PROVENANCE: {"seed": 6, "error": "x"}}),
        (_sample(0, question_key=None), _sample(0)),
        (published_row("q", "r", True), published_row("q", "r", True)),  # nothing tells samples from copies
        (_sample(0, sample_index="0"), _sample(0, sample_index="0")),  # another's column of this name
    ],
)
def test_samples_that_differ_are_no_copies(first: dict[str, Any], second: dict[str, Any], tmp_path: Path) -> None:
    write_parquet(tmp_path / "raw.parquet", [first, second])
    check_copies(tmp_path, open_parts(tmp_path))


@pytest.mark.parametrize("more", [{}, {"model": "a"}, SEEDED])
def test_a_copy_is_found_wherever_it_lies(more: dict[str, Any], tmp_path: Path) -> None:
    rows = [_sample(index, str(index)) | more for index in range(100)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet", row_group_size=7)
    write_parquet(tmp_path / "b.parquet", [_sample(100) | more, rows[58]])
    with pytest.raises(
        ValueError, match=r"sample 58 of question 'k' under 'original': row 58 of a\.p.* and row 1 of b"
    ):
        check_copies(tmp_path, open_parts(tmp_path))


@pytest.mark.parametrize("name", [PUBLISHED, README])
@pytest.mark.parametrize(("longer", "note"), [(0, []), (1, ["1 row holds several"]), (2, ["2 rows hold several"])])
def test_rows_with_several_responses_are_counted(name: str, longer: int, note: list[str], tmp_path: Path) -> None:
    rows = [published_row("q", f"r{n}", True) for n in range(30)]
    rows = [{column.replace(PUBLISHED, name): value for column, value in row.items()} for row in rows]
    for row in rows[:longer]:
        row[name] = [*row[name], "another", "one more"]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "raw.parquet", row_group_size=7)
    told = notes_on_responses(open_parts(tmp_path))
    assert told == [f"{said} responses; the first of each is used" for said in note]
    assert [row.response for row in read(tmp_path)] == [f"r{n}" for n in range(30)]


def test_a_note_on_several_responses_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [published_row("q", "r", True), published_row("q", "s", True) | {PUBLISHED: ["s", "t"]}]
    write_parquet(tmp_path / "raw.parquet", rows)
    note = "note        1 row holds several responses; the first of each is used\n"
    main([f"--raw={tmp_path}", "--formats=star", f"--out={tmp_path / 'sft'}"])
    assert note in capsys.readouterr().out
    assert reflect([f"--raw={tmp_path / 'raw.parquet'}", f"--out={tmp_path / 'more'}", "--dry_run"]) == 0
    assert note in capsys.readouterr().out


def test_a_blank_response_is_left_out_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [published_row("q", text, True) for text in ("right", "", " \n", "right as well")]
    for row in rows:
        row[f"{PUBLISHED}__eval_extracted_answers"] = ["7"]
    write_parquet(tmp_path / "raw.parquet", rows)
    main([f"--raw={tmp_path}", "--formats=star", f"--out={tmp_path / 'sft'}"])
    assert f"      2  {BLANK}\n" in capsys.readouterr().out
    made = pq.read_table(tmp_path / "sft" / "data")["conversations"].to_pylist()
    assert sorted(row[1]["content"] for row in made) == ["right", "right as well"]


def test_a_gold_answer_that_some_rows_lack_is_no_other_one(tmp_path: Path) -> None:
    rows = [published_row("q", "a", True), published_row("q", "b", True, answer=" 7\n")]
    write_parquet(tmp_path / "raw.parquet", [*rows, published_row("q", "c", True, answer=None)])
    main([f"--raw={tmp_path}", "--formats=star", f"--out={tmp_path / 'sft'}"])
    assert pq.read_table(tmp_path / "sft" / "data").num_rows == 3


@pytest.mark.parametrize("flags", [["--variants=original"], []])
def test_rows_of_one_key_lie_in_any_order(flags: list[str], tmp_path: Path) -> None:
    """Questions are compared with those of their own key alone."""
    for number in range(3):
        rows = [
            published_row(f"question {n}", f"{number} of {n}", True, question_key=f"k{n}", answer=str(n))
            for n in range(40)
        ]
        write_parquet(tmp_path / "raw" / f"{number}.parquet", rows[:: 1 - 2 * (number % 2)])
    main([f"--raw={tmp_path / 'raw'}", "--formats=star", f"--out={tmp_path / 'sft'}", *flags])
    made = bytes_of(tmp_path / "sft")
    assert pq.read_table(tmp_path / "sft" / "data").num_rows == 120
    shutil.rmtree(tmp_path / "sft")
    main([f"--raw={tmp_path / 'raw'}", "--formats=star", f"--out={tmp_path / 'sft'}", *flags, "--processes=1"])
    assert {name: held for name, held in bytes_of(tmp_path / "sft").items() if name != "README.md"} == {
        name: held for name, held in made.items() if name != "README.md"
    }


@pytest.mark.parametrize("name", ["question", PUBLISHED, "prompt_variant"])
def test_two_columns_of_one_name_are_refused_by_name(name: str, tmp_path: Path) -> None:
    table = pa.Table.from_pylist([published_row("q", "r", True)])
    pq.write_table(table.append_column(name, table[name]), tmp_path / "raw.parquet")
    with pytest.raises(ValueError, match=rf"raw\.parquet: 2 columns are named '{name}'; expected one"):
        open_parts(tmp_path)


def test_two_columns_of_no_use_matter_only_where_they_are_written_again(tmp_path: Path) -> None:
    table = pa.Table.from_pylist([published_row("q", "r", True)])
    notes = pa.array(["x"])
    pq.write_table(table.append_column("notes", notes).append_column("notes", notes), tmp_path / "raw.parquet")
    assert [row.question for row in read(tmp_path)] == ["q"]
    with pytest.raises(ValueError, match=r"raw\.parquet: 2 columns are named 'notes'; expected one"):
        open_source(str(tmp_path))
