"""Grading again: what a run has just graded stays as it is, byte for byte; what was graded otherwise is set right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset

from cluster.inference.engine import Completion, Request
from generation.raw.files import find_files
from generation.raw.questions import Chosen
from generation.raw.schema import PREFIX, PROVENANCE
from generation.records import REQUEST_FAILED
from generation.regrade import main
from generation.regrading.columns import BEFORE, EVAL, RAW
from generation.regrading.sets import pieces_of, regrade
from tests.assembly_rows import PUBLISHED, RIGHT, WRONG, write_parquet
from tests.drive_job import main as drive
from tests.regraded import TRACE, again, countdown_row, own_evaluation, table

OWN = [
    {"question": "Which is a fruit?\nA) apple\nB) stone", "answer": "A"},
    {"question": "What is 6 times 7?", "answer": "42"},
    {"question": "What is half of $x$?", "answer": "$\\frac{x}{2}$"},
    {"question": "Who wrote Faust?", "answer": "Goethe"},
]


def _tracing(request: Request) -> str | Completion:
    """A trace, a cut thought, a failure, or a reply with a box; reflections that are right half of the time."""
    number = request.seed % 5
    if "# Your attempt" in request.messages[-1]["content"]:
        return f"Hm.\n{RIGHT if number % 2 else WRONG}"
    if number == 0:
        return Completion("", "error", 3, error="the request was refused", final=True)
    if number == 1:
        return Completion("", "length", 9, thought=TRACE.format("42")[:-30])
    if number == 2:
        return Completion("So: <answer>42</answer>", "stop", 9, thought=TRACE.format("42"))
    return ["It is \\boxed{42}.", "<answer>A) apple</answer> and <answer>Goethe</answer>"][number - 3]


@pytest.mark.parametrize(
    ("flags", "reply"),
    [
        (["--task", "countdown_3arg:4,longmult_2dig:4,letter_countdown_4o:4"], None),
        (["--questions", "own.jsonl"], None),
        (["--questions", "own.jsonl", "--answer_in", "boxed,last_line"], _tracing),
        (["--questions", "own.jsonl", "--samples", "12"], _tracing),
    ],
)
def test_a_fresh_run_is_graded_again_as_it_was(
    flags: list[str], reply: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, OWN)), encoding="utf-8")
    held = ["--rl_questions", "0"] if "--questions" in flags else []
    drive([*flags, *held, "--out", "run", "--formats", "star", "--reflections", "2"], reply)
    before = table(tmp_path / "run" / "RAW_DATA")
    capsys.readouterr()
    main(["--raw", "run", "--out", "again"])
    told = capsys.readouterr().out
    assert max(map(len, told.splitlines())) <= 80
    assert ", 0 have another outcome" in told.splitlines()[0]
    assert all(f"{name}: 0" in told for name in ("another answer", "another reason", "now true", "no longer true"))
    after = table(tmp_path / "again")
    assert after.schema.names[: len(before.schema.names)] == before.schema.names
    for name in before.schema.names:
        assert after.schema.field(name).equals(before.schema.field(name)), name
        assert after[name].combine_chunks().equals(before[name].combine_chunks()), name
    for name in after.schema.names[len(before.schema.names) :]:
        assert after[name].combine_chunks().equals(before[name.removesuffix(BEFORE)].combine_chunks()), name
    if reply is not None and len(before) > 20:
        assert {*before["outcome_reason"].to_pylist()} >= {REQUEST_FAILED}
        assert before["sample__attempts"].null_count < len(before)


def _spoiled(raw: Path, out: Path) -> pa.Table:
    """The rows with every grade turned round, as by a grader with a fault."""
    rows = table(raw)
    right = pc.equal(rows["outcome"], "right")
    flags = pa.array([[not one] for one in right.to_pylist()], pa.list_(pa.bool_()))
    given = rows.set_column(
        rows.schema.get_field_index("outcome"), "outcome", pc.if_else(right, "wrong", "right").combine_chunks()
    )
    name = f"{PREFIX}__eval_is_correct"
    given = given.set_column(rows.schema.get_field_index(name), name, flags)
    reflected = [
        [{**one, "valid": one["verdict"] == ("Incorrect" if was else "Correct")} for one in entries]
        for was, entries in zip(right.to_pylist(), rows[PROVENANCE].to_pylist(), strict=True)
    ]
    column = pa.array(reflected, rows.schema.field(PROVENANCE).type)
    given = given.set_column(rows.schema.get_field_index(PROVENANCE), PROVENANCE, column)
    (out / "data").mkdir(parents=True)
    pq.write_table(given, out / "data" / "train-00000-of-00001.parquet", row_group_size=7)
    return rows


def test_wrong_grades_are_set_right_and_kept_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert drive(["--task", "countdown_3arg:6", "--out", "run", "--formats", "star", "--reflections", "2"]) == 0
    truth = _spoiled(tmp_path / "run" / "RAW_DATA", tmp_path / "bad")
    capsys.readouterr()
    main(["--raw", "bad", "--out", "good", "--processes", "2"])
    told = capsys.readouterr().out
    good = table(tmp_path / "good")
    for name in truth.schema.names:
        assert good[name].to_pylist() == truth[name].to_pylist(), name
    assert good[f"outcome{BEFORE}"].to_pylist() == table(tmp_path / "bad")["outcome"].to_pylist()
    assert "right to wrong:" in told
    changed = json.loads((tmp_path / "good" / "regraded.json").read_text(encoding="utf-8"))["regraded"]
    was = table(tmp_path / "bad")[PROVENANCE].to_pylist()
    now = truth[PROVENANCE].to_pylist()
    pairs = [(a["valid"], b["valid"]) for one, two in zip(was, now, strict=True) for a, b in zip(one, two, strict=True)]
    assert changed["verdicts"] == {"now true": pairs.count((False, True)), "no longer true": pairs.count((True, False))}
    assert pairs.count((False, True)) > 0
    card = (tmp_path / "good" / "README.md").read_text(encoding="utf-8")
    assert "`outcome__before`" in card
    assert "### wrong to right" in card
    rows = load_dataset(str(tmp_path / "good"), split="train")
    assert rows["outcome"][:] == truth["outcome"].to_pylist()
    # A second time: what was replaced now is kept, and nothing is different.
    main(["--raw", "good", "--out", "twice", "--processes", "1"])
    twice = table(tmp_path / "twice")
    assert twice.schema.names == good.schema.names
    assert twice[f"outcome{BEFORE}"].to_pylist() == truth["outcome"].to_pylist()


def test_the_set_does_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    rows = [countdown_row(n % 7 + 1, ("3 + 5", "7 - 3", "5")[n % 3], correct=n % 2 == 0) for n in range(300)]
    for file in range(3):
        write_parquet(tmp_path / "raw" / "data" / f"train-{file:05}-of-00003.parquet", rows[file::3])
    for count in (1, 2):
        regrade(str(tmp_path / "raw"), RAW, tmp_path / f"by{count}", Chosen(), count)
    names = [path.name for path in sorted((tmp_path / "by1" / "data").iterdir())]
    assert len(names) == 3
    assert all(
        (tmp_path / "by1/data" / one).read_bytes() == (tmp_path / "by2/data" / one).read_bytes() for one in names
    )
    (piece,) = pieces_of("raw", find_files(tmp_path / "raw")[:1], RAW, 1 << 30)
    assert piece.rows == 100


def test_an_evaluation_is_the_same_by_several_processes(tmp_path: Path) -> None:
    """What another process gets is a copy."""
    for file in range(2):
        path = tmp_path / "set" / "data" / f"test-{file:05}-of-00002.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(own_evaluation(), path)
    for count in (1, 2):
        regrade(str(tmp_path / "set"), EVAL, tmp_path / f"by{count}", Chosen(), count)
    one, two = (table(tmp_path / f"by{count}") for count in (1, 2))
    assert one.equals(two)
    assert [len(inner) for inner in one["responses__attempts"][1].as_py()] == [0, 2, 0, 0, 0, 0]


def test_a_file_of_many_row_groups_becomes_several_in_the_same_order(tmp_path: Path) -> None:
    rows = [countdown_row(n % 7 + 1, f"{n}", correct=False) for n in range(95)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "raw.parquet", row_group_size=10)
    pieces = pieces_of("raw", find_files(tmp_path / "raw.parquet"), RAW, 1)
    assert [(piece.first_row, piece.rows) for piece in pieces[::9]] == [(0, 10), (90, 5)]
    assert [row[PUBLISHED] for row in again("raw", tmp_path / "raw.parquet", tmp_path / "out")] == [
        row[PUBLISHED] for row in rows
    ]


# ---- where it goes


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("set", "is in the set to read"),
        ("set/again", "is in the set to read"),
        (".", "would be replaced, and holds the set to read"),
        ("other", "holds files that were not made here"),
    ],
)
def test_no_folder_is_lost(out: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_parquet(
        tmp_path / "set" / "data" / "train-00000-of-00001.parquet", [countdown_row(8, "3 + 5", correct=False)]
    )
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("years")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=message):
        regrade("set", RAW, Path(out), Chosen(), 1)
    assert sorted(tmp_path.rglob("*")) == before


def test_another_set_made_here_is_not_replaced_by_a_graded_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert drive(["--task", "countdown_3arg:4", "--out", "run", "--formats", "star"]) == 0
    with pytest.raises(ValueError, match="holds something else than a set graded again"):
        regrade("run", RAW, tmp_path / "run" / "SFT_DATA", Chosen(), 1)
    for _ in range(2):
        regrade("run", RAW, tmp_path / "run" / "graded_again", Chosen(), 1)
