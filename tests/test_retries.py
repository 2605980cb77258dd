"""Retries: what they are asked with, how they become rows, and that a run with them comes out the same every time."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from cluster.inference.engine import Completion, EngineInfo, Request, Sampling, ScriptedEngine, ScriptedSettings
from cluster.inference.replicas import Fleet
from generation.builtin import RANGES
from generation.parents import parents_of
from generation.raw.schema import PARENT, SEEN_COLUMN, to_table
from generation.records import REQUEST_FAILED, RETRY, Attempt
from generation.rollout import Rollout
from generation.run import main
from generation.variants import parse_names
from reflection.prompts import OURS, retry_messages
from tests import drive_job
from tests.countdown_questions import make
from tests.raw_rows import bytes_of
from tests.scripted import reply, slow_reply

GOLDEN = Path(__file__).parent / "golden" / "retries.json"
QUESTIONS = make("countdown_3arg", 3, rl=False, seed=0, ranges=RANGES)
ROLLOUT = Rollout(
    parse_names(("original", "rephrase_rationalized")),
    samples=3,
    reflections=3,
    sampling=Sampling(max_tokens=512),
    seed=0,
)
RETRYING = replace(ROLLOUT, retries=2)
FLAGS = ("--questions=12", "--rl_questions=2", "--retries=1")
INFO = EngineInfo("scripted", "1", "a/model", "abc", 100)


def roll(rollout: Rollout, answer: Callable[[Request], Any] = reply, place: int = 0) -> tuple[Attempt, ...]:
    return asyncio.run(rollout(ScriptedEngine(answer), QUESTIONS[place]))


def test_golden_rows() -> None:
    """What hangs on a draw, of every retry. `SKILLFACTORY_GOLDEN=write` writes the file anew: read the difference."""
    rows = []
    for place in range(len(QUESTIONS)):
        made = to_table([one for one in roll(RETRYING, place=place) if one.parent], INFO, RETRYING.recorded, "{}")
        kept = (PARENT, SEEN_COLUMN, "prompt_variant", "sample_index", "model_responses__mutated_prompts", "outcome")
        for row in made.to_pylist():
            verdicts = [[look["prompt_name"], look["seed"], look["verdict"]] for look in row["reflections__provenance"]]
            told = {name: row[name] for name in kept}
            rows.append(told | {"seed": row["sample__provenance"]["seed"], "reflections": verdicts})
    if os.environ.get("SKILLFACTORY_GOLDEN") == "write":
        GOLDEN.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    assert rows == json.loads(GOLDEN.read_text(encoding="utf-8"))
    kinds = {(row[SEEN_COLUMN]["outcome"], row["outcome"]) for row in rows}
    assert {("wrong", "right"), ("wrong", "wrong"), ("right", "right")} <= kinds, "or the golden rows show too little"


def test_samples_are_what_they_are_without_retries() -> None:
    for place in range(len(QUESTIONS)):
        assert tuple(one for one in roll(RETRYING, place=place) if one.parent is None) == roll(ROLLOUT, place=place)


def test_each_retry_follows_one_of_the_first_reflections_that_say_incorrect() -> None:
    """After a right sample too: how often a retry spoils is measured so."""
    for place in range(len(QUESTIONS)):
        attempts = roll(RETRYING, place=place)
        names = list[str]()
        for one in (one for one in attempts if one.parent is None):
            said = [number for number, look in enumerate(one.reflections) if look.verdict is False]
            names += [f"{one.variant}/{one.index}/{number}" for number in said[:2]]
        made = [one.parent.name for one in attempts if one.parent]
        assert Counter(made) == Counter(names)
        assert all(one.variant == RETRY for one in attempts if one.parent)
        assert [one.parent is None for one in attempts] == sorted(
            (one.parent is None for one in attempts), reverse=True
        )


def test_a_retry_sees_question_sample_and_reflection_and_nothing_of_the_answer() -> None:
    asked: list[Request] = []

    def answer(request: Request) -> str:
        asked.append(request)
        return reply(request)

    attempts = roll(RETRYING, answer)
    samples = {(one.variant, one.index): one for one in attempts if one.parent is None}
    for one in (one for one in attempts if one.parent):
        assert one.parent is not None
        before = samples[one.parent.variant, one.index]
        said = before.reflections[one.parent.number].completion.text
        messages = retry_messages(QUESTIONS[0].text, before.completion.text, said, "equation")
        assert one.messages == messages
        (request,) = (request for request in asked if request.seed == one.seed)
        assert request.messages == messages
        assert request.sampling == RETRYING.sampling
        assert (one.parent.outcome, one.parent.mentions_hint) == (before.grade.outcome, before.mentions_hint)
    assert len({request.seed for request in asked}) == len({request.key for request in asked}) == len(asked)


def test_a_retry_is_graded_and_reflected_on_and_none_follows_it() -> None:
    attempts = roll(replace(RETRYING, reflections=2), lambda request: _wrong(request.messages[-1]["content"]))
    retries = [one for one in attempts if one.parent]
    assert len(attempts) == 6 + 6 * 2
    assert all(one.grade.outcome == "wrong" for one in attempts)
    assert all([look.verdict for look in one.reflections] == [False, False] for one in attempts)
    assert len(retries) == 12


def _wrong(said: str) -> str:
    """A model that is always wrong, and knows it."""
    numbers = QUESTIONS[0].facts["numbers"]
    checks = "# Your attempt" in said and "# Your check" not in said
    return "No.\n<verdict>Incorrect</verdict>" if checks else f"<answer>{numbers[0]} + {numbers[1]}</answer>"


def test_a_retry_that_failed_is_data_on_its_row() -> None:
    def answer(request: Request) -> str | Completion:
        if "/retry/" in request.key:
            return Completion("", "error", 5, error="too long")
        return _wrong(request.messages[-1]["content"])

    retries = [one for one in roll(RETRYING, answer) if one.parent]
    assert len(retries) == 12
    assert {(one.grade.outcome, one.grade.reason) for one in retries} == {("unknown", REQUEST_FAILED)}
    assert not any(one.reflections for one in retries)


@pytest.mark.parametrize("change", [{"samples": 1}, {"retries": 1}, {"variants": parse_names(("original",))}])
def test_what_else_is_asked_changes_no_retry(change: dict[str, Any]) -> None:
    known = {one.parent.name: one for one in roll(RETRYING) if one.parent}
    made = [one for one in roll(replace(RETRYING, **change)) if one.parent]
    assert made
    assert all(one.parent and one == known[one.parent.name] for one in made)


def test_order_of_completion_does_not_matter() -> None:
    assert roll(RETRYING, slow_reply) == roll(RETRYING)


def test_parents_are_the_first_that_say_incorrect() -> None:
    sample = next(one for one in roll(ROLLOUT) if any(look.verdict is False for look in one.reflections))
    every = parents_of(sample, 99)
    assert [sample.reflections[one.number].verdict for one in every] == [False] * len(every)
    assert parents_of(sample, 1) == every[:1]
    assert parents_of(sample, 0) == []


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("retries") / "run"
    assert drive_job.main([*FLAGS, f"--out={out}"], reply) == 0
    return out


def rows_of(out: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(out / "RAW_DATA" / "data").to_pylist()
    return rows


def test_the_rows_of_a_run_stand_behind_the_samples_they_follow(run: Path) -> None:
    rows = rows_of(run)
    keys = [(row["question_index"], row["prompt_variant"], row["sample_index"], row[PARENT] or "") for row in rows]
    assert keys == sorted(set(keys), key=keys.index) == sorted(keys)
    plain = {(row["question_key"], row["prompt_variant"], row["sample_index"]): row for row in rows if not row[PARENT]}
    retries = [row for row in rows if row[PARENT]]
    assert len(plain) == 12 * 4 * 2
    assert len(retries) > 10
    for row in retries:
        variant, index, number = row[PARENT].split("/")
        before, seen = plain[row["question_key"], variant, int(index)], row[SEEN_COLUMN]
        assert row["prompt_variant"] == RETRY
        assert row["sample_index"] == int(index)
        assert seen["sample"] == before["model_responses__mutated_prompts"][0]
        assert seen["answer"] == before["model_responses__mutated_prompts__eval_extracted_answers"][0]
        assert seen["outcome"] == before["outcome"] in ("right", "wrong")
        assert seen["reflection"] == before["model_responses__mutated_prompts_reflection"][int(number)]
        assert before["reflections__provenance"][int(number)]["verdict"] == "Incorrect"
        assert seen["sample"] in row["prompt"][-1]["content"]


def test_the_card_tells_retries_apart(run: Path) -> None:
    card, rows = (run / "RAW_DATA" / "README.md").read_text(encoding="utf-8"), rows_of(run)
    retries = [row for row in rows if row[PARENT]]
    outcomes = Counter(row["outcome"] for row in rows if not row[PARENT])
    total = sum(outcomes.values())
    assert f"| samples | {total}: {outcomes['right'] / total:.1%} right" in card
    assert f"| samples | {total} |" in card
    assert f"| retries | {len(retries)} |" in card
    assert f"num_examples: {len(rows)}" in card
    for before in ("wrong", "right"):
        after = Counter(row["outcome"] for row in retries if row[SEEN_COLUMN]["outcome"] == before)
        counts = " | ".join(str(after[name]) for name in ("right", "wrong", "unknown"))
        assert f"| `(all)` | {before} | {sum(after.values())} | {counts} |" in card
    assert OURS.retry.split("\n")[0] in card.partition("## The prompts")[2]
    record = json.loads((run / "run.json").read_text())
    assert record["configuration"]["retries"] == 1
    assert record["texts"]["retries"] == {"retry": OURS.retry}


def test_a_run_without_retries_is_as_it_always_was(tmp_path: Path, run: Path) -> None:
    out = tmp_path / "run"
    assert drive_job.main([*FLAGS[:2], f"--out={out}"], reply) == 0
    record, other = (json.loads((one / "run.json").read_text()) for one in (out, run))
    assert "retries" not in record["configuration"]
    assert "retries" not in record["texts"]
    assert "etries" not in (out / "RAW_DATA" / "README.md").read_text(encoding="utf-8").partition("## Columns")[0]
    mine = {name: value for name, value in other["configuration"].items() if name != "retries"}
    changed = {name for name in mine if mine[name] != record["configuration"][name]}
    assert changed == {"prompts_hash"}
    assert [row for row in rows_of(run) if not row[PARENT]] == rows_of(out)


def test_a_run_that_lost_a_shard_comes_out_the_same(tmp_path: Path, run: Path) -> None:
    """As after a kill: what is in no shard is asked again, retries too."""
    out = tmp_path / "run"
    assert drive_job.main([*FLAGS, f"--out={out}"], slow_reply) == 0  # type: ignore[arg-type]
    assert (
        bytes_of(out / "RAW_DATA")["train-00000-of-00001.parquet"]
        == (bytes_of(run / "RAW_DATA")["train-00000-of-00001.parquet"])
    )
    (shard,) = (out / "shards").glob("*.parquet")
    table = pq.read_table(shard)
    keys = table["question_key"].unique().to_pylist()[:5]
    shard.unlink()
    pq.write_table(table.filter([key in keys for key in table["question_key"].to_pylist()]), shard)
    assert drive_job.main([*FLAGS, f"--out={out}"], reply) == 0
    assert (
        bytes_of(out / "RAW_DATA")["train-00000-of-00001.parquet"]
        == (bytes_of(run / "RAW_DATA")["train-00000-of-00001.parquet"])
    )


def test_more_retries_are_added_and_fewer_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that grows by retries, reflections and samples has the rows of one that was asked for all at once."""
    grown, whole = tmp_path / "grown", tmp_path / "whole"
    shutil.copytree(run, grown)
    more = [*FLAGS[:2], "--retries=2", "--reflections=3", "--samples=3"]
    for out in (grown, whole):
        assert main([*more, f"--out={out}"], fleet=Fleet(ScriptedSettings(reply))) == 0
    rows, once = (list(rows_of(out)) for out in (grown, whole))
    assert rows == once
    assert len([row for row in rows if row["parent"]]) > len([row for row in rows_of(run) if row["parent"]])
    capsys.readouterr()
    with pytest.raises(SystemExit, match="2"):
        main([*more[:-3], "--retries=1", "--reflections=3", "--samples=3", f"--out={grown}"])
    assert "--retries was 2, now 1" in capsys.readouterr().err


