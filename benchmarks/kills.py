"""Kills the job at moments drawn from a seed, many times, and counts what survived.

`python -m benchmarks.kills STATE [KILLS] [SECONDS] [SCENE]` goes on after the last course that STATE, a JSON-lines
file, holds, until so many kills are in it or the time is up, and prints the table.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests import family
from tests.crashes import Course, Runner, Victim, quiet_run
from tests.nodes import INSIDE, make_nodes, run_inside

SCENES: dict[str, dict[str, Any]] = {
    "scripted": {
        "engine": "scripted",
        "kills": 30,
        "questions": 400,
        "kinds": {"actor": 14, "driver": 3, "write": 2, "raylet": 1},
    },
    "growing": {
        "engine": "scripted",
        "kills": 12,
        "questions": 120,
        "kinds": {"driver": 4, "write": 4, "actor": 4},
        "grows": True,
    },
    "nodes": {
        "engine": "scripted",
        "kills": 53,
        "questions": 530,
        "kinds": {"node": 4, "driver": 4, "write": 4, "actor": 6},
    },
    "vllm": {
        "engine": "vllm",
        "kills": 4,
        "questions": 16,
        "silence_s": 240.0,
        "kinds": {"core": 3, "worker": 3, "driver": 1, "actor": 2},
        "at_the_end": (),
    },
    "hosted": {
        "engine": "hosted",
        "kills": 4,
        "questions": 16,
        "silence_s": 240.0,
        "kinds": {"core": 3, "driver": 2},
        "at_the_end": (),
    },
}


def course(scene: str, seed: int, kills: int) -> Course:
    """The course of a scene with this seed, of no more kills than these."""
    told = SCENES[scene]
    return Course(seed=seed, **{**told, "kills": min(kills, told["kills"])})


def run_course(scene: str, one: Course, quiet: Path, folder: Path) -> dict[str, Any]:
    """Take one run directory through its course; its report."""
    if not (quiet / "run" / "RAW_DATA").exists():
        quiet_run(one, quiet)
    nodes = make_nodes(folder / "nodes") if scene == "nodes" else None
    try:
        if nodes:
            nodes.start(0)
            nodes.start(1)
        return {"scene": scene, **Runner(one, Victim(one, folder, nodes), say).run(quiet).record()}
    finally:
        if nodes:
            nodes.close()


def say(line: str) -> None:
    print(f"  {time.strftime('%H:%M:%S')} {line}", flush=True)


def load(state: Path, scene: str) -> list[dict[str, Any]]:
    lines = state.read_text().splitlines() if state.exists() else []
    return [one for one in map(json.loads, lines) if one["scene"] == scene]


def table(reports: list[dict[str, Any]]) -> str:
    """What survived, by kind of kill, and what it cost."""
    kills: Counter[str] = Counter()
    safe: Counter[str] = Counter()
    for report in reports:
        kills.update(report["kills"])
        safe.update(report["kills"] if report["survived"] else {})
    lines = [f"{kind:<10}{count:>6} kills{safe[kind]:>6} survived" for kind, count in sorted(kills.items())]
    lines.append(f"{'in all':<10}{kills.total():>6} kills{safe.total():>6} survived, {len(reports)} runs")
    for name in ("lost", "twice", "differing", "again", "left", "hung"):
        lines.append(f"{name:<10}{sum(report[name] for report in reports):>6}")
    lines.append(f"{'seconds':<10}{sum(report['seconds'] for report in reports):>8.0f}")
    return "\n".join(lines)


def main(state: str, kills: str = "2000", seconds: str = "3600", scene: str = "scripted") -> None:
    family.adopt_orphans()
    deadline = time.monotonic() + float(seconds)
    file = Path(state)
    with tempfile.TemporaryDirectory(prefix="kills-", dir="/tmp") as scratch:
        while True:
            reports = load(file, scene)
            left = int(kills) - sum(sum(one["kills"].values()) for one in reports)
            if left <= 0 or time.monotonic() > deadline:
                break
            seed = 1 + max((one["seed"] for one in reports), default=0)
            folder = Path(scratch, f"run-{seed}")
            report = run_course(scene, course(scene, seed, left), Path(scratch, "quiet"), folder)
            print(json.dumps(report), flush=True)
            with file.open("a") as lines:
                lines.write(json.dumps(report) + "\n")
            if report["survived"]:
                shutil.rmtree(folder)
            else:
                shutil.move(folder, file.with_suffix(f".{scene}-{seed}"))
    print(table(reports))


if __name__ == "__main__":
    if sys.argv[-1] == "nodes" and INSIDE not in os.environ:
        sys.exit(run_inside([sys.executable, "-m", "benchmarks.kills", *sys.argv[1:]]))
    main(*sys.argv[1:])
