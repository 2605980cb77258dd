"""An evaluation as a user runs it: real vLLM on the CPU, the built-in model, with budget forcing; and compared."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from generation.evaluation.reader import read_evaluation
from tests.processes import Job
from tests.test_evaluate import rows_of

pytestmark = pytest.mark.engine

ASKED = ["--task", "countdown_3arg:24,countdown_2arg:8", "--samples", "2,countdown_2arg=3"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("evaluation")
    flags = [*ASKED, "--force_to", "120", "--force_at", "30", "--out", str(folder / "run")]
    job = Job("generation.evaluate", flags, folder / "log", {})
    try:
        assert job.wait(240) == 0, job.output()
        yield folder / "run"
        assert job.left_behind() == {}
    finally:
        job.clean()


def test_every_arm_is_there_and_graded(run: Path) -> None:
    rows = rows_of(run)
    counts = {"countdown_3arg": 2, "countdown_2arg": 3}
    assert len(rows) == 3 * 32
    assert all(len(row["responses__outcome"]) == counts[row["task"]] for row in rows)
    outcomes = {outcome for row in rows for outcome in row["responses__outcome"]}
    assert {"right", "wrong"} <= outcomes
    assert {row["engine"] for row in rows} == {"vllm"}


def test_the_control_begins_as_the_stopped_reply_did(run: Path) -> None:
    """The same seed draws the same tokens; and what goes on finds what is before it in the engine's cache."""
    by_arm: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows_of(run):
        by_arm.setdefault(row["arm"], {})[row["question_key"]] = row
    same, cached = list[bool](), list[int]()
    for key, base in by_arm["stopped"].items():
        control, forced = by_arm["control"][key], by_arm["forced"][key]
        for number, text in enumerate(base["model_responses"]):
            assert base["responses__provenance"][number]["output_tokens"] <= 30
            same.append(control["model_responses"][number].startswith(text))
            cached.append(forced["responses__provenance"][number]["cached_tokens"])
    # Arithmetic depends on what else is in a batch.
    assert sum(same) >= 0.9 * len(same)
    assert max(cached) > 0


def test_its_figures_come_with_intervals(run: Path) -> None:
    assert set(read_evaluation(run).order) == {"countdown_3arg", "countdown_2arg"}
    card = (run / "EVAL_DATA" / "README.md").read_text()
    assert "95%" in card
    assert "skillfactory-tiny-3m" in card
    state = json.loads((run / "run.json").read_text())
    assert (state["state"], state["counts"]["replies"]) == ("done", 3 * (24 * 2 + 8 * 3))
