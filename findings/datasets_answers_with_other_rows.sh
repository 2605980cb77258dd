#!/usr/bin/env bash
# Guess: load_dataset(FOLDER) gives the rows that lie in the folder; its cache is told apart by path or by file.
# Seen (datasets 5.2.0, Python 3.11): where the folder's card has `configs:`, as every card on the hub may have, the
# cache is told apart by the last part of the path and by what the card's head says of configurations and sizes.
# A second folder of the same name with an equal head gives the first one's rows; so does the first folder after its
# file was written anew. A `description:` that differs in the configuration is enough to be told apart; a license
# or a text below the head is not.
# Exits with 1 when any of this changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check 'datasets==5.2.0'
HF_HUB_OFFLINE=1 HF_HOME="$work/home" env/bin/python - <<'PY'
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

datasets.disable_progress_bars()
HEAD = """---
{first}configs:
- config_name: default
{description}  data_files:
  - split: train
    path: data/train-*
---
"""


def put(where, value, *, first="", description="", below=""):
    folder = Path(where, "RL_DATA")
    (folder / "data").mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"value": [value]}), folder / "data" / "train-00000-of-00001.parquet")
    (folder / "README.md").write_text(HEAD.format(first=first, description=description) + below)


def read(where):
    return datasets.load_dataset(str(Path(where, "RL_DATA")), split="train")["value"][0]


put("one", "one")
put("two", "two")
put("licensed", "licensed", first="license: mit\n")
put("worded", "worded", below="# Another text\n")
put("described", "described", description="  description: another\n")
seen = {where: read(where) for where in ("one", "two", "licensed", "worded", "described")}
put("one", "one, written anew")
seen["one, written anew"] = read("one")
for lies_there, given in seen.items():
    print(f"a folder that holds {lies_there!r:<20} gives {given!r}")
assert seen == {
    "one": "one",
    "two": "one",
    "licensed": "one",
    "worded": "one",
    "described": "described",
    "one, written anew": "one",
}, seen
PY
