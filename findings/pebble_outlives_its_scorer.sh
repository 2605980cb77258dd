#!/usr/bin/env bash
# A reward that may loop is run in a pebble.ProcessPool with a timeout, inside a scorer process of a
# concurrent.futures.ProcessPoolExecutor, as trainers run their scorers; where scoring takes too long, such a trainer
# ends its scorers with SIGTERM.
# Guess: a pool's worker dies with the process that holds the pool, or at the latest when its own timeout is over.
# Seen (pebble 5.2.3, Python 3.11, Linux; start methods fork and spawn): neither. The timeout is kept by the scorer,
# which is gone; the worker has lost its parent and goes on looping on a core until someone kills it. Nothing is said.
# Exits with 1 when this changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check 'pebble==5.2.3'
cat >scorer.py <<'PY'
import multiprocessing
import os
import signal
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from pebble import ProcessPool

TIMEOUT_S = 2


def loop():
    Path("worker").write_text(str(os.getpid()))
    while True:
        pass


def score(method):
    with ProcessPool(max_workers=1, context=multiprocessing.get_context(method)) as pool:
        try:
            pool.schedule(loop, timeout=TIMEOUT_S).result()
        except TimeoutError:
            return 0.0


def lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def trial(method, kill):
    """Whether the worker lives 4 s after its timeout, with the scorer killed while it waits for it or not."""
    Path("worker").unlink(missing_ok=True)
    executor = ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn"))
    executor.submit(score, method)
    while not Path("worker").exists() or not Path("worker").read_text():
        time.sleep(0.05)
    worker = int(Path("worker").read_text())
    if kill:
        for process in list(executor._processes.values()):
            os.kill(process.pid, signal.SIGTERM)
    time.sleep(TIMEOUT_S + 4)
    left = lives(worker)
    if left:
        os.kill(worker, signal.SIGKILL)
    executor.shutdown(wait=not kill)
    return left


if __name__ == "__main__":
    found = {(method, kill): trial(method, kill) for method in ("fork", "spawn") for kill in (False, True)}
    for (method, kill), left in found.items():
        print(f"{method:<6} scorer {'ended by SIGTERM' if kill else 'left alone':<17} worker {'lives on' if left else 'is gone'}")
    sys.exit(found != {(method, kill): kill for method in ("fork", "spawn") for kill in (False, True)})
PY
env/bin/python scorer.py
