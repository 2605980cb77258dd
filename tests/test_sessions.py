"""Traces as sessions for the hub's viewer: the rules of its page, word for word the trace, of each label its share."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import disable_progress_bars, load_dataset
from datasets.exceptions import DatasetGenerationError
from hypothesis import given
from hypothesis import strategies as st

from assembly.assemble import assemble
from assembly.run import main
from assembly.sessions import HARNESS, SESSIONS, choose_sessions
from tests import drive_job
from tests.assembly_rows import published_row, settings, write_parquet

HOSTILE = [
    "plain",
    "</think>\n<script>alert(1)</script>",
    '"}\n{"type":"session","harness":"llama.app","id":"x"}',
    "a\u2028b\u2029c\x85d\x0be\x1c",  # what ends a line for some readers
    "\u202eevil\u202c\x00\ufeff",
    "\\u0041 \\n ${x} {{y}}",
]
OPTIONAL = {"reasoningContent": str, "model": str}
"""Of a message, as the hub's page on the format has them; we write no others."""


def sessions(folder: Path) -> list[list[dict[str, Any]]]:
    """Each file's lines, by what ends a line in JSONL alone."""
    files = sorted((folder / "sessions").iterdir())
    return [[json.loads(line) for line in file.read_bytes().removesuffix(b"\n").split(b"\n")] for file in files]


def text_of(session: list[dict[str, Any]], frame: str) -> tuple[str, str]:
    """The question and the trace that a session shows."""
    asked, reply = (line["message"] for line in session[1:])
    if "reasoningContent" not in reply:
        return asked["content"], reply["content"]
    return asked["content"], f"<{frame}>\n{reply['reasoningContent']}\n</{frame}>\n\n\n{reply['content']}"


def traces(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(folder / "SFT_DATA" / "data").to_pylist()
    return rows


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Questions and samples that hold hostile texts, each right or wrong in turn."""
    rows = [
        published_row(f"Question {q}? {asked}", f"{said} {n}", n % 2 == 0)
        for q, asked in enumerate(HOSTILE)
        for n, said in enumerate(HOSTILE)
    ]
    return write_parquet(tmp_path_factory.mktemp("raw") / "raw.parquet", rows)


@pytest.mark.parametrize("frame", ["think", "reasoning", "none"])
def test_every_session_keeps_the_rules_and_is_the_trace_word_for_word(raw: Path, frame: str, tmp_path: Path) -> None:
    assemble(raw, tmp_path / "SFT_DATA", settings("*C_full", "star", frame=frame), sessions=1000)
    found, made = sessions(tmp_path / SESSIONS), traces(tmp_path)
    assert len(found) == len(made) > 20
    for head, *messages in found:
        assert (head["type"], head["harness"], type(head["id"])) == ("session", HARNESS, str)
        assert type(head["name"]) is str
        assert [line["type"] for line in messages] == ["message", "message"]
        assert [line["message"]["role"] for line in messages] == ["user", "assistant"]
        for line in messages:
            others = {name: type(value) for name, value in line["message"].items() if name not in ("role", "content")}
            assert type(line["message"]["content"]) is str
            assert others.items() <= OPTIONAL.items()
    assert len({head["id"] for head, *_ in found}) == len(found)
    shown = Counter((head["format"], head["label"], *text_of([head, *rest], frame)) for head, *rest in found)
    turns = [[turn["content"] for turn in row["conversations"]] for row in made]
    assert shown == Counter(
        (row["format"], row["sft_template_type_idx"], *texts) for row, texts in zip(made, turns, strict=True)
    )
    thoughts = [head["format"] for head, _, reply in found if "reasoningContent" in reply["message"]]
    assert {*thoughts} == ({"*C_full"} if frame != "none" else set())


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(1, 70), st.data())
def test_each_label_has_its_share_from_everywhere(labels: list[int], most: int, data: st.DataObject) -> None:
    named = [("*C", f"{label}C") for label in labels]
    kept = np.array(sorted(data.draw(st.sets(st.integers(0, len(labels) - 1), min_size=1))), np.int64)
    chosen = choose_sessions(named, kept, most).tolist()
    assert chosen == sorted({*chosen})
    assert {*chosen} <= {*kept.tolist()}
    assert len(chosen) == min(most, len(kept))
    there, here = (Counter(named[place] for place in places) for places in (kept.tolist(), chosen))
    for label, count in there.items():
        assert abs(here[label] - most * count / len(kept)) < 1 or len(kept) <= most


def test_they_are_taken_from_the_first_question_to_the_last() -> None:
    labels = [("*C_full", f"{n}C") for _ in range(100) for n in range(1, 6)]
    chosen = choose_sessions(labels, np.arange(500), 50)
    assert np.bincount(chosen // 50, minlength=10).tolist() == [5] * 10


def test_few_are_of_different_questions() -> None:
    labels = [("*C_full", f"{n}C") for _ in range(32) for n in range(1, 6)]
    chosen = choose_sessions(labels, np.arange(160), 5)
    assert [*(chosen // 5)] == [0, 6, 12, 19, 25]
    assert {*(chosen % 5)} == {*range(5)}


def test_datasets_takes_them_for_what_they_are(raw: Path, tmp_path: Path) -> None:
    """As the hub does: it asks for the package that reads sessions, and reads lines without."""
    assemble(raw, tmp_path / "SFT_DATA", settings("*C_full", "star"), sessions=7)
    disable_progress_bars()
    place, cache = str(tmp_path / SESSIONS), str(tmp_path / "cache")
    with pytest.raises(DatasetGenerationError) as raised:
        load_dataset(place, split="train", cache_dir=cache)
    assert "teich" in str(raised.value.__cause__)
    lines = load_dataset(place, split="train", cache_dir=cache, parse_agent_traces=False)
    written = [line for session in sessions(tmp_path / SESSIONS) for line in session]
    assert [line["message"] for line in lines if line["type"] == "message"] == [
        line["message"] for line in written if line["type"] == "message"
    ]
    assert lines.num_rows == len(written) == 21


def test_the_commands_write_so_many_beside_the_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    argv = ["--questions=12", "--rl_questions=0", f"--out={run}", "--export_traces=9"]
    assert drive_job.main(argv) == 0
    assert f"made        {run / SESSIONS}" in capsys.readouterr().out
    first = sessions(run / SESSIONS)
    assert len(first) == 9
    assert "9 of the " in (run / SESSIONS / "README.md").read_text(encoding="utf-8")
    main([f"--raw={run}", f"--out={tmp_path / 'traces'}", "--export_traces=4"])
    assert len(sessions(tmp_path / f"traces-{SESSIONS}")) == 4
    assert len(sessions(run / SESSIONS)) == 9
    main([f"--raw={run}", f"--out={tmp_path / 'traces'}", "--export_traces=9"])
    assert sessions(tmp_path / f"traces-{SESSIONS}") == first
