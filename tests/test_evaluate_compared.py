"""Evaluations compared, as the command does it: ours, published ones, and those that ask in ways of their own."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from generation import evaluate
from generation.evaluation.compare import compare
from generation.evaluation.figures import figures
from generation.evaluation.reader import read_evaluation
from generation.evaluation.schema import PREFIX, VERDICTS
from tests.test_evaluate import FORCED, SMALL, evaluated, rows_of, run


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return evaluated(tmp_path_factory.mktemp("plain"), *SMALL)


@pytest.fixture(scope="module")
def forced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return evaluated(tmp_path_factory.mktemp("forced"), *FORCED)


def test_two_evaluations_are_compared_and_written_down(
    plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path / "other", *SMALL[:2], "--samples", "5", "--temperature", "0.5", *SMALL[4:]) in (0, 1)
    capsys.readouterr()
    out = tmp_path / "difference"
    assert evaluate.main(["--compare", str(plain), str(tmp_path / "other"), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "in both" in said
    assert max(map(len, said.splitlines())) <= 80
    told = json.loads((out / "comparison.json").read_text())
    both = told["pairs"][0]["both"]
    assert both == len(rows_of(plain))
    assert told["notes"][0].startswith(
        f"{both} of {both} questions have another number of replies in other than in run"
    )
    assert "Note: " in said
    assert "McNemar" in (out / "comparison.md").read_text()
    assert evaluate.main(["--compare", str(plain), str(tmp_path / "other"), "--out", str(out)]) == 0


def test_evaluations_that_ask_in_their_own_ways_are_compared(
    plain: Path, forced: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Under other variants, by another task's name, and with budget forcing beside none."""
    asked = [{name: row[name] for name in ("question", "answer")} for row in rows_of(plain)]
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, asked)))
    own = ["--questions", str(tmp_path / "own.jsonl"), "--samples", "3"]
    assert run(tmp_path / "own", *own) == 0
    for other, named in ((tmp_path / "own", "own"), (forced, "run, forced")):
        capsys.readouterr()
        assert evaluate.main(["--compare", str(plain), str(other)]) == 0
        said = " ".join(capsys.readouterr().out.split())
        assert f"Questions: {len(asked)} in both" in said
        assert "countdown_3arg" in said
        assert named in said or str(other) in said
    renamed = pq.read_table(next((plain / "EVAL_DATA" / "data").iterdir()))
    place = renamed.schema.get_field_index("prompt_variant")
    renamed = renamed.set_column(place, "prompt_variant", pa.array(["original"] * len(renamed)))
    pq.write_table(renamed, tmp_path / "original.parquet")
    assert evaluate.main(["--compare", str(plain), str(tmp_path / "original.parquet")]) == 0
    assert "under original" in " ".join(capsys.readouterr().out.split())
    # The same questions by another name are not asked again either.
    assert run(tmp_path / "apart", *SMALL, "--apart_from", str(tmp_path / "own")) in (0, 1)
    assert not {row["question"] for row in rows_of(tmp_path / "apart")} & {row["question"] for row in asked}


def test_other_gold_answers_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = {"question": "What is 2 + 2?", PREFIX: ["<answer>4</answer>"], f"{PREFIX}__eval_is_correct": [True]}
    for name, gold in (("one", "4"), ("other", "5")):
        pq.write_table(pa.Table.from_pylist([{**row, "answer": gold}]), tmp_path / f"{name}.parquet")
    sets = [str(tmp_path / f"{name}.parquet") for name in ("one", "other")]
    assert evaluate.main(["--compare", *sets, "--out", str(tmp_path / "out")]) == 0
    assert "1 of 1 questions have another gold answer" in " ".join(capsys.readouterr().out.split())
    notes = json.loads((tmp_path / "out" / "comparison.json").read_text())["notes"]
    assert len(notes) == 1, "as many replies are no news"


def test_rows_of_one_question_are_read_as_one(tmp_path: Path) -> None:
    """Five replies in five rows: two are right, and no two of the others are the same."""
    question = "Using the numbers in the list [3, 5], create an equation that equals 8."
    rows = [
        {
            "question": question,
            "answer": "3 + 5",
            PREFIX: [f"<answer>{said}</answer>"],
            f"{PREFIX}__eval_is_correct": [said in ("3 + 5", "5 + 3")],
            f"{PREFIX}__eval_extracted_answers": [said],
        }
        for said in ("3 - 5", "3 + 5", "3 * 5", "5 + 3", "5 / 3")
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    evaluation = read_evaluation(tmp_path / "rows.parquet")
    assert evaluation.replies["same_answer"].to_pylist() == [0, 1, 2, 1, 4]
    assert evaluation.replies["sample"].to_pylist() == [0, 1, 2, 3, 4]
    (row,) = [row for row in figures(evaluation) if not row.tasks]
    assert row.figures["majority"].value == 1.0


def test_a_published_evaluation_is_compared_with_ours(plain: Path, tmp_path: Path) -> None:
    """Its columns alone: no key, no outcome, no tokens; traces in the text of the reply."""
    published = []
    for row in rows_of(plain):
        texts = [
            reply if thought is None else f"<think>\n{thought}\n</think>\n\n{reply}"
            for thought, reply in zip(row["responses__thought"], row[PREFIX], strict=True)
        ]
        kept = {name: row[name] for name in ("question", "answer", "task_source")}
        graded = {name: row[name] for name in row if name.startswith(f"{PREFIX}__") and "length" not in name}
        published.append({**kept, "task_config": row["task"], **graded, PREFIX: texts})
    pq.write_table(pa.Table.from_pylist(published), tmp_path / "published.parquet")
    ours, theirs = read_evaluation(plain), read_evaluation(tmp_path / "published.parquet")
    assert theirs.order == ours.order
    same = ["question_key", "task", "sample", "answer", "same_answer", "attempts", "reflections", *VERDICTS]
    failed = pc.equal(ours.replies["reason"], "request failed")
    assert theirs.replies.filter(pc.invert(failed)).select(same) == ours.replies.filter(pc.invert(failed)).select(same)
    (pair,) = compare([ours, theirs]).pairs
    assert (pair.only_first, pair.only_second) == (0, 0)
    assert all(match.lost == match.won == 0 for match in pair.matches)
