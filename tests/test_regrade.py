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
from generation.regrading.columns import BEFORE, RAW
from generation.regrading.sets import pieces_of, regrade
from tests.assembly_rows import PUBLISHED, README, RIGHT, WRONG, published_row, write_parquet
from tests.drive_job import main as drive

COUNTDOWN = "Using the numbers in the list [3, 5, 7], create an equation that equals {}."
OWN = [
    {"question": "Which is a fruit?\nA) apple\nB) stone", "answer": "A"},
    {"question": "What is 6 times 7?", "answer": "42"},
    {"question": "What is half of $x$?", "answer": "$\\frac{x}{2}$"},
    {"question": "Who wrote Faust?", "answer": "Goethe"},
]
TRACE = (
    "<sample>\nIt is <answer>-77</answer>\n</sample>\n<reflect>\nNo.\n<verdict>Incorrect</verdict>\n</reflect>\n"
    "<sample>\nIt is <answer>{}</answer>\n</sample>\n<reflect>\nYes.\n<verdict>Correct</verdict>\n</reflect>"
)


def table(folder: Path) -> pa.Table:
    return pa.concat_tables(pq.read_table(path) for path in sorted(folder.glob("data/*.parquet")))


def again(flag: str, what: Path, out: Path, *more: str) -> list[dict[str, Any]]:
    """The rows of the set that the command makes, on one process."""
    main([f"--{flag}", str(what), "--out", str(out), "--processes", "1", *more])
    rows: list[dict[str, Any]] = table(out).to_pylist()
    return rows


def _tracing(request: Request) -> str | Completion:
    """A trace, a cut thought, a failure, or a reply with a box; reflections that are right half of the time."""
    number = request.seed % 5
    if "# Response" in request.messages[-1]["content"]:
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
    code = drive([*flags, *held, "--out", "run", "--formats", "star", "--reflections", "2"], reply)
    assert code in (0, 1, 2)
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
    rows = [_published(n % 7 + 1, ("3 + 5", "7 - 3", "5")[n % 3], correct=n % 2 == 0) for n in range(300)]
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


def test_a_file_of_many_row_groups_becomes_several_in_the_same_order(tmp_path: Path) -> None:
    rows = [_published(n % 7 + 1, f"{n}", correct=False) for n in range(95)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "raw.parquet", row_group_size=10)
    pieces = pieces_of("raw", find_files(tmp_path / "raw.parquet"), RAW, 1)
    assert [(piece.first_row, piece.rows) for piece in pieces[::9]] == [(0, 10), (90, 5)]
    assert [row[PUBLISHED] for row in again("raw", tmp_path / "raw.parquet", tmp_path / "out")] == [
        row[PUBLISHED] for row in rows
    ]


# ---- published sets


def _published(target: int, said: str, *, correct: bool | None, **changes: Any) -> dict[str, Any]:
    row = published_row(COUNTDOWN.format(target), f"I say <answer>{said}</answer>", correct, task_source="countdown")
    return {**row, f"{PUBLISHED}__eval_extracted_answers": [said], **changes}


def test_a_published_set_is_graded_by_wording_and_gold_and_gets_our_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        _published(8, "3 + 5", correct=False),
        _published(8, "3 + 7", correct=False),
        published_row("What is 3 + 4?", "It is <answer>7.0</answer>", False),
        published_row("What is 3 + 4?", "<think>\nHm.\n</think>\n\n<answer>8</answer>", False),
        published_row("Who?", "<answer>7</answer>", True, answer="<answer></answer>"),
    ]
    raw = write_parquet(tmp_path / "raw.parquet", rows)
    found = again("raw", raw, tmp_path / "out")
    assert [row["outcome"] for row in found] == ["right", "wrong", "right", "wrong", "right"]
    assert [row[f"{PUBLISHED}__eval_is_correct"] for row in found] == [[True], [False], [True], [False], [True]]
    assert [row[f"{PUBLISHED}__eval_is_correct{BEFORE}"] for row in found] == [[False]] * 4 + [[True]]
    assert found[2][f"{PUBLISHED}__eval_extracted_answers"] == ["7.0"]
    assert found[0]["answer_found"] == "the only answer tag"
    names = [name for name in found[0] if name not in rows[0]]
    assert names[:3] == ["outcome", "outcome_reason", "answer_found"]
    assert all(name.endswith(BEFORE) for name in names[3:])
    assert [{name: row[name] for name in rows[0] if "__eval_" not in name} for row in found] == [
        {name: row.get(name) for name in rows[0] if "__eval_" not in name} for row in rows
    ]
    told = capsys.readouterr().out
    assert "1 rows keep a grade because they cannot be graded:" in told
    assert "row 4 of raw.parquet: the row: the gold answer has nothing in <answer>" in told


