"""An evaluation that is killed at moments drawn from a seed, and stopped, has each row once, byte for byte."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.raw_rows import bytes_of
from tests.readme import ROOT

ASKED = ["--task", "countdown_3arg:60", "--samples", "2", "--inputs", "1-10", "--targets", "10-50"]
FORCED = ["--force_to", "60", "--force_at", "12"]
KILLS = 5
_BEGUN_S, _END_S = 60.0, 120.0


def _start(out: Path, log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.drive_evaluation", *ASKED, *FORCED, "--out", str(out)]
    with log.open("ab") as opened:
        return subprocess.Popen(command, cwd=ROOT, stdout=opened, stderr=opened, start_new_session=True)


def _shards(out: Path) -> int:
    return len(list((out / "shards").glob("*.parquet")))


def _wait_for_more(process: subprocess.Popen[bytes], out: Path, log: Path) -> bool:
    """Return True once there is a shard more; False if the evaluation has ended before."""
    before, began = _shards(out), time.monotonic()
    while _shards(out) <= before:
        if process.poll() is not None:
            return False
        assert time.monotonic() - began < _BEGUN_S, log.read_text()
        time.sleep(0.02)
    return True


def test_kills_and_a_stop_lose_and_repeat_nothing(tmp_path: Path) -> None:
    quiet, hurt, log, rng = tmp_path / "quiet", tmp_path / "hurt", tmp_path / "log", random.Random(3)
    killed = 0
    for number in range(KILLS + 1):
        process = _start(hurt, log)
        if not _wait_for_more(process, hurt, log):
            break
        time.sleep(rng.random() * 0.4)
        process.send_signal(signal.SIGTERM if number == KILLS else signal.SIGKILL)
        code = process.wait(_END_S)
        assert code in (-signal.SIGKILL, 75), log.read_text()
        killed += code == -signal.SIGKILL
    assert killed >= 3
    # One question fails for good, and is said to.
    assert _start(hurt, log).wait(_END_S) == 1, log.read_text()
    assert _start(quiet, tmp_path / "quiet.log").wait(_END_S) == 1
    assert bytes_of(hurt / "EVAL_DATA") == bytes_of(quiet / "EVAL_DATA")
    lost = [json.loads((run / "failed.json").read_text()) for run in (hurt, quiet)]
    assert lost[0] == lost[1]  # in the order in which they failed
