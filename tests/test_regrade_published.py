"""Published RAW_DATA and evaluations graded again: by wording and gold, with our columns added; other graders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from generation.raw.questions import Chosen
from generation.records import CUT_THOUGHT, REQUEST_FAILED
from generation.regrading.columns import BEFORE, RAW
from generation.regrading.sets import regrade
from tests.assembly_rows import PUBLISHED, README, RIGHT, WRONG, published_row, write_parquet
from tests.regraded import TRACE, again, countdown, countdown_row, own_evaluation, table


def test_a_published_set_is_graded_by_wording_and_gold_and_gets_our_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        countdown_row(8, "3 + 5", correct=False),
        countdown_row(8, "3 + 7", correct=False),
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
        **{"question": countdown(8), "answer": "x", README: "<answer>3+5</answer>"},
        **{f"{README}__eval_is_correct": False, f"{README}__eval_extracted_answers": "3+5"},
    }
    several = {**row, README: "no", f"{README}__eval_extracted_answers": None}
    found = again("raw", write_parquet(tmp_path / "raw.parquet", [row, several]), tmp_path / "out")
    assert [one[f"{README}__eval_is_correct"] for one in found] == [True, False]
    assert [one["outcome"] for one in found] == ["right", "unknown"]


@pytest.mark.parametrize("kind", [pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_texts_may_be_stored_in_any_way(kind: pa.DataType, tmp_path: Path) -> None:
    given = pa.Table.from_pylist([countdown_row(8, "3 + 5", correct=False)])
    for name in ("question", "answer", "task_source"):
        given = given.set_column(given.schema.get_field_index(name), name, given[name].cast(pa.string()).cast(kind))
    pq.write_table(given, tmp_path / "raw.parquet")
    (row,) = again("raw", tmp_path / "raw.parquet", tmp_path / "out")
    assert row["outcome"] == "right"
    assert pq.read_schema(next((tmp_path / "out" / "data").iterdir())).field("question").type == kind


R, W = "<answer>3+5</answer>", "<answer>3+7</answer>"
LISTS = pa.list_(pa.string(), 1), pa.list_(pa.bool_(), 1)


@pytest.mark.parametrize(
    ("responses", "flags", "right", "outcomes"),
    [
        ([[R, W], [W, R]], [[False], []], [[True, False], [False, True]], ["right", "wrong"]),
        (pa.array([[R], [W]], LISTS[0]), pa.array([[False], [True]], LISTS[1]), [[True], [False]], ["right", "wrong"]),
        ([[R], None], [[None], [True]], [[True], [True]], ["right", None]),
        ([R, None], [True, None], [True, None], ["right", None]),
        ([R, W], pa.nulls(2), [True, False], ["right", "wrong"]),
    ],
)
def test_lists_of_any_kind_and_length(responses: Any, flags: Any, right: Any, outcomes: Any, tmp_path: Path) -> None:
    """A row without a response keeps what it has; one with several gets a flag for each."""
    columns = {"question": [countdown(8)] * 2, "answer": ["x"] * 2, PUBLISHED: responses}
    pq.write_table(pa.table({**columns, f"{PUBLISHED}__eval_is_correct": flags}), tmp_path / "raw.parquet")
    found = again("raw", tmp_path / "raw.parquet", tmp_path / "out")
    assert [row[f"{PUBLISHED}__eval_is_correct"] for row in found] == right
    assert [row["outcome"] for row in found] == outcomes


def test_the_types_that_datasets_stores_fit_the_new_columns(tmp_path: Path) -> None:
    given = pa.Table.from_pylist([countdown_row(8, "3 + 5", correct=False)])
    features = {"question": {"dtype": "string", "_type": "Value"}}
    stored = json.dumps({"info": {"features": features}}).encode()
    pq.write_table(given.replace_schema_metadata({b"huggingface": stored}), tmp_path / "raw.parquet")
    again("raw", tmp_path / "raw.parquet", tmp_path / "out")
    schema = pq.read_schema(next((tmp_path / "out" / "data").iterdir()))
    told = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert told["outcome"] == {"dtype": "string", "_type": "Value"}
    assert told[f"{PUBLISHED}__eval_is_correct{BEFORE}"] == [{"dtype": "bool", "_type": "Value"}]


def test_verdicts_of_a_published_set_are_counted_by_their_texts(tmp_path: Path) -> None:
    rows = [countdown_row(8, "3 + 5", correct=False, **{f"{PUBLISHED}_reflection": [RIGHT, WRONG, WRONG, "?"]})]
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
    rows = [countdown_row(8, "3 + 5", correct=False), published_row("What is 3 + 4?", "<answer>7</answer>", True)]
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
        "question": countdown(8),
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


def test_an_evaluation_of_ours_is_graded_as_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = own_evaluation()
    (tmp_path / "run" / "EVAL_DATA" / "data").mkdir(parents=True)
    pq.write_table(before, tmp_path / "run" / "EVAL_DATA" / "data" / "test-00000-of-00001.parquet")
    again("eval", tmp_path / "run", tmp_path / "out")
    after = table(tmp_path / "out")
    assert after.schema.names[: len(before.schema.names)] == before.schema.names
    for name in before.schema.names:
        assert after[name].combine_chunks().equals(before[name].combine_chunks()), name
    assert before["responses__same_answer"].to_pylist() == [[0, 1, None, None, 0, 5]]
    assert before["responses__reason"].to_pylist()[0][2:4] == [CUT_THOUGHT, REQUEST_FAILED]
    told = capsys.readouterr().out
    assert "6 responses in 1 rows graded again, 0 have another outcome" in told


def test_attempts_inside_an_evaluation_of_ours_are_counted(tmp_path: Path) -> None:
    rows = own_evaluation()

    def turned(one: dict[str, Any]) -> dict[str, Any]:
        return {**one, "outcome": "right", "reflections": [{**it, "valid": False} for it in one["reflections"]]}

    name = "responses__attempts"
    given = [[[turned(one) for one in of] for of in attempts] for attempts in rows[name].to_pylist()]
    column = pa.array(given, rows.schema.field(name).type)
    pq.write_table(rows.set_column(rows.schema.get_field_index(name), name, column), tmp_path / "e.parquet")
    (row,) = again("eval", tmp_path / "e.parquet", tmp_path / "out")
    assert row[name] == rows[name].to_pylist()[0]
    told = json.loads((tmp_path / "out" / "regraded.json").read_text(encoding="utf-8"))["regraded"]
    assert told["inner"] == 1
    assert told["inner_verdicts"] == {"now true": 2}


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
