"""Rate and peak memory of the assembly beside a script of the published shape, in turn on the same rows.

    python -m benchmarks.big_raw_data BIG --rows 1000000
    python -m benchmarks.assembly_rate BIG --turns 3

Each turn starts `python -m assembly.run` and `python -m benchmarks.published_shape` as processes of
their own, loading and all, and adds up the memory (PSS) of each process tree once a second.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq


class Measured(NamedTuple):
    seconds: float
    cpu_seconds: float
    """Of all its processes: what other work on the machine disturbs less."""
    peak_gib: float


def tree(root: int) -> list[int]:
    """The process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
    found = [root]
    for process in found:
        found += children.get(process, [])
    return found


def memory(root: int) -> int:
    """Bytes that the tree holds; what several processes share counts once."""
    total = 0
    for process in tree(root):
        with contextlib.suppress(OSError, StopIteration):
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
            total += int(next(line for line in lines if line.startswith("Pss:")).split()[1]) << 10
    return total


def measure(command: list[str]) -> Measured:
    started, before, peak = time.monotonic(), _cpu_seconds(), 0
    process = subprocess.Popen([sys.executable, "-m", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        peak = max(peak, memory(process.pid))
        time.sleep(1.0)
    assert process.returncode == 0, command
    return Measured(time.monotonic() - started, _cpu_seconds() - before, peak / 2**30)


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("raw", type=Path)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--ours_alone", action="store_true", help="where the other would not fit into memory")
    given = parser.parse_args()
    rows = sum(pq.read_metadata(path).num_rows for path in given.raw.glob("data/*.parquet"))
    rates: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        commands = {
            "assembly.run": ["assembly.run", "--raw", str(given.raw), "--out", f"{folder}/SFT_DATA"],
            "published shape": ["benchmarks.published_shape", str(given.raw), "--out", f"{folder}/published.parquet"],
        }
        for turn in range(given.turns):
            for name, command in list(commands.items())[: 1 if given.ours_alone else 2]:
                found = measure(command)
                rates.setdefault(name, []).append(rows / found.seconds)
                rate = f"{rows:,} rows in {found.seconds:.1f} s, {rows / found.seconds:,.0f} rows/s"
                told = f"{found.cpu_seconds:.1f} s of CPU, peak {found.peak_gib:.2f} GiB"
                print(f"turn {turn}: {name}: {rate}, {told}", flush=True)
    medians = {name: statistics.median(found) for name, found in rates.items()}
    if len(medians) == 2:
        print(f"ratio of medians: {medians['assembly.run'] / medians['published shape']:.1f}")


if __name__ == "__main__":
    main()
