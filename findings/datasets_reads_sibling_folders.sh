#!/usr/bin/env bash
# Guess: load_dataset("NAME"), where a folder of exactly that name exists, reads that folder and no other.
# Seen (datasets 5.2.0, Python 3.11): the name of an existing folder is taken for a pattern. A folder called
# `run?1` is read together with its sibling `runX1`; one called `run[12]` is not read, its sibling `run1` is; and
# one with `::` in its name, a chain of fsspec's, is said to hold no data. No warning in any of these.
# Braces, which fsspec knows as well, change nothing.
# Exits with 1 when any of this changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check 'datasets==5.2.0'
HF_HUB_OFFLINE=1 HF_HOME="$work/home" env/bin/python - <<'PY'
import json
from pathlib import Path

import datasets

datasets.disable_progress_bars()


def put(name):
    folder = Path(name, "data")
    folder.mkdir(parents=True)
    (folder / "train-00000-of-00001.jsonl").write_text(json.dumps({"lies_in": name}) + "\n")


def read(name):
    try:
        return sorted(datasets.load_dataset(name, split="train")["lies_in"][:])
    except Exception as error:
        return type(error).__name__


for name in ("run?1", "runX1", "run[12]", "run1", "a::b", "c{1,2}"):
    put(name)
seen = {name: read(name) for name in ("run?1", "run[12]", "a::b", "c{1,2}")}
for name, rows in seen.items():
    print(f"load_dataset({name!r}) reads {rows}")
assert seen == {
    "run?1": ["run?1", "runX1"],
    "run[12]": ["run1"],
    "a::b": "EmptyDatasetError",
    "c{1,2}": ["c{1,2}"],
}, seen
PY
