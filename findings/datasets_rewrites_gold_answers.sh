#!/usr/bin/env bash
# Guess: the JSON loader keeps a column of answers as the file has them, since JSON has types; only CSV must guess.
# Seen (datasets 5.2.0, pyarrow 26.0.1, Python 3.11): JSON's answers change, too, without a word.
#   "2020-01-01" in JSON becomes a datetime, in CSV it stays a text; 7 beside 2.5 becomes 7.0, in both;
#   12345678901234567 is exact beside null and becomes 1.2345678901234568e+16 beside 0.5; an integer of 30 digits
#   becomes a float even alone; in CSV, 007 becomes 7 and NA becomes None.
# A grader that compares texts, or exact numbers, then has another gold answer than the file.
# Exits with 1 when any of this changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check 'datasets==5.2.0' 'pyarrow==26.0.1'
HF_HUB_OFFLINE=1 HF_HOME="$work/home" env/bin/python - <<'PY'
from datetime import datetime
from pathlib import Path

import datasets

datasets.disable_progress_bars()

JSON = {
    "a date": (['"2020-01-01"', '"2021-05-06"'], [datetime(2020, 1, 1), datetime(2021, 5, 6)]),
    "7 beside 2.5": (["7", "2.5"], [7.0, 2.5]),
    "17 digits beside null": (["12345678901234567", "null"], [12345678901234567, None]),
    "17 digits beside 0.5": (["12345678901234567", "0.5"], [1.2345678901234568e16, 0.5]),
    "30 digits": (["123456789012345678901234567890"], [1.2345678901234568e29]),
    "12:30": (['"12:30"'], ["12:30"]),
}
CSV = {
    "a date": (["2020-01-01"], ["2020-01-01"]),
    "leading zeros": (["007", "12"], [7, 12]),
    "NA": (["NA", "3"], [None, 3.0]),
    "a fraction": (["1/2", "3"], ["1/2", "3"]),
}
wrong = []
for kind, table in (("json", JSON), ("csv", CSV)):
    for name, (cells, expected) in table.items():
        lines = [f'{{"answer": {cell}}}' for cell in cells] if kind == "json" else ["answer", *cells]
        path = Path(f"{len(list(Path().iterdir()))}.{kind}")
        path.write_text("\n".join(lines) + "\n")
        seen = datasets.load_dataset(kind, data_files=str(path), split="train")["answer"][:]
        print(f"{kind:<5} {name:<22} {cells} -> {seen}")
        if repr(seen) != repr(expected):
            wrong.append((kind, name, seen))
assert not wrong, wrong
PY
