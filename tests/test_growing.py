"""A run that is asked for more: what is missing is added, nothing is asked twice, and rows stay byte for byte."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from cluster.inference.engine import Completion, Request, ScriptedSettings
from cluster.inference.replicas import Fleet
from cluster.jobs import tally
from generation.run import main
from tests.drive_job import Knowing
from tests.raw_rows import bytes_of

SMALL = ["--questions=6", "--rl_questions=2", "--variants=original,rephrase", "--samples=2", "--reflections=1"]
SMALL += ["--formats=*C,star", "--attempts=2"]


class Asking:
    """A scripted engine that counts what it is asked."""

    def __init__(self, argv: Sequence[str]) -> None:
        self.asked = Counter[str]()
        self._reply = Knowing([*argv])

    def __call__(self, request: Request) -> str | Completion:
        self.asked[request.key] += 1
        return self._reply(request)


def run(out: Path, *flags: str) -> Counter[str]:
    """Run the job to its end; what was asked."""
    argv = [f"--out={out}", *flags]
    engine = Asking(argv)
    assert main(argv, fleet=Fleet(ScriptedSettings(engine))) == 0
    return engine.asked


def with_flags(*flags: str) -> list[str]:
    """The small run's flags, with others in place of its own."""
    names = {flag.partition("=")[0] for flag in flags}
    return [*(flag for flag in SMALL if flag.partition("=")[0] not in names), *flags]


def rows(out: Path) -> dict[tuple[str, str, int, str | None], dict[str, Any]]:
    files = sorted((out / "RAW_DATA" / "data").glob("*.parquet"))
    found = [row for file in files for row in pq.read_table(file).to_pylist()]
    return {(row["question_key"], row["prompt_variant"], row["sample_index"], row["parent"]): row for row in found}


@pytest.fixture(autouse=True)
def many_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "SHARD_ROWS", 10)


GROWTHS: list[tuple[str, list[list[str]]]] = [
    ("more questions", [SMALL, with_flags("--questions=14", "--rl_questions=4")]),
    ("more samples", [SMALL, with_flags("--samples=5")]),
    ("more variants", [SMALL, with_flags("--variants=rephrase,plan_and_execute,original")]),
    ("more reflections", [SMALL, with_flags("--reflections=3")]),
    ("reflections at all", [with_flags("--reflections=0", "--formats=star"), SMALL]),
    (
        "reflections sampled otherwise",
        [
            with_flags("--reflections=0", "--formats=star", '--reflection_sampling={"temperature": 0.3}'),
            with_flags("--reflections=2", '--reflection_sampling={"temperature": 0.3}'),
        ],
    ),
    (
        "everything, twice",
        [
            SMALL,
            with_flags("--questions=9", "--samples=3", "--reflections=2"),
            with_flags("--questions=12", "--samples=4", "--reflections=4", "--variants=all"),
        ],
    ),
    (
        "retries with more of all else",
        [
            with_flags("--retries=1"),
            with_flags("--retries=2", "--reflections=3", "--samples=3", "--variants=original,rephrase,alternatively"),
        ],
    ),
    ("samples of RL questions", [SMALL, with_flags("--rl_samples=2"), with_flags("--rl_samples=4", "--samples=3")]),
    ("more RL questions", [with_flags("--rl_samples=2"), with_flags("--rl_samples=2", "--rl_questions=5")]),
    (
        "a mixture",
        [
            with_flags("--questions=6", "--task=countdown_3arg,longmult_2dig", "--rl_samples=1"),
            with_flags("--questions=11", "--task=countdown_3arg,longmult_2dig", "--rl_samples=1", "--samples=3"),
        ],
    ),
    (
        "more where questions end early",
        [
            with_flags("--formats=*C", "--enough"),
            with_flags("--samples=6", "--questions=9", "--formats=*C", "--enough"),
        ],
    ),
]


@pytest.mark.parametrize(("name", "starts"), GROWTHS, ids=[name for name, _ in GROWTHS])
def test_a_run_that_grew_is_the_run_that_was_asked_for_more_at_once(
    name: str, starts: list[list[str]], tmp_path: Path
) -> None:
    whole, grown = tmp_path / "whole", tmp_path / "grown"
    at_once = run(whole, *starts[-1])
    asked, before = Counter[str](), dict[tuple[str, str, int, str | None], dict[str, Any]]()
    for flags in starts:
        asked += run(grown, *flags)
        now = rows(grown)
        assert kept(before, now), "rows that were there are there, with more reflections at most"
        before = now
    assert asked.keys() >= at_once.keys(), "all is asked"
    assert max(asked.values()) == 1, "nothing is asked twice"
    assert asked.keys() == at_once.keys(), "and nothing else"
    assert bytes_of(grown / "RAW_DATA") == bytes_of(whole / "RAW_DATA")
    record = json.loads((grown / "run.json").read_text())
    assert record["configuration"] == json.loads((whole / "run.json").read_text())["configuration"]
    assert len(record["grown"]) == len(starts) - 1
    assert not run(grown, *starts[-1]), "it is done"


def kept(before: dict[Any, dict[str, Any]], now: dict[Any, dict[str, Any]]) -> bool:
    """Whether each row is there, its reflections the first of those it has now, and all else as it was."""
    lists = [
        name for row in before.values() for name in row if name.startswith("reflections__") or "_reflection" in name
    ]
    of_the_run = {"question_index", "task_config", "sampling"}
    for key, row in before.items():
        other = now[key]
        if any(other[name][: len(row[name])] != row[name] for name in {*lists}):
            return False
        if any(other[name] != row[name] for name in row if name not in {*lists, *of_the_run}):
            return False
    return True