def test_the_plan_bounds_what_retries_add(tmp_path: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*FLAGS, "--dry_run", f"--out={tmp_path / 'new'}"]) == 0
    said = capsys.readouterr().out
    assert "requests    96 samples and up to 384 reflections\n            up to 96 retries" in said
    assert "--- first prompt of retry" in said
    assert "(a reflection that says Incorrect, as the model wrote it)" in said
    rows = rows_of(run)
    tokens = [row["sample__provenance"]["output_tokens"] for row in rows]
    tokens += [look["output_tokens"] for row in rows for look in row["reflections__provenance"]]
    (most,) = re.findall(r"tokens      at most ([\d,]+) written", said)
    assert sum(tokens) < int(most.replace(",", "")) == (96 + 96 + 384) * 256
    assert main([*FLAGS, f"--like={run}", f"--out={tmp_path / 'new'}", "--formats=*C_full,retry"]) == 0
    said = capsys.readouterr().out
    (low, high) = re.findall(r"expected    ([\d,]+) to ([\d,]+) tokens written", said)[0]
    assert int(low.replace(",", "")) < sum(tokens) < int(high.replace(",", ""))
    assert re.search(r"format      retry from [\d% to]+ of the questions: [\d. to]+ traces", said)


def test_retries_are_looked_at_in_a_preview(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert drive_job.main([*FLAGS, "--preview=3", f"--out={tmp_path / 'run'}"], reply) == 0
    said = capsys.readouterr().out
    assert re.search(r"^  retry \w+/\d/\d +(right|wrong|unknown)", said, re.MULTILINE)
