#!/usr/bin/env bash
# Guess: load_dataset("json", data_files="log.jsonl") gives a row for each line, whatever keys the lines have.
# Seen (datasets 5.2.0, Python 3.11): two lines of a log with a text `type` and a `message` that is a text in one and an
# object in the other are taken for the session of a coding agent: it stops with an ImportError for a package that it
# does not require, `teich`. The same lines are read where `type` is called `kind`, with parse_agent_traces=False, or
# where the features are named beforehand, as a card does: what a loader sees of a file depends on its card.
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
LINES = [
    {"type": "info", "message": "started"},
    {"type": "error", "message": {"code": 3, "text": "no room"}},
]
for key in ("type", "kind"):
    lines = ({key: line["type"], "message": line["message"]} for line in LINES)
    Path(f"{key}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def read(name, **given):
    try:
        return len(datasets.load_dataset("json", data_files=f"{name}.jsonl", split="train", **given))
    except Exception as error:
        while error.__cause__ is not None:
            error = error.__cause__
        return f"{type(error).__name__}: {error}"


features = datasets.Features({"type": datasets.Value("string"), "message": datasets.Json()})
seen = {
    "type": read("type"),
    "kind": read("kind"),
    "parse_agent_traces=False": read("type", parse_agent_traces=False),
    "features": read("type", features=features),
}
for name, found in seen.items():
    print(f"{name}: {found}")
assert "teich" in str(seen.pop("type"))
assert seen == {"kind": 2, "parse_agent_traces=False": 2, "features": 2}, seen
PY
