"""A full disk, a folder that cannot be written, one that disappears: exit 1, what is safe, how to go on."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.processes import Job

ROOT = Path(__file__).parent.parent
QUESTIONS = 40
FLAGS = ("--questions", str(QUESTIONS), "--rl_questions", "0", "--variants", "original", "--samples", "8")
# A user who is not root makes mounts in a namespace where he seems to be.
UNSHARE = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]

_FULL = """
import resource, sys
from pathlib import Path
import pyarrow as pa
from cluster.jobs.atomic import atomic_write_text
from cluster.jobs.store import ShardStore
run = Path(sys.argv[1])
table = pa.table({"question_key": ["a"] * 2000, "text": [str(hash(n)) * 9 for n in range(2000)]})
store = ShardStore(run, schema=table.schema, sort_by=("text",))
atomic_write_text(run / "record", "old")
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
for write in (lambda: store.write_shard(table), lambda: atomic_write_text(run / "record", "new" * 9999)):
    try:
        write()
    except OSError as error:
        print(error.errno, sorted(path.name for path in run.iterdir()), (run / "record").read_text())
print(len(store.safe()), len(store.finished()))
"""


def test_what_does_not_fit_is_told_and_nothing_half_written_stays(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _FULL, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ended.stdout.splitlines() == ["27 ['record'] old", "27 ['record'] old", "0 0"]


@pytest.mark.ray
def test_a_full_disk_then_a_read_only_one_then_a_healthy_one(tmp_path: Path) -> None:
    script = ["sh", str(ROOT / "tests" / "disk.sh"), sys.executable, str(tmp_path / "run"), str(tmp_path / "made")]
    ended = subprocess.run([*UNSHARE, *script, *FLAGS], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    full, read_only, healthy = re.split(r"^== .*\n", ended.stdout, flags=re.MULTILINE)[1:]
    assert "code 1\n" in full, full
    assert "No space left on device" in full
    assert re.search(rf"\d+ of {QUESTIONS} questions are safe in .*run; make room on that disk", full)
    assert "Traceback" not in full
    assert "lies there: .tmp-" not in full, "a full disk is not kept fuller than it must be"
    assert "code 1\n" in read_only, read_only
    assert "Read-only file system" in read_only
    assert "can be written, and the same command goes on from there" in read_only
    assert "Traceback" not in read_only
    assert "code 0\n" in healthy, healthy
    assert "going on: " in healthy
    rows = [row for path in (tmp_path / "made" / "data").iterdir() for row in pq.read_table(path).to_pylist()]
    names = [(row["question_index"], row["sample_index"]) for row in rows]
    assert sorted(names) == [(question, sample) for question in range(QUESTIONS) for sample in range(8)]


@pytest.mark.ray
def test_a_run_directory_that_disappears(tmp_path: Path) -> None:
    run, away = tmp_path / "run", tmp_path / "away"
    args = ["slow_reply", "--out", str(run), *FLAGS]
    job = Job("tests.drive_run", args, tmp_path / "log")
    try:
        deadline = time.monotonic() + 120
        while not list(run.glob("shards/*.parquet")):
            assert job.process.poll() is None, job.output()
            assert time.monotonic() < deadline, job.output()
            time.sleep(0.02)
        run.rename(away)
        assert job.wait(60) == 1, job.output()
        assert job.left_behind() == {}
    finally:
        job.clean()
    assert "failed: StoreGoneError: " in job.output()
    assert "removed or replaced while the run went on" in job.output()
    assert f"0 of {QUESTIONS} questions are safe in {run}; put the folder back" in job.output()
    assert "Traceback" not in job.output()
    assert not run.exists(), "it does not come back half"
