"""python -m reflection.run as a user runs it, behind Ray: stopped, killed, with dying engines; and with real vLLM."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from assembly.run import main as assemble
from generation.raw.schema import PROVENANCE, REFLECTIONS
from reflection.added.source import ADDED
from reflection.verdict import parse_verdict
from tests.assembly_rows import write_parquet
from tests.processes import Job
from tests.raw_rows import bytes_of
from tests.reflection_rows import assert_only_reflections_added, foreign_rows, rows_of

pytestmark = pytest.mark.ray


def test_stopped_killed_and_with_dying_engines_it_comes_to_the_same_bytes(
    start: Callable[..., Job], tmp_path: Path
) -> None:
    raw = write_parquet(tmp_path / "raw" / "train.parquet", foreign_rows(4000)).parent
    drive, flags = "tests.drive_reflection_run", ("slow_judge", f"--raw={raw}", "--reflections=2", "--engines=2")
    quiet = start(drive, *flags, f"--out={tmp_path / 'quiet'}")
    assert quiet.wait() == 0, quiet.output()
    assert_only_reflections_added(raw, tmp_path / "quiet" / "RAW_DATA")
    assert [len(row[REFLECTIONS]) for row in rows_of(tmp_path / "quiet" / "RAW_DATA")] == [3] * 4000

    run = tmp_path / "run"
    (tmp_path / "bait").touch()
    job = start(drive, *flags, f"--out={run}", SKILLFACTORY_TEST_BAIT=str(tmp_path / "bait"))
    job.wait_for(lambda: len(list((run / "shards").glob("0*.parquet"))) > 2)
    job.process.send_signal(signal.SIGTERM)
    assert job.wait(60) == 75, job.output()
    assert "of 4,000 rows are safe in" in job.output()
    assert " was lost (" in job.output()
    assert not (run / "RAW_DATA").exists()

    killed = start(drive, *flags, f"--out={run}")
    before = len(list((run / "shards").glob("0*.parquet")))
    killed.wait_for(lambda: len(list((run / "shards").glob("0*.parquet"))) > before + 1)
    killed.process.kill()
    killed.wait()
    assert killed.left_behind() == {}

    last = start(drive, *flags, f"--out={run}")
    assert last.wait() == 0, last.output()
    assert "going on: " in last.output()
    assert bytes_of(run / "RAW_DATA") == bytes_of(tmp_path / "quiet" / "RAW_DATA")
    assert last.left_behind() == {}


@pytest.mark.engine
def test_the_built_in_model_reflects_again_on_its_own_samples_of_several_tasks(
    start: Callable[..., Job], tmp_path: Path
) -> None:
    tasks = "--task=countdown_2arg:2,countdown_3arg:3,countdown_4arg:1,longmult_2dig:1"
    whole = start("generation.run", tasks, "--rl_questions=0", f"--out={tmp_path / 'run'}", "--reflections=1")
    assert whole.wait() == 0, whole.output()
    assert "longmult_2dig" in whole.output()
    raw = tmp_path / "run" / "RAW_DATA"
    more = start("reflection.run", f"--raw={raw}", "--reflections=2", f"--out={tmp_path / 'more'}")
    assert more.wait() == 0, more.output()
    after = tmp_path / "more" / "RAW_DATA"
    assert_only_reflections_added(raw, after)
    said = 0
    for row in rows_of(after):
        if row["outcome"] == "unknown":
            assert len(row[REFLECTIONS]) == len(row[ADDED]) == 0
            continue
        assert len(row[REFLECTIONS]) == len(row[PROVENANCE]) == 3
        assert row[ADDED][0]["engine"] == "vllm"
        assert row[ADDED][0]["model_revision"] == row["model_revision"]
        assert row[PROVENANCE][1]["seed"] != row[PROVENANCE][2]["seed"]
        said += sum(parse_verdict(text) is not None for text in row[REFLECTIONS][1:])
    assert said > 48, "the built-in model nearly always gives a verdict"
    assert max(map(len, more.output().split("\n\n")[1].splitlines())) <= 80
    assert json.loads((tmp_path / "more" / "run.json").read_text())["state"] == "done"
    assemble([f"--raw={after}", "--attempts=3", f"--out={tmp_path / 'sft'}"])
    assert len(rows_of(tmp_path / "sft")) >= 3
    again = start("reflection.run", f"--raw={raw}", "--reflections=2", f"--out={tmp_path / 'more'}")
    assert again.wait() == 0, again.output()
    assert "engine 0 ready" not in again.output(), "no engine is started for nothing"
