"""Questions that a user brings: what is taken, and one line for whatever is wrong with them."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation.grading import grade
from generation.tasks import countdown
from tests.countdown_questions import make
from tests.custom_questions import load
from tests.rows import check_rows

ROOT = Path(__file__).parent.parent
GOOD = [{"question": "What is 2 + 2?", "answer": "4"}, {"question": "What is 2 + 3?", "answer": "5"}]


def lines(*rows: object) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def parquet(columns: dict[str, Sequence[Any]]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def columns(rows: Sequence[dict[str, Any]]) -> dict[str, Sequence[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def test_good_questions_are_taken(tmp_path: Path) -> None:
    def check(name: str, content: bytes, why: str) -> None:
        (tmp_path / name).write_bytes(content)
        loaded = load(str(tmp_path / name))
        assert [(q.text, q.answer) for q in loaded] == [(row["question"], row["answer"]) for row in GOOD], why
        for question in loaded:
            assert (question.task, question.source) == ("mine", str(tmp_path / name))
            assert (question.grader, question.answer_type, question.facts) == ("number", "value", {})
            assert grade(f"<answer>{question.answer}</answer>", question, "stop").outcome == "right"

    check_rows(
        check,
        [
            ("mine.jsonl", lines(*GOOD), "as one writes it"),
            ("mine.jsonl", lines(*GOOD).rstrip(b"\n"), "no newline at the end"),
            ("mine.jsonl", lines(*GOOD).replace(b"\n", b"\r\n\r\n"), "empty lines, from Windows"),
            ("mine.jsonl", b"\xef\xbb\xbf" + lines(*GOOD), "a byte order mark, as some editors put it"),
            ("mine.jsonl", lines(*({**row, "id": 1, "more": None} for row in GOOD)), "further columns"),
            ("mine.jsonl", lines(*({**row, "answer": int(row["answer"])} for row in GOOD)), "a number as the answer"),
            ("mine.parquet", parquet(columns(GOOD)), "parquet"),
            ("mine.parquet", parquet({**columns(GOOD), "answer": [4, 5]}), "parquet, numbers"),
            ("mine.parquet", parquet({"more": [[1], []], **columns(GOOD)}), "parquet, further columns"),
        ],
    )


def test_a_countdown_question_is_graded_as_one(tmp_path: Path) -> None:
    made = make("countdown_3arg", 2, rl=False, seed=0, ranges=countdown.Ranges())
    (tmp_path / "cd.jsonl").write_bytes(lines(*({"question": q.text, "answer": q.answer} for q in made)))
    for question, original in zip(load(str(tmp_path / "cd.jsonl")), made, strict=True):
        assert (question.grader, question.answer_type) == ("countdown", "equation")
        assert question.facts == original.facts
        assert grade(f"<answer>{question.answer}</answer>", question, "stop").outcome == "right"


def test_the_path_does_not_name_the_question(tmp_path: Path) -> None:
    """A moved file asks the same questions; the key goes by the file's own name and the text."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.jsonl").write_bytes(lines(*GOOD))
    one, other = (load(str(tmp_path / folder / "mine.jsonl")) for folder in ("a", "b"))
    assert [q.key for q in one] == [q.key for q in other]


