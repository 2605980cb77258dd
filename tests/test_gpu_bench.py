"""The prepared run for a GPU: its budget, what is left of it when it is cut off, its table, its installation."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from benchmarks import gpu_engine
from benchmarks.gpu import BUDGET_S, Bench, Measurement, limit_of, measurements, on_the_cpu
from benchmarks.gpu_table import BENCH, DEFAULT_LENGTHS, JOB, VERY_REQUESTS, table
from cluster.flags import parse
from generation.settings import Settings

ROOT = Path(__file__).parent.parent
FAKE = """
import json, os, sys, time
from pathlib import Path
from cluster.jobs.atomic import atomic_write_text
told = json.loads(sys.argv[1])
found = {"figures": {"rate": {"unit": "tokens/s", "values": [7]}}, "facts": {"process": os.getpid()}}
atomic_write_text(Path(told["figures"]), json.dumps(found))
print("RuntimeError: no luck" if told["kind"] == "fails" else "well", flush=True)
time.sleep(600 if told["kind"] == "hangs" else 0)
sys.exit(told["kind"] == "fails")
"""
DRIVER = """
import sys
from pathlib import Path
from tests.test_gpu_bench import bench_of, fake
bench_of(Path(sys.argv[1])).run([fake("first", "ends"), fake("second", "hangs"), fake("third", "ends")])
"""
MACHINE = {
    "cores": 2,
    "memory_gib": 24.0,
    "system": "Linux",
    "python": "3.11",
    "packages": {"vllm": "1"},
    "commit": "c",
}
FACTS = {"begun": "now", "budget_s": 600.0, "stand_in": True, "machine": MACHINE}


def fake(name: str, kind: str, most_s: float = 60, *, need_s: float = 0, gpu_only: bool = False) -> Measurement:
    command = (sys.executable, "-c", FAKE)
    return Measurement(name, {"kind": kind}, 0, need_s, most_s, gpu_only=gpu_only, command=command)


def bench_of(out: Path) -> Bench:
    work = out / "work"
    work.mkdir(parents=True)
    return Bench(out, work, time.monotonic() + 100, FACTS)


def written(out: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((out / "gpu.json").read_text(encoding="utf-8"))
    return record


def timed(reserve_s: float, need_s: float, most_s: float) -> Measurement:
    return Measurement("", {}, reserve_s, need_s, most_s)


@pytest.mark.parametrize(
    ("left_s", "reserves", "limit"),
    [
        (600, [], 100),  # no more than it may take
        (70, [], 70),  # all that is left
        (29, [], None),  # less than it needs
        (600, [200, 340], 60),  # what the later ones leave
        (600, [200, 400], 50),  # but its own reserve, as nothing is sure to come of theirs
        (40, [200], 40),  # and no more than there is
        (20, [200], None),
    ],
)
def test_a_limit_leaves_the_reserves_of_what_comes_later(
    left_s: float, reserves: list[float], limit: float | None
) -> None:
    assert limit_of(left_s, timed(50, 30, 100), [timed(seconds, 0, 0) for seconds in reserves]) == limit


def test_the_reserves_fit_the_budget() -> None:
    assert sum(one.reserve_s for one in measurements()) < BUDGET_S - 20
    assert all(one.need_s <= max(one.reserve_s, one.need_s) <= one.most_s for one in measurements())
    assert sum(on_the_cpu(one).reserve_s for one in measurements()) < BUDGET_S / 1.5


@pytest.mark.parametrize(("number", "state"), [(signal.SIGKILL, "running"), (signal.SIGTERM, "cut off")])
def test_cut_off_in_the_middle_it_keeps_what_it_has(tmp_path: Path, number: signal.Signals, state: str) -> None:
    out = tmp_path / "out"
    # The handlers are main's.
    script = f"import signal\nfrom benchmarks.gpu import _cut\nsignal.signal(signal.SIGTERM, _cut)\n{DRIVER}"
    with subprocess.Popen([sys.executable, "-c", script, str(out)], cwd=ROOT) as process:
        deadline = time.monotonic() + 60
        entries: list[dict[str, Any]] = []
        while len(entries) < 2 or "process" not in entries[1].get("facts", {}):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
            entries = written(out)["measurements"] if (out / "gpu.json").exists() else []
        process.send_signal(number)
    first, second = written(out)["measurements"]
    assert (first["state"], second["state"]) == ("measured", state)
    assert written(out)["state"] == state
    for one in (first, second):
        assert one["figures"]["rate"]["values"] == [7]
    assert (out / "gpu.md").read_text(encoding="utf-8").count("| | rate | 7.0 tokens/s |  |") == 2
    while Path("/proc", str(second["facts"]["process"]), "cmdline").exists():
        assert time.monotonic() < deadline, "what was measured goes on alone"
        time.sleep(0.05)


def test_what_fails_is_told_and_the_next_goes_on(tmp_path: Path) -> None:
    asked = [
        fake("fails", "fails"),
        fake("hangs", "hangs", 8),
        fake("graphs", "ends", gpu_only=True),
        fake("long", "ends", 500, need_s=400),
        fake("ends", "ends"),
    ]
    bench_of(tmp_path / "out").run(asked)
    record = written(tmp_path / "out")
    told = [(one["name"], one["state"], one.get("cause", "").partition(" s ")[0]) for one in record["measurements"]]
    assert told[:3] == [
        ("fails", "failed", "RuntimeError: no luck"),
        ("hangs", "cut off", "its limit of 8 s"),
        ("graphs", "not on the CPU", ""),
    ]
    assert told[3][1] == "no time left"
    assert told[4:] == [("ends", "measured", "")]
    assert record["state"] == "done"
    assert record["measurements"][0]["log_tail"] == ["RuntimeError: no luck"]
    assert [one["name"] for one in record["measurements"] if "figures" in one] == ["fails", "hangs", "ends"]
    assert "\n    RuntimeError: no luck\n" in table(record)


def rates(name: str, **values: list[float]) -> dict[str, Any]:
    figures = {what.replace("_", " "): {"unit": "tokens/s", "values": found} for what, found in values.items()}
    return {"name": name, "state": "measured", "seconds": 30.2, "limit_s": 60, "figures": figures}


def test_the_table_holds_medians_and_ratios() -> None:
    of_new = {"seeded, 1024 sequences": [9_000.0, 11_000, 10_000], "unseeded, 1024 sequences": [12_500.0]}
    new, old = rates("new runner", **of_new), rates("old runner", **{"seeded, 1024 sequences": [5_000.0]})
    new["figures"][DEFAULT_LENGTHS] = {"unit": "tokens/s", "values": [18_000.0]}
    job = rates("whole job", **{JOB: [9_500.0], "tokens of a sample, mean": [290.0]})
    bare = rates("LLM.generate", **{VERY_REQUESTS: [9_400.0], BENCH: [10_000.0]})
    failed = {"name": "warm start", "state": "failed", "cause": "ValueError: a | b\nc", "log_tail": ["the end"]}
    gpu = {"name": "H", "driver_version": "580", "memory.total": "1", "memory.free": "1", "compute_cap": "9.0"}
    measured = {**FACTS, "stand_in": False, "state": "done", "machine": {**MACHINE, "gpu": gpu}}
    said = table({**measured, "measurements": [new, old, failed, job, bare]})
    for line in (
        "| | seeded, 1024 sequences | 10,000 tokens/s | 9,000, 11,000, 10,000 |",
        "| **warm start** | failed, ValueError: a / b c | | |",
        "| new runner, 1024 sequences: seeded over unseeded | 0.80 |  |",
        "| old runner over new runner: seeded, 1024 sequences | 0.50 |  |",
        f"| the job's generation over LLM.generate, {BENCH} | 0.95 | ≥ 0.95 |",
        f"| new runner, {DEFAULT_LENGTHS}, over 12,000 tokens/s | 1.50 | ≥ 1 on an H100 |",
    ):
        assert f"\n{line}\n" in said
    assert "stand-in" not in said
    told = table({**FACTS, "state": "running", "measurements": []})
    assert "stand-in" in told
    assert "over" not in told


def test_nothing_is_compared_that_was_not_measured() -> None:
    alone = rates("new runner", **{"seeded, 1024 sequences": [9_000.0]})
    assert "ratio" not in table(
        {**FACTS, "state": "running", "measurements": [alone, {"name": "x", "state": "running"}]}
    )


def test_the_lengths_are_those_of_the_default_job() -> None:
    asked = list(gpu_engine.default_requests(random.Random(0), 100, 1))
    samples = [length for prompt, length in asked if len(prompt) == 197]
    looks = [length for prompt, length in asked if len(prompt) == 460]
    assert (len(samples), len(looks)) == (6_400, 25_600)
    assert sum(samples) / len(samples) == pytest.approx(290, rel=0.03)
    assert set(looks) == {150}


@pytest.mark.parametrize("stand_in", [True, False])
def test_the_command_of_the_job_takes_its_flags(stand_in: bool, tmp_path: Path) -> None:
    spec = gpu_engine.Spec("job", "", 100, str(tmp_path), "", stand_in)
    settings = parse(Settings, gpu_engine.flags(spec, 20))
    assert settings.questions == 20
    assert settings.model == (None if stand_in else str(spec.model))


def test_wheels_are_installed_beside_what_python_has(tmp_path: Path) -> None:
    """And nothing is asked of an index: pip would not find what the wheel requires."""
    wheels, out = tmp_path / "wheels", tmp_path / "out"
    wheels.mkdir()
    with zipfile.ZipFile(wheels / "dashscope-0.0.7-py3-none-any.whl", "w") as wheel:
        about = "dashscope-0.0.7.dist-info"
        wheel.writestr("dashscope/__init__.py", "")
        needs = "Requires-Dist: what-no-index-has\n"
        wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: dashscope\nVersion: 0.0.7\n{needs}")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")
    command = ["bash", "benchmarks/gpu.sh", "--wheels", str(wheels), "--out", str(out), "--budget", "16", "--stand_in"]
    environment = {**os.environ, "PYTHON": sys.executable}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=100)
    assert ended.returncode == 0, ended.stderr
    record = written(out)
    assert record["machine"]["packages"]["dashscope"] == "0.0.7"
    assert {one["state"] for one in record["measurements"]} == {"not on the CPU", "no time left"}
    # What is there already is no other run's to overwrite.
    again = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=100)
    assert again.returncode == 2
    assert "give another --out" in again.stderr
    assert written(out) == record
