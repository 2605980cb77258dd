"""What a run tells of itself in its directory: through its stages, over starts, and where it cannot write."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from assembly.so_far import RolloutSoFar
from cluster.inference.engine import Request, ScriptedSettings
from cluster.inference.replicas import Fleet
from cluster.jobs import monitor, tally
from cluster.jobs.status import STATUS_FILE, Section, Status, read_history, read_status, write_status
from generation import evaluate, run
from tests.drive_shown import Dying
from tests.scripted import reply, slow_reply

FLAGS = ["--rl_questions=0", "--samples=2", "--attempts=4"]


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> list[Status]:
    """Every status that is written, in order."""
    kept: list[Status] = []

    def keep(path: Path, status: Status) -> None:
        kept.append(status)
        write_status(path, status)

    monkeypatch.setattr(monitor, "write_status", keep)
    return kept


def start(out: Path, *flags: str, engine: Any = reply, questions: int = 24) -> int:
    fleet = Fleet(ScriptedSettings(engine), in_flight=4)
    return run.main([f"--questions={questions}", *FLAGS, f"--out={out}", *flags], fleet=fleet)


def cells(section: Section) -> dict[str, dict[str, Any]]:
    """The cells of each row by name and column."""
    head, rows = section.table
    return {str(row[0]): dict(zip(head, row, strict=True)) for row in rows}


def of_run(out: Path) -> Status:
    status = read_status(out)
    assert status is not None
    return status


def test_the_stages_of_a_run_come_in_their_order(tmp_path: Path, stages: list[Status]) -> None:
    assert start(tmp_path) == 0
    told = list(dict.fromkeys(one.stage for one in stages))
    assert told == ["planning", "loading", "rolling out", "making sets", "done"] or told == [
        "planning",
        "rolling out",
        "making sets",
        "done",
    ]
    last = of_run(tmp_path)
    assert (last.stage, last.unit, last.total, last.before, last.done, last.failed) == (
        "done",
        "questions",
        24,
        0,
        24,
        0,
    )
    assert last.pid == os.getpid()
    assert last.output_tokens > 0
    assert last.average


def test_what_is_counted_while_it_goes_on_is_what_the_set_holds(tmp_path: Path) -> None:
    """Of all shards, whatever start wrote them."""
    assert start(tmp_path, "--variants=original,rephrase") == 0
    outcomes, _, _, traces = of_run(tmp_path).sections
    found = cells(outcomes)
    rows = rows_of(tmp_path)
    counted = Counter((row["prompt_variant"], row["outcome"]) for row in rows)
    for variant, told in found.items():
        assert told["samples"] == 48
        for outcome in ("right", "wrong", "unknown"):
            assert told[outcome] == pytest.approx(counted[variant, outcome] / 48)
    assert counted.total() == 96
    looks = [look for row in rows for look in row["reflections__provenance"]]
    reflections = cells(of_run(tmp_path).sections[1])
    assert reflections["all"]["number"] == len(looks)
    assert reflections["verdict agrees"]["number"] == sum(look["valid"] for look in looks)
    assert reflections["no verdict"]["number"] == sum(look["verdict"] is None for look in looks)
    made = json.loads((tmp_path / "run.json").read_text())
    assert cells(traces)["*C_full"]["questions"] >= made["counts"]["traces"] / 5 > 0


def rows_of(out: Path) -> list[dict[str, Any]]:
    return [row for path in (out / "RAW_DATA" / "data").iterdir() for row in pq.read_table(path).to_pylist()]


def test_a_stop_is_told_and_the_next_start_counts_what_was_there(
    tmp_path: Path, stages: list[Status], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor, "DRAW_S", 0.01)
    monkeypatch.setattr(monitor, "WRITE_S", 0.02)
    monkeypatch.setattr(tally, "SHARD_S", 0.05)
    asked = Counter[str]()

    async def stopping(request: Request) -> str:
        asked["all"] += 1
        if asked["all"] == 150:
            os.kill(os.getpid(), signal.SIGUSR1)
        return await slow_reply(request)

    assert start(tmp_path, engine=stopping) == 75
    assert [one.stage for one in stages][-2:] == ["draining", "stopped"]
    before = of_run(tmp_path)
    assert before.stage == "stopped"
    assert 0 < before.done < 24
    draining = next(one for one in stages if one.stage == "draining" and one.notes)
    assert "stopping: up to " in draining.notes[0]
    assert "Ctrl-C once more: at once" in draining.notes[0]

    assert start(tmp_path) == 0
    after = of_run(tmp_path)
    assert (after.before, after.done) == (before.done, 24 - before.done)
    assert sum(row["samples"] for row in cells(after.sections[0]).values()) == len(rows_of(tmp_path)) == 24 * 8
    assert [moment.start for moment in read_history(tmp_path)][-1] == 1


def test_a_finished_run_that_is_started_again_says_so(tmp_path: Path, stages: list[Status]) -> None:
    assert start(tmp_path) == 0
    stages.clear()
    assert start(tmp_path) == 0
    assert [one.stage for one in stages] == ["planning", "making sets", "done"]


def test_a_failure_is_told(tmp_path: Path) -> None:
    def broken(_: Request) -> str:
        raise ZeroDivisionError("a defect")

    assert start(tmp_path, engine=broken, questions=40) == 1
    status = of_run(tmp_path)
    assert status.stage == "failed"
    assert 0 < status.failed <= 32
    assert status.notes[0].endswith("failed.json")


def test_the_loss_of_an_engine_is_in_status_and_history(tmp_path: Path, stages: list[Status]) -> None:
    assert start(tmp_path, engine=Dying()) == 0
    assert any(one.lost == 1 and one.state == "lost" for status in stages for one in status.engines)
    assert any(
        one.lost == 1 and one.starts == 2 and one.state == "ready" for status in stages for one in status.engines
    )
    history = [*read_history(tmp_path)]
    assert [moment.lost for moment in history][-1] == 1
    assert 0 in [moment.engines for moment in history]
    assert history[-1].done == 24


@pytest.mark.parametrize(("hours", "most"), [(1 / 60, 12), (1, 190), (24, 350), (240, 470)])
def test_the_history_stays_short_however_long_the_run(hours: float, most: int) -> None:
    lines, last = 0, 0.0
    for second in range(int(3600 * hours)):
        if monitor.is_due(second - last, second):
            lines, last = lines + 1, second
    assert most / 2 < lines <= most


def test_where_the_status_cannot_be_written_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(monitor, "write_status", full)
    monkeypatch.setattr(monitor, "add_moment", full)
    assert start(tmp_path) == 0
    assert read_status(tmp_path) is None
    assert len(rows_of(tmp_path)) == 24 * 8


def test_it_gives_signs_of_life_while_sets_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "BEAT_S", 0.05)
    ages: list[float] = []

    def slow(*_: object) -> Any:
        time.sleep(0.5)
        ages.append(time.time() - (tmp_path / STATUS_FILE).stat().st_mtime)
        raise ValueError("no set today")

    monkeypatch.setattr("generation.run.make_sets", slow)
    assert start(tmp_path) == 1
    assert ages[0] < 0.4
    assert of_run(tmp_path).stage == "failed"


def test_rows_are_looked_at_in_batches_and_the_rate_of_looking_does_not_follow_that_of_items(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    take = RolloutSoFar.take

    def counting(self: RolloutSoFar, rows: Any, *, earlier: bool) -> str:
        looked.append(rows["question_key"].unique().__len__())
        return take(self, rows, earlier=earlier)

    monkeypatch.setattr(RolloutSoFar, "take", counting)
    assert start(tmp_path, questions=200) == 0
    assert sum(looked) == 200
    assert len(looked) < 20


def test_what_earlier_starts_made_is_counted_by_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "SHARD_ROWS", 1)
    assert start(tmp_path, questions=40) == 0
    shards = sorted((tmp_path / "shards").glob("*.parquet"))
    assert len(shards) > 10
    shards[0].unlink()
    assert start(tmp_path, questions=40) == 0
    samples = cells(of_run(tmp_path).sections[0])
    assert (
        sum(one["samples"] for one in samples.values())
        == pq.read_metadata(next((tmp_path / "RAW_DATA/data").iterdir())).num_rows
    )


def test_with_a_goal_its_worth_is_told(tmp_path: Path) -> None:
    assert start(tmp_path, "--traces=20") == 0
    goal = of_run(tmp_path).sections[-1]
    (row,) = goal.table.rows
    assert (goal.title, row[2]) == ("traces", 20)
    assert isinstance(row[1], int)
    assert row[1] >= 20
    assert goal.brief == f"{row[1]} of 20 traces"


def test_an_evaluation_tells_its_replies_by_task(tmp_path: Path) -> None:
    argv = ["--task=countdown_3arg:6", "--variants=original", "--samples=3", f"--out={tmp_path}"]
    assert evaluate.main(argv, fleet=Fleet(ScriptedSettings(reply))) == 0
    (section,) = of_run(tmp_path).sections
    assert section.title == "replies by task"
    (told,) = cells(section).values()
    assert told["replies"] == 18
    assert told["right"] + told["wrong"] + told["unknown"] == pytest.approx(1)