def test_the_other_family_with_plain_values_keeps_its_types(tmp_path: Path) -> None:
    row = {
        **{"question": COUNTDOWN.format(8), "answer": "x", README: "<answer>3+5</answer>"},
        **{f"{README}__eval_is_correct": False, f"{README}__eval_extracted_answers": "3+5"},
    }
    several = {**row, README: "no", f"{README}__eval_extracted_answers": None}
    found = again("raw", write_parquet(tmp_path / "raw.parquet", [row, several]), tmp_path / "out")
    assert [one[f"{README}__eval_is_correct"] for one in found] == [True, False]
    assert [one["outcome"] for one in found] == ["right", "unknown"]


@pytest.mark.parametrize("kind", [pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_texts_may_be_stored_in_any_way(kind: pa.DataType, tmp_path: Path) -> None:
    given = pa.Table.from_pylist([_published(8, "3 + 5", correct=False)])
    for name in ("question", "answer", "task_source"):
        given = given.set_column(given.schema.get_field_index(name), name, given[name].cast(pa.string()).cast(kind))
    pq.write_table(given, tmp_path / "raw.parquet")
    (row,) = again("raw", tmp_path / "raw.parquet", tmp_path / "out")
    assert row["outcome"] == "right"
    assert pq.read_schema(next((tmp_path / "out" / "data").iterdir())).field("question").type == kind


def test_the_types_that_datasets_stores_fit_the_new_columns(tmp_path: Path) -> None:
    given = pa.Table.from_pylist([_published(8, "3 + 5", correct=False)])
    features = {"question": {"dtype": "string", "_type": "Value"}}
    stored = json.dumps({"info": {"features": features}}).encode()
    pq.write_table(given.replace_schema_metadata({b"huggingface": stored}), tmp_path / "raw.parquet")
    again("raw", tmp_path / "raw.parquet", tmp_path / "out")
    schema = pq.read_schema(next((tmp_path / "out" / "data").iterdir()))
    told = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert told["outcome"] == {"dtype": "string", "_type": "Value"}
    assert told[f"{PUBLISHED}__eval_is_correct{BEFORE}"] == [{"dtype": "bool", "_type": "Value"}]


def test_verdicts_of_a_published_set_are_counted_by_their_texts(tmp_path: Path) -> None:
    rows = [_published(8, "3 + 5", correct=False, **{f"{PUBLISHED}_reflection": [RIGHT, WRONG, WRONG, "?"]})]
    again("raw", write_parquet(tmp_path / "raw.parquet", rows), tmp_path / "out")
    told = json.loads((tmp_path / "out" / "regraded.json").read_text(encoding="utf-8"))["regraded"]
    assert told["verdicts"] == {"now true": 1, "no longer true": 2}


# ---- another grader


def test_another_grader_reads_the_same_answers(tmp_path: Path) -> None:
    rows = [published_row("What is 3 + 4?", f"<answer>{said}</answer>", False) for said in ("7", "7.0", "\\boxed{7}")]
    raw = write_parquet(tmp_path / "raw.parquet", rows)
    assert [row["outcome"] for row in again("raw", raw, tmp_path / "1")] == ["right", "right", "right"]
    found = again("raw", raw, tmp_path / "2", "--grader", "exact")
    assert [row["outcome"] for row in found] == ["right", "wrong", "right"]
    boxed = again("raw", raw, tmp_path / "3", "--answer_in", "boxed")
    assert [row["outcome"] for row in boxed] == ["unknown", "unknown", "right"]


def test_facts_that_are_not_there_name_the_first_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [_published(8, "3 + 5", correct=False), published_row("What is 3 + 4?", "<answer>7</answer>", True)]
    raw = write_parquet(tmp_path / "raw.parquet", rows)
    with pytest.raises(SystemExit) as ended:
        again("raw", raw, tmp_path / "out", "--grader", "countdown")
    assert ended.value.code == 2
    assert f"--grader: row 1 of {raw}: the row is no countdown question" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_task_file_grades_the_rows_of_its_name(tmp_path: Path) -> None:
    task = tmp_path / "mine.py"
    task.write_text(
        "from generation.tasks.task import Drawn, Problem\n"
        "TASK = Drawn(name='mine', line='sums', grader='exact', answer_type='sum',"
        " draw=lambda rng: Problem('1 + 1?', '2'))\n",
        encoding="utf-8",
    )
    rows = [published_row("3 + 4?", "<answer>7.0</answer>", True, task=name) for name in ("mine", "other")]
    raw = write_parquet(tmp_path / "raw.parquet", rows)
    found = again("raw", raw, tmp_path / "out", "--task", str(task))
    assert [row["outcome"] for row in found] == ["wrong", "right"]


# ---- evaluations


def _evaluated(**changes: Any) -> dict[str, Any]:
    """A row as evaluations are published."""
    name = "model_responses"
    row = {
        "question": COUNTDOWN.format(8),
        "answer": "none",
        "task_config": "countdown_3arg",
        "task_source": "countdown",
        "metadata": '{"difficulty": 3}',
        name: ["<answer>3+5</answer>", f"<think>\n{TRACE.format('3+5')}\n</think>\n<answer>3+5</answer>", "?", None],
        f"{name}__eval_is_correct": [False, False, False, None],
        f"{name}__eval_extracted_answers": ["3+5", "3+5", "", None],
        f"{name}__internal_answers__eval_is_correct": [[], [False, False], [], []],
        f"{name}__internal_answers__eval_extracted_answers": [[], ["-77", "3+5"], [], []],
        "all_other_columns": "{}",
    }
    return {**row, **changes}


def test_a_published_evaluation_is_graded_reply_by_reply(tmp_path: Path) -> None:
    rows = [_evaluated(), _evaluated(model_responses=["<answer>5+3</answer>"])]
    write_parquet(tmp_path / "set" / "data" / "test-00000-of-00001.parquet", rows)
    first, second = again("eval", tmp_path / "set", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out" / "data").iterdir()] == ["test-00000-of-00001.parquet"]
    assert first["model_responses__eval_is_correct"] == [True, True, False, None]
    assert first["responses__outcome"] == ["right", "right", "unknown", "unknown"]
    assert first["responses__same_answer"] == [0, 0, None, None]
    assert first["model_responses__internal_answers__eval_is_correct"] == [[], [False, True], [], []]
    assert [[one["final"] for one in attempts] for attempts in first["responses__attempts"]] == [
        [],
        [False, True],
        [],
        [],
    ]
    assert second["responses__outcome"] == ["right"]
    assert second[f"model_responses__eval_is_correct{BEFORE}"] == [False, False, False, None]
    told = json.loads((tmp_path / "out" / "regraded.json").read_text(encoding="utf-8"))["regraded"]
    assert told["graders"] == [{"task": "countdown_3arg", "grader": "countdown", "rows": 2}]
    assert told["kept"] == {"no response": 1}
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "split: test" in card
    twice = again("eval", tmp_path / "out", tmp_path / "twice")
    assert [row["responses__outcome"] for row in twice] == [first["responses__outcome"], ["right"]]


def test_an_evaluation_of_a_run_is_found_by_its_folder(tmp_path: Path) -> None:
    write_parquet(tmp_path / "run" / "EVAL_DATA" / "data" / "test-00000-of-00001.parquet", [_evaluated()])
    write_parquet(
        tmp_path / "run" / "RAW_DATA" / "data" / "train-00000-of-00001.parquet", [published_row("a", "b", True)]
    )
    assert len(again("eval", tmp_path / "run", tmp_path / "out")) == 1
    seen = []

    def figures(folder: Path) -> str:
        seen.append(len(table(folder)))
        return "## Figures\n\nSome."

    regrade(str(tmp_path / "run"), RAW, tmp_path / "raw", Chosen("exact"), 1, figures=figures)
    assert seen == [1]
    assert "## Figures" in (tmp_path / "raw" / "README.md").read_text(encoding="utf-8")


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
    write_parquet(tmp_path / "set" / "data" / "train-00000-of-00001.parquet", [_published(8, "3 + 5", correct=False)])
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