Q, A = "question", "answer"
WRONG: list[tuple[str, bytes, tuple[str, ...], str]] = [
    ("x.jsonl", lines(GOOD[0]) + b'{"question": "torn of', ("line 2 is no JSON, torn perhaps", "each line"), "torn"),
    ("x.jsonl", b"What is 2 + 2?\t4\n", ("line 1 is no JSON", '{"question": "...", "answer": "..."}'), "not JSON"),
    ("x.jsonl", b"[" * 99_999, ("line 1 is no JSON",), "too deep for the parser"),
    ("x.jsonl", b'{"answer": ' + b"9" * 5000 + b"}", ("line 1 is no JSON",), "a number too long to be read"),
    ("x.jsonl", lines(["a", "b"]), ("line 1 is no JSON object", "each line"), "a list"),
    ("x.jsonl", lines(GOOD), ("line 1 is no JSON object",), "the whole list on one line"),
    ("x.jsonl", lines(GOOD[0], {Q: "why?"}), ("line 2 has no 'answer'", "each row needs"), "missing column"),
    ("x.jsonl", b"\n\n" + lines({"Question": "a", A: "b"}), ("line 3 has no 'question'",), "another spelling"),
    ("x.jsonl", lines({Q: "why?", A: None}), ("line 1 has no 'answer'",), "null"),
    ("x.jsonl", b"", ("holds no questions", "give at least one"), "empty file"),
    ("x.jsonl", b"\n \n", ("holds no questions",), "empty lines only"),
    ("x.jsonl", lines(*GOOD, GOOD[0]), ("line 3 asks the same question as", "line 1", "once"), "twice"),
    ("x.jsonl", lines(GOOD[0], {Q: GOOD[0][Q], A: "5"}), ("line 2 asks the same",), "twice, with another answer"),
    ("x.jsonl", lines({Q: "", A: "4"}), ("line 1: 'question' is empty", "fill it in"), "empty text"),
    ("x.jsonl", lines({Q: "why?", A: " \n\t"}), ("line 1: 'answer' is empty",), "blank text"),
    ("x.jsonl", lines({Q: "why?", A: ["4"]}), ("line 1: 'answer' must be text, not list",), "a list"),
    ("x.jsonl", lines({Q: "why?", A: True}), ("line 1: 'answer' must be text, not bool",), "a truth value"),
    ("x.jsonl", lines({Q: {"text": "why?"}, A: "4"}), ("line 1: 'question' must be text, not dict",), "an object"),
    ("x.jsonl", lines({Q: "why \ud800?", A: "4"}), ("line 1: 'question' holds half a character",), "no text at all"),
    ("x.jsonl", '{"question": "où?", "answer": "là"}'.encode("latin-1"), ("UTF-8", "save it as"), "not UTF-8"),
    ("x.jsonl", '{"question": "où?"}'.encode("utf-16"), ("UTF-8", "save it as"), "not UTF-8"),
    ("x.jsonl", parquet(columns(GOOD)), ("x.jsonl",), "parquet under the wrong name"),
    ("x.parquet", parquet(columns(GOOD))[:-20], ("cannot be read as parquet", "write the file again"), "truncated"),
    ("x.parquet", b"", ("cannot be read as parquet",), "empty file"),
    ("x.parquet", lines(*GOOD), ("cannot be read as parquet",), "JSON under the wrong name"),
    (
        "x.parquet",
        parquet({Q: ["why?"], "gold": ["4"]}),
        ("no column 'answer'", "--answer_column", "question, gold"),
        "missing column",
    ),
    ("x.parquet", parquet({Q: pa.array([], pa.string()), A: pa.array([], pa.string())}), ("no questions",), "no rows"),
    ("x.parquet", parquet({Q: ["a", "b"], A: ["4", None]}), ("row 2 has no 'answer'",), "null"),
    ("x.parquet", parquet({Q: ["a", "b"], A: ["4", ""]}), ("row 2: 'answer' is empty",), "empty text"),
    ("x.parquet", parquet({Q: ["a", "a"], A: ["4", "4"]}), ("row 2 asks the same question as", "row 1"), "twice"),
    ("x.parquet", parquet({Q: ["a"], A: [["4"]]}), ("row 1: 'answer' must be text, not list",), "a list"),
    ("x.parquet", parquet({Q: [b"a"], A: ["4"]}), ("row 1: 'question' must be text, not bytes",), "bytes"),
    ("x.json", lines(*GOOD), ("is no .jsonl or .parquet file",), "wrong suffix"),
    ("x.JSONL", lines(*GOOD), ("is no .jsonl or .parquet file",), "suffixes have one case"),
    ("x", lines(*GOOD), ("is no .jsonl or .parquet file",), "no suffix"),
]


def told_about(given_path: str) -> str:
    with pytest.raises(ValueError) as error:  # noqa: PT011  what it says is checked by the caller
        load(given_path)
    text = str(error.value)
    assert "\n" not in text, "one line"
    assert len(text) < 500
    return text


def test_what_is_wrong_is_told(tmp_path: Path) -> None:
    def check(name: str, content: bytes, told: tuple[str, ...], why: str) -> None:
        path = tmp_path / name
        path.write_bytes(content)
        text = told_about(str(path))
        assert str(path) in text, why
        assert all(part in text for part in told), (text, why)

    check_rows(check, WRONG)


def test_what_is_nowhere_is_told() -> None:
    def check(given_path: str, told: str) -> None:
        assert told in told_about(given_path)

    check_rows(
        check,
        [
            ("nowhere.jsonl", "--questions file nowhere.jsonl is not there: give one that is"),
            ("no/where.parquet", "is not there"),
            ("1e3", "'1e3' is no count, no .jsonl or .parquet file, and no hub dataset (owner/name)"),
            ("mine", "'mine' is no count"),
            ("a/b/c", "is no count"),
            ("x" * 300 + ".jsonl", "is not there"),
        ],
    )


def test_a_folder_is_told(tmp_path: Path) -> None:
    def check(name: str) -> None:
        (tmp_path / name).mkdir()
        assert f"{tmp_path / name} is a folder: give a .jsonl or .parquet file" in told_about(str(tmp_path / name))

    check_rows(check, ["x.jsonl", "x.parquet", "x"])


@given(st.binary(max_size=200))
def test_any_bytes_are_questions_or_a_line(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_bytes(content)
    assert told_about(str(path))


def test_a_hub_dataset_that_is_not_there_is_told_within_seconds(tmp_path: Path) -> None:
    """A process of its own: the hub's client reads HF_HUB_OFFLINE when it is imported."""
    code = (
        "import sys; from tests.custom_questions import load\ntry: load(sys.argv[1])\nexcept ValueError as e: print(e)"
    )
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    started = time.monotonic()
    command = [sys.executable, "-c", code, "nobody/nothing-v1.5"]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert time.monotonic() - started < 30
    assert "dataset nobody/nothing-v1.5" in ended.stdout
    assert "is not in the hub's cache of this machine" in ended.stdout
    assert ended.stdout.count("\n") == 1
    assert "Retrying" not in ended.stderr
