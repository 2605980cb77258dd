"""Gold answers as they stood: what `datasets` and typed columns make of numbers, dates and texts is told or undone."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from generation.tasks.custom_facts import Reading
from generation.tasks.hub_rows import as_written
from tests.custom_questions import load
from tests.hub_state import Hub, Repository
from tests.hub_user import User
from tests.rows import check_rows
from tests.test_hub_tasks import asked, refused

BIG = "9007199254740993"
"""2 ** 53 + 1, the first whole number that a float does not hold."""


def lines(golds: Sequence[str]) -> bytes:
    """Each gold answer as the JSON that it is."""
    return "".join(f'{{"question": "{n}?", "answer": {gold}}}\n' for n, gold in enumerate(golds)).encode()


def parquet(column: pa.Array) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"question": [f"{n}?" for n in range(len(column))], "answer": column}), buffer)
    return buffer.getvalue()


def test_a_gold_answer_of_a_jsonl_file_is_taken_as_it_is_written(tmp_path: Path) -> None:
    def check(gold: str, answer: str) -> None:
        (tmp_path / "mine.jsonl").write_bytes(lines(["2.5", gold]))
        assert load(str(tmp_path / "mine.jsonl"), Reading("exact"))[1].answer == answer

    check_rows(
        check,
        [
            (BIG, BIG),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("7", "7"),
            ("7.0", "7.0"),
            ("0.10", "0.10"),
            ("0.1234567890123456789", "0.1234567890123456789"),
            ("1e400", "1e400"),
            ("6.02e23", "6.02e23"),
            ("-0", "0"),
            ('"2020-01-01"', "2020-01-01"),
            ('"007"', "007"),
        ],
    )


def test_a_gold_answer_of_a_parquet_file_has_its_own_digits(tmp_path: Path) -> None:
    def check(column: pa.Array, answers: list[str]) -> None:
        (tmp_path / "mine.parquet").write_bytes(parquet(column))
        assert [question.answer for question in load(str(tmp_path / "mine.parquet"), Reading("exact"))] == answers

    check_rows(
        check,
        [
            (pa.array([0.1, 2.5, 7.0], pa.float32()), ["0.1", "2.5", "7"]),
            (pa.array(np.array([0.1, 2.5], np.float16)), ["0.1", "2.5"]),
            (pa.array([0.1, 1e-7, -3.0]), ["0.1", "1e-07", "-3"]),
            (pa.array([Decimal("2.50"), Decimal("0.07")]), ["2.50", "0.07"]),
            (pa.array([int(BIG), 2]), [BIG, "2"]),
            (pa.array([2**64 - 1], pa.uint64()), [str(2**64 - 1)]),
            (pa.array(["7.0", "007"]).dictionary_encode(), ["7.0", "007"]),
            (pa.array(["2020-01-01"], pa.large_string()), ["2020-01-01"]),
        ],
    )


def test_a_gold_answer_that_a_column_does_not_hold_is_refused(tmp_path: Path) -> None:
    def check(column: pa.Array, told: str) -> None:
        (tmp_path / "mine.parquet").write_bytes(parquet(column))
        with pytest.raises(ValueError, match=r"mine\.parquet row 1") as error:
            load(str(tmp_path / "mine.parquet"))
        assert told in str(error.value)

    check_rows(
        check,
        [
            (pa.array([float(BIG)]), "row 1: 'answer' is 9007199254740992.0, and no more is known of it"),
            (pa.array([2.0**24], pa.float32()), "row 1: 'answer' is 16777216.0"),
            (pa.array([float("nan")]), "row 1: 'answer' is nan"),
            (pa.array([float("-inf")]), "row 1: 'answer' is -inf"),
            (pa.array([0], pa.timestamp("s")), "row 1: 'answer' must be text, not datetime"),
            (pa.array([True]), "row 1: 'answer' must be text, not bool"),
        ],
    )


def test_cells_within_cells() -> None:
    kind = pa.struct([("label", pa.list_(pa.string())), ("text", pa.list_(pa.float32()))])
    assert as_written({"label": ["1"], "text": [0.1, 7.0]}, kind) == {"label": ["1"], "text": ["0.1", "7"]}
    assert as_written(None, pa.float64()) is None


# ---- what `datasets` makes of files on the hub

FILES: list[tuple[str, str, list[str], list[str]]] = [
    ("jsonl", "whole beside half", ["7", "2.5"], ["7", "2.5"]),
    ("jsonl", "large beside half", [BIG, "2.5"], [BIG, "2.5"]),
    ("jsonl", "beyond 64 bits", ["123456789012345678901234567890", "2"], ["123456789012345678901234567890", "2"]),
    ("jsonl", "dates", ['"2020-01-01"', '"2021-02-03T10:00:00"'], ["2020-01-01", "2021-02-03T10:00:00"]),
    ("jsonl", "digits", ["0.10", "0.1234567890123456789"], ["0.10", "0.1234567890123456789"]),
    ("jsonl", "numbers among texts", ['"seven"', "0.12345678901234"], ["seven", "0.12345678901234"]),
    ("jsonl", "large beside null", [BIG, "null"], [BIG]),
    ("jsonl", "NaN", ["NaN", "1.5", "2"], ["1.5", "2"]),
    ("csv", "large beside nothing", [BIG, ""], [BIG]),
    ("csv", "leading zeros", ["007", "042"], ["007", "042"]),
    ("csv", "whole beside half", ["7", "2.5"], ["7", "2.5"]),
    ("csv", "digits", ["0.10", "1.50"], ["0.10", "1.50"]),
    ("csv", "truth values", ["True", "False"], ["True", "False"]),
    ("parquet", "float32", ["0.1", "7.0"], ["0.1", "7"]),
]


def content(kind: str, golds: Sequence[str]) -> bytes:
    if kind == "csv":
        return ("question,answer\n" + "".join(f"{n}?,{gold}\n" for n, gold in enumerate(golds))).encode()
    return lines(golds) if kind == "jsonl" else parquet(pa.array(map(float, golds), pa.float32()))


def test_what_a_loader_makes_of_gold_answers_is_undone(hub: Hub, user: User) -> None:
    for number, (kind, _, golds, _) in enumerate(FILES):
        files = {f"train.{kind}": content(kind, golds), "README.md": b"# Sums"}
        hub.repositories[f"me/set{number}"] = Repository(private=False, files=files, commits=[f"{number:040x}"])
    sets = [f"me/set{number}" for number in range(len(FILES))]
    for offline in "01":
        done = user.run("tests.ask_golds", *sets, HF_HUB_OFFLINE=offline)
        assert done.returncode == 0, done.stderr
        for (kind, what, _, answers), said in zip(FILES, json.loads(done.stdout), strict=True):
            assert said == answers, (kind, what, offline)


def test_a_label_is_its_name(hub: Hub, user: User) -> None:
    features = datasets.Features(
        {"question": datasets.Value("string"), "answer": datasets.ClassLabel(names=["no", "yes"])}
    )
    rows = {"question": ["1?", "2?", "3?"], "answer": [1, 0, -1]}
    buffer = io.BytesIO()
    datasets.Dataset.from_dict(rows, features=features).to_parquet(buffer)
    hub.repositories["me/labels"] = Repository(
        private=False, files={"train.parquet": buffer.getvalue()}, commits=["8" * 40]
    )
    said = asked(user, "--questions=me/labels", "--rl_questions=0")
    assert [question["answer"] for question in said["sft"]] == ["yes", "no"]
    assert said["config"]["dropped"] == {"no 'answer'": 1}


def test_what_a_loader_cannot_read_is_told_with_its_reason(hub: Hub, user: User) -> None:
    files = {"train.csv": content("csv", ["18446744073709551616", "2"]), "README.md": b"# Sums"}
    hub.repositories["me/large"] = Repository(private=False, files=files, commits=["7" * 40])
    told = refused(user, "--questions=me/large")
    assert "me/large has no split 'train' that can be loaded: An error occurred while generating the dataset: " in told
    assert "too large" in told


def test_a_list_in_one_file_of_the_hub(hub: Hub, user: User) -> None:
    rows = [{"question": f"{n}?", "answer": answer} for n, answer in enumerate([int(BIG), 2.5])]
    hub.repositories["me/list"] = Repository(
        private=False, files={"train.json": json.dumps(rows).encode()}, commits=["5" * 40]
    )
    said = asked(user, "--questions=me/list", "--rl_questions=0")
    assert [question["answer"] for question in said["sft"]] == [BIG, "2.5"]


# ---- configurations and splits

TWO = b"""---
configs:
- config_name: main
  data_files: main/*.jsonl
- config_name: other
  data_files: other/*.jsonl
---
"""


def test_configurations_and_splits_are_named(hub: Hub, user: User) -> None:
    files: dict[str, Any] = {f"{name}/train.jsonl": lines(["1", "2", "3"]) for name in ("main", "other")}
    hub.repositories["me/two"] = Repository(private=False, files={**files, "README.md": TWO}, commits=["6" * 40])
    told = refused(user, "--questions=me/two")
    assert "has no default one of the configurations main, other: name one, as me/two:main" in told
    assert "has no configuration 'third', only main, other: name one, as me/two:main" in refused(
        user, "--questions=me/two:third"
    )
    assert "me/two:main has no split 'test': give one of train with --split" in refused(
        user, "--questions=me/two:main", "--split=test"
    )
    assert len(asked(user, "--questions=me/two:other:2", "--rl_questions=1")["sft"]) == 2
    assert len(asked(user, f"--questions=me/two:other@{'6' * 40}:1", "--rl_questions=0")["sft"]) == 1
    told = refused(user, "--questions=me/two:other:9")
    assert "me/two:other has 3 questions: 9 for SFT and 0 for RL are more" in told
