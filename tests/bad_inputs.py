"""The table of bad inputs: one file for each kind of fault, a line each, and what a line needs to be tried.

A line has `command`, `argv`, and `says`, the words that the one line on stderr must hold. What must lie in the
working folder stands in `files` (a text, or a list of rows for .jsonl and .parquet), `models` (a name, and what
differs from the built-in model's folder: a JSON object is merged, a text replaces, null removes) and `raw` (a
name, and rows of a published RAW_DATA as [question, response, is_correct]). `why` says what went wrong without.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from generation.builtin import MODEL
from tests.assembly_rows import published_row, write_parquet

FOLDER = Path(__file__).parent / "tables" / "bad_inputs"


class BadInput(NamedTuple):
    """One wrong command line."""

    command: str
    argv: list[str]
    says: list[str]
    why: str = ""
    files: dict[str, Any] = {}  # noqa: RUF012 - nobody changes it
    models: dict[str, dict[str, Any]] = {}  # noqa: RUF012
    raw: dict[str, list[tuple[str, str, bool | None]]] = {}  # noqa: RUF012
    environment: dict[str, str] = {}  # noqa: RUF012


def bad_inputs() -> list[tuple[str, BadInput]]:
    """Every line of every file, by a name that is shown when it fails."""
    found = []
    for path in sorted(FOLDER.glob("*.jsonl")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            found.append((f"{path.stem}:{number}", BadInput(**json.loads(line))))
    return found


def lay_out(one: BadInput, folder: Path) -> None:
    """Make the files that the line needs."""
    for name, content in one.files.items():
        _write(folder / name, content)
    for name, changes in one.models.items():
        make_model(folder / name, changes)
    for name, rows in one.raw.items():
        published = [published_row(question, response, correct) for question, response, correct in rows]
        write_parquet(folder / name / "data" / "train-00000-of-00001.parquet", published)


def make_model(folder: Path, changes: Mapping[str, Any]) -> None:
    """The built-in model's folder, with other files."""
    shutil.copytree(MODEL, folder)
    for name, change in changes.items():
        path = folder / name
        if change is None:
            path.unlink()
        elif isinstance(change, dict):
            before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
            path.write_text(json.dumps(before | change), encoding="utf-8")
        else:
            path.write_text(change, encoding="utf-8")


def _write(path: Path, content: str | Sequence[Mapping[str, Any]] | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if content is None:
        path.mkdir()
    elif isinstance(content, str):
        path.write_text(content, encoding="utf-8")
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(list(content)), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")
