"""--traces: a run ends when its first questions can give so many traces, and goes on when more are asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from cluster.inference.engine import Completion, Request
from cluster.inference.pool import Pool
from cluster.jobs.atomic import TEMPORARY
from generation.run import main
from tests import drive_job
from tests.killed import run_killed_at_rename
from tests.raw_rows import bytes_of
from tests.scripted import reply

FLAGS = ("--questions=24", "--rl_questions=3")


def run(folder: Path, *flags: str, **more: Any) -> int:
    return drive_job.main([*FLAGS, f"--out={folder}", *flags], **more)


def rows(folder: Path) -> list[dict[str, Any]]:
    paths = sorted((folder / "RAW_DATA" / "data").glob("*.parquet"))
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def state(folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / "run.json").read_text())
    return record


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("traces") / "full"
    assert run(folder) == 0
    return folder


@pytest.mark.parametrize("flags", [(), ("--enough",)])
def test_raw_data_holds_the_first_questions_that_suffice(
    flags: tuple[str, ...], tmp_path: Path, full: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "--traces=31", *flags) == 0
    said, done = capsys.readouterr().out, state(tmp_path)
    found = done["starts"][-1]["traces"]
    count = found["questions"]
    assert f"traces      {found['possible']} traces possible after {count} of 24 questions\n" in said
    assert done["counts"]["traces"] == found["possible"] >= 31
    assert {row["question_index"] for row in rows(tmp_path)} == set(range(count))
    of_all = {(row["question_key"], row["prompt_variant"], row["sample_index"]): row for row in rows(full)}
    for row in rows(tmp_path):
        assert row == of_all[row["question_key"], row["prompt_variant"], row["sample_index"]]
    made = pq.read_table(next((tmp_path / "SFT_DATA").rglob("*.parquet")))
    assert made.num_rows == found["possible"]
    # One question fewer would not do.
    last = [row["question_key"] for row in rows(tmp_path)][-1]
    assert found["possible"] - made["question_key"].to_pylist().count(last) < 31
    card = (tmp_path / "RAW_DATA" / "README.md").read_text(encoding="utf-8")
    assert f"| questions not needed for the traces asked for | {24 - count} |" in card
    assert f"{24 - count} further questions were not needed for the traces asked for:\n" in said
    ended = pq.read_table(tmp_path / "shards")["question_key"].unique()
    written = sum(
        one["output_tokens"]
        for row in rows(tmp_path)
        for one in (row["sample__provenance"], *row["reflections__provenance"])
    )
    beyond = len({*ended.to_pylist()} - {row["question_key"] for row in rows(tmp_path)})
    saved = round((24 - count - beyond) * written / count)
    assert f"{beyond} ended all the same, the others saved about {saved:,} tokens\n" in said


def test_more_traces_go_on_and_all_of_them_are_the_whole_run(
    tmp_path: Path, full: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "--traces=10") == 0
    few = {row["question_key"] for row in rows(tmp_path)}
    capsys.readouterr()
    assert run(tmp_path, "--traces=60") == 0
    assert "going on: " in capsys.readouterr().out
    assert few < {row["question_key"] for row in rows(tmp_path)}
    assert run(tmp_path, "--traces=10") == 0
    assert {row["question_key"] for row in rows(tmp_path)} == few, "what is more stays in the run"
    assert run(tmp_path) == 0
    assert bytes_of(tmp_path / "RAW_DATA") == bytes_of(full / "RAW_DATA")


def test_a_goal_that_is_reached_asks_nothing_and_one_that_cannot_be_asks_all(
    tmp_path: Path, full: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(tmp_path, "--traces=20") == 0
    before = [path.read_bytes() for path in sorted((tmp_path / "RAW_DATA" / "data").iterdir())]
    monkeypatch.setattr(Pool, "run", lambda *_: pytest.fail("an engine was asked"))
    assert main([*FLAGS, f"--out={tmp_path}", "--traces=20"]) == 0
    assert [path.read_bytes() for path in sorted((tmp_path / "RAW_DATA" / "data").iterdir())] == before
    monkeypatch.undo()
    capsys.readouterr()
    assert run(tmp_path, "--traces=100000") == 0
    possible = state(full)["counts"]["traces"]
    assert f"{possible} of the 100,000 wanted traces possible after 24 of 24 questions\n" in capsys.readouterr().out
    assert rows(tmp_path) == rows(full)


def test_no_more_is_dealt_than_was_in_flight(tmp_path: Path) -> None:
    asked = set[str]()

    def noting(request: Request) -> str:
        asked.add(request.key.partition("/")[0])
        return reply(request)

    assert drive_job.main(["--questions=300", "--rl_questions=0", "--traces=5", f"--out={tmp_path}"], noting) == 0
    assert 1 <= len(asked) < 60


class Refusing:
    """Refuses every request of the first question that it meets under a name that it was given."""

    def __init__(self, refused: set[str]) -> None:
        self.refused = refused

    def __call__(self, request: Request) -> str | Completion:
        if request.key.partition("/")[0] in self.refused:
            return Completion("", "error", error="refused")
        return reply(request)


def test_failed_questions_count_as_ended_and_are_told(
    tmp_path: Path, full: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    order = [*dict.fromkeys(row["question_key"] for row in rows(full))]
    assert run(tmp_path, "--traces=20", reply=Refusing({order[1], order[20]})) == 1
    said = capsys.readouterr().out
    held = [*dict.fromkeys(row["question_key"] for row in rows(tmp_path))]
    assert held == [order[0], *order[2 : len(held) + 1]]
    assert f"failed      1 of {len(held) + 1} questions" in said, "the other one is not in the set"
    assert run(tmp_path, "--traces=20", "--retry_failed") == 0
    again = [*dict.fromkeys(row["question_key"] for row in rows(tmp_path))]
    assert again == order[: len(again)]
    assert len(again) <= len(held) + 1


def test_rl_questions_are_sampled_all_the_same(tmp_path: Path) -> None:
    assert run(tmp_path, "--traces=5", "--rl_samples=2") == 0
    made = [pq.read_table(path) for path in (tmp_path / "RL_DATA").glob("*.parquet")]
    assert [count for table in made for count in table["n"].to_pylist()] == [2, 2, 2]
    assert {row["prompt_variant"] for row in rows(tmp_path)}.isdisjoint({"question"})


def test_a_torn_shard_is_asked_again(tmp_path: Path, full: Path) -> None:
    assert run(tmp_path, "--traces=25") == 0
    before = rows(tmp_path)
    shard = next((tmp_path / "shards").glob("*.parquet"))
    shard.write_bytes(shard.read_bytes()[:1000])
    assert run(tmp_path, "--traces=25") == 0
    assert rows(tmp_path) == before == rows(full)[: len(before)]


@pytest.mark.parametrize("flags", [(), ("--traces=25",)])
def test_a_shard_that_a_killed_driver_was_writing_is_none(flags: tuple[str, ...], tmp_path: Path, full: Path) -> None:
    """It may be whole, only not renamed: its questions are asked again, before the next start counts them as done."""
    assert run(tmp_path, *flags) == 0
    before = rows(tmp_path)
    shard = next((tmp_path / "shards").glob("*.parquet"))
    shard.rename(shard.with_name(f"{TEMPORARY}{shard.name}"))
    assert run(tmp_path, *flags) == 0
    assert rows(tmp_path) == before == rows(full)[: len(before)]


_KILLED = """
import sys
from tests import drive_job
sys.exit(drive_job.main(sys.argv[1:]))
"""


def test_killed_while_it_writes_it_comes_to_the_same_sets(tmp_path: Path) -> None:
    """At the renames of the state, of the shard and of the sets, each time in the same folder."""
    flags = ("--traces=31", "--enough", "--rl_samples=2", "--rl_pass_rate=0-1")
    assert run(tmp_path / "quiet", *flags) == 0
    kills = [run_killed_at_rename(nth, _KILLED, *FLAGS, f"--out={tmp_path / 'run'}", *flags) for nth in (3, 5)]
    assert all(kills)
    assert run(tmp_path / "run", *flags) == 0
    for name in ("RAW_DATA", "SFT_DATA", "RL_DATA"):
        for path in sorted((tmp_path / "quiet" / name).rglob("*.parquet")):
            assert path.read_bytes() == (tmp_path / "run" / path.relative_to(tmp_path / "quiet")).read_bytes()
