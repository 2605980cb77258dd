"""The rows of a run's RAW_DATA, read as its users read them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets import load_dataset

from generation.raw.counts import RawCounts
from generation.raw.report import raw_card


def rows_of(run: Path) -> list[dict[str, object]]:
    return list(load_dataset(str(run / "RAW_DATA"), split="train"))


def assert_whole(run: Path, *, questions: int, variants: int, samples: int) -> None:
    """Every row that is owed is there, once, in order."""
    rows = rows_of(run)
    keys = [(row["question_index"], row["prompt_variant"], row["sample_index"]) for row in rows]
    assert len(keys) == len(set(keys)) == questions * variants * samples
    assert keys == sorted(keys)
    assert {row["question_index"] for row in rows} == set(range(questions))


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Every file of a dataset folder, its card without the section that tells when and by what command."""
    files = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return files | {"README.md": re.sub(rb"## The run\n.*?(?=\n## )", b"", files["README.md"], flags=re.DOTALL)}


def card_of(counts: RawCounts, configuration: Mapping[str, Any]) -> str:
    return raw_card(counts, configuration, {}, name="RAW_DATA", license="unknown")
