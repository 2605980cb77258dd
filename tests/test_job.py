"""The whole job as a user runs it: real vLLM on the CPU, the built-in model, `python -m generation.run`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from datasets import load_dataset

from assembly.rendering import render
from assembly.settings import load_tokenizer
from generation.builtin import MODEL
from tests.processes import Job
from tests.raw_rows import assert_whole, rows_of
from tests.trace_texts import parse

pytestmark = pytest.mark.engine

# The engine's own names for what it logs; none may reach the terminal.
_ENGINE_LINES = re.compile(r"EngineCore|\bINFO\b|\bWARNING\b|\(raylet\)|Traceback|it/s")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Job]]:
    """The job without any flag but the folder."""
    folder = tmp_path_factory.mktemp("job")
    spy = {"PYTHONPATH": str(Path(__file__).parent / "spy"), "SKILLFACTORY_TEST_CONNECTIONS": str(folder / "spy")}
    (folder / "spy").touch()
    job = Job("generation.run", ["--out", str(folder / "run")], folder / "log", spy)
    try:
        assert job.wait(240) == 0, job.output()
        yield folder / "run", job
    finally:
        job.clean()


def test_no_process_is_left(finished: tuple[Path, Job]) -> None:
    assert finished[1].left_behind() == {}


def test_no_network_is_touched(finished: tuple[Path, Job]) -> None:
    """No Python process of the job, Ray's and vLLM's among them, looked up or connected to another machine."""
    assert (finished[0].parent / "spy").read_text() == ""


def test_raw_data_opens_and_is_whole(finished: tuple[Path, Job]) -> None:
    run, _ = finished
    assert_whole(run, questions=32, variants=4, samples=2)
    rows = rows_of(run)
    assert len(rows) >= 100
    assert {row["outcome"] for row in rows} >= {"right", "wrong"}
    assert {row["engine"] for row in rows} == {"vllm"}
    cached = [look["cached_tokens"] for row in rows for look in row["reflections__provenance"]]  # type: ignore[attr-defined]
    assert max(cached) > 0  # reflections of one sample share their prefix


def test_traces_open_and_come_apart(finished: tuple[Path, Job]) -> None:
    run, _ = finished
    traces = load_dataset(str(run / "SFT_DATA"), split="train")
    assert len(traces) >= 40
    assert {row["sft_template_type_idx"] for row in traces} == {"1C", "2C", "3C", "4C", "5C"}
    for row in traces:
        user, assistant = row["conversations"]
        assert (user["role"], assistant["role"]) == ("user", "assistant")
        assert render(parse(assistant["content"])) == assistant["content"]


def test_the_longest_trace_is_counted_by_the_runs_own_model(finished: tuple[Path, Job]) -> None:
    out, _ = finished
    card = (out / "SFT_DATA" / "README.md").read_text(encoding="utf-8")
    rows = load_dataset(str(out / "SFT_DATA"), split="train")
    chat = load_tokenizer(str(MODEL))
    longest = max(len(chat.tokenize([chat.render(turns, opened=False)])[0]) for turns in rows["conversations"]) - 1
    assert f"By the tokenizer of `skillfactory-tiny-3m` the longest trace has {longest:,} tokens" in card
    assert str(MODEL) not in card


def test_sft_and_rl_questions_are_apart(finished: tuple[Path, Job]) -> None:
    run, _ = finished
    rl = [row for split in load_dataset(str(run / "RL_DATA")).values() for row in split]
    asked = {row["prompt"][0]["content"] for row in rl}
    assert len(asked) == len(rl) == 8
    assert asked.isdisjoint(row["question"] for row in rows_of(run))


def test_what_is_printed_is_for_a_person(finished: tuple[Path, Job]) -> None:
    run, job = finished
    printed = job.output()
    assert not _ENGINE_LINES.search(printed), printed
    for words in ("tokens/s", "right", "wrong", "unknown", "reflections", "1C", str(run / "RAW_DATA")):
        assert words in printed
    assert max(map(len, printed.splitlines())) <= 200


def test_the_record_names_what_made_the_rows(finished: tuple[Path, Job]) -> None:
    record = json.loads((finished[0] / "run.json").read_text())
    assert record["state"] == "done"
    assert record["configuration"]["model"].startswith("skillfactory-tiny")
    assert record["starts"][0]["versions"]["ray"]


def test_another_configuration_is_refused(finished: tuple[Path, Job], tmp_path: Path) -> None:
    job = Job(
        "generation.run", ["--out", str(finished[0]), "--seed", "5", "--temperature", "0.5"], tmp_path / "log", {}
    )
    assert job.wait(60) == 2
    lines = job.output().splitlines()
    assert len(lines) == 1
    assert "seed was 0, now 5" in lines[0]
    assert "temperature was 0.8, now 0.5" in lines[0]
