"""The README.md of a RAW_DATA folder, from what its files really hold.

Knows the columns of RAW_DATA and nothing of how the rows came to be but what they say themselves.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from generation.dataset_card import Size, code, fenced, header, table
from generation.raw_data import COLUMNS, SCHEMA, SCHEMA_VERSION
from generation.records import WITHOUT_ANSWER

_COUNTED = ["question_key", "prompt_variant", "outcome", "outcome_reason", "mentions_hint"]
_COUNTED += ["reflections__provenance", "sample__provenance"]
_REASONS = 20
_FATES = ("right", "wrong", "no answer", "undecided")


@dataclass
class RawCounts:
    """What a RAW_DATA folder holds."""

    samples: int = 0
    memory: int = 0
    """Bytes as Arrow tables."""
    files: int = 0
    """Bytes of the parquet files."""
    questions: set[str] = field(default_factory=set)
    fates: dict[str, Counter[str]] = field(default_factory=dict)
    """By variant: right, wrong, no answer, undecided."""
    failed: int = 0
    """Samples whose request failed."""
    hinted: int = 0
    """Samples that mention their hint."""
    verdicts: Counter[str | None] = field(default_factory=Counter)
    """Correct, Incorrect, or None without a verdict."""
    valid: int = 0
    """Reflections whose verdict is right."""
    lost: Counter[str] = field(default_factory=Counter)
    """Questions that failed and so have no rows, by reason; not to be seen in the files."""


def count_folder(folder: Path) -> RawCounts:
    """Count the rows of `folder/data/*.parquet`, written in our schema, batch by batch."""
    counts = RawCounts()
    for path in sorted(folder.glob("data/*.parquet")):
        counts.files += path.stat().st_size
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                counts.memory += batch.nbytes
                for row in batch.select(_COUNTED).to_pylist():
                    _count(counts, row)
    return counts


def _count(counts: RawCounts, row: Mapping[str, Any]) -> None:
    counts.samples += 1
    counts.questions.add(row["question_key"])
    fate = row["outcome"]
    if fate == "unknown":
        fate = "no answer" if row["outcome_reason"] in WITHOUT_ANSWER else "undecided"
    counts.fates.setdefault(row["prompt_variant"], Counter())[fate] += 1
    counts.failed += row["sample__provenance"]["error"] is not None
    counts.hinted += row["mentions_hint"]
    for reflection in row["reflections__provenance"]:
        counts.verdicts[reflection["verdict"]] += 1
        counts.valid += reflection["valid"]


def raw_card(counts: RawCounts, configuration: Mapping[str, object], *, name: str = "RAW_DATA") -> str:
    """The whole README.md; `configuration` holds JSON values and is shown as it is."""
    size = Size(counts.samples, counts.memory, counts.files)
    tags = ["skillfactory", "self-distillation", "reasoning"]
    return "\n".join(
        [
            header(SCHEMA, size, tags=tags, base_models=[str(configuration.get("model", ""))]),
            f"# {name}\n",
            "Samples that a language model wrote for verifiable questions, each graded, each with the same "
            "model's\nreflections on it: the raw material of SkillFactory traces (arXiv 2512.04072). "
            "One row is one sample.\n",
            "## What it holds\n",
            _totals(counts),
            _by_variant(counts),
            *_failures(counts),
            "`No answer` is published as not correct, `undecided` as null; the reason is in `outcome_reason`.\n",
            "## Columns\n",
            f"Schema version {SCHEMA_VERSION}.\n",
            table(
                ("column", "type", "meaning"),
                [(code(column.name), code(str(column.type)), column.meaning) for column in COLUMNS],
            ),
            "## How it was made\n",
            fenced(json.dumps(configuration, indent=2, sort_keys=True), "json"),
            "## How to load it\n",
            'Run this in the folder that holds this file, or give the folder\'s path for `"."`:\n',
            fenced('from datasets import load_dataset\n\nrows = load_dataset(".", split="train")', "python"),
        ]
    )


def _totals(counts: RawCounts) -> str:
    reflections = counts.verdicts.total()
    return table(
        ("what", "count"),
        [
            ("questions", len(counts.questions)),
            ("questions that failed and have no rows", counts.lost.total()),
            ("samples", counts.samples),
            ("samples that mention their hint", counts.hinted),
            ("samples whose request failed", counts.failed),
            ("reflections", reflections),
            ("reflections that say Correct", counts.verdicts["Correct"]),
            ("reflections that say Incorrect", counts.verdicts["Incorrect"]),
            ("reflections without a verdict", counts.verdicts[None]),
            ("reflections whose verdict is right", counts.valid),
        ],
    )


def _by_variant(counts: RawCounts) -> str:
    rows = [
        (code(variant), fates.total(), *(fates[fate] for fate in _FATES))
        for variant, fates in sorted(counts.fates.items())
    ]
    return table(("variant", "samples", *_FATES), rows)


def _failures(counts: RawCounts) -> list[str]:
    if not counts.lost:
        return []
    rows = [(code(reason), count) for reason, count in counts.lost.most_common(_REASONS)]
    return ["Questions without rows:\n", table(("reason", "questions"), rows)]
