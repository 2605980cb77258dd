"""A RAW_DATA to which reflections were added: its folder, and its README.md."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.jobs.atomic import replace_folder
from cluster.jobs.card import About, Size, code, fenced, header, table
from cluster.jobs.job import Job
from cluster.jobs.progress import ONLY_RETRIED, AllFailedError
from generation.raw.card import held, made_sections
from generation.raw.counts import RawCounts, Serving, count_folder
from generation.raw.reader import models_of, open_parts
from generation.raw.schema import COLUMNS as OURS
from generation.raw.schema import RAW_DATA
from reflection.added.plan import AdditionPlan
from reflection.added.rows import ADDED, COLUMNS, write_files

_NO_MEANING = "as it was given"


def write_reflected(plan: AdditionPlan, job: Job, serving: Serving) -> RawCounts:
    """Write RAW_DATA/: the rows given, in their order and files, with what was made for each.

    Raises AllFailedError where every block has failed, TornShardError where a shard cannot be read.
    """
    failed = job.failed
    if not job.store.finished():
        why = next(iter(failed.values()))
        raise AllFailedError(f"all {plan.source.rows:,} rows failed: {why}", ONLY_RETRIED)
    counted: list[RawCounts] = []

    def build(folder: Path) -> None:
        write_files(plan.source, job.store, folder / "data", plan.sampling)
        counts = count_folder(folder, serving.add)
        assert counts.all().samples == plan.source.rows, "rows were lost on the way"
        for key, reason in failed.items():
            counts.kept[reason] += plan.size(key)
        counted.append(counts)
        card = reflected_card(counts, serving, plan, folder, record=job.directory.record)
        (folder / "README.md").write_text(card, encoding="utf-8")

    replace_folder(build, plan.out / RAW_DATA)
    return counted[0]


def reflected_card(
    counts: RawCounts, serving: Serving, plan: AdditionPlan, folder: Path, *, record: Mapping[str, Any]
) -> str:
    """The whole README.md of the folder, whose data files are written; `record` is the run's run.json."""
    size = Size.of(counts.all().samples, counts.memory, counts.files)
    schema = pq.read_schema(next(iter(sorted(folder.glob("data/*.parquet")))))
    models = [*models_of(open_parts(folder)), plan.model.name]
    tags = ["skillfactory", "self-distillation", "reasoning"]
    about = About(tags, [*dict.fromkeys(models)], plan.license, [plan.source.origin.repository])
    return "\n".join(
        [
            header(schema, size, about),
            f"# RAW_DATA-{plan.name}\n",
            f"The samples of {code(plan.source.name)}, with {plan.work.reflections} more reflections by "
            f"{code(plan.model.name)} on each that is known to be right or wrong\n(SkillFactory, arXiv 2512.04072). "
            "Rows, their order and every other column are as they were given.\n",
            *_missing(counts),
            "## What it holds now\n",
            *held(counts, serving),
            "## Columns\n",
            _columns(schema),
            f"Who wrote samples, and reflections that are not of {code(ADDED)}, is said by the other columns.\n",
            "## How the reflections were made\n",
            fenced(json.dumps(plan.configuration, indent=2, sort_keys=True), "json"),
            *made_sections(record),
            "## How to load it\n",
            'Run this in the folder that holds this file, or give the folder\'s path for `"."`:\n',
            fenced('from datasets import load_dataset\n\nrows = load_dataset(".", split="train")', "python"),
            *_given(plan.source.card),
        ]
    )


def _given(card: str) -> list[str]:
    """What the card of the rows said, as a text: its own links and frames mean nothing here."""
    return ["## The card that the rows came with\n", fenced(card.rstrip(), "markdown")] if card.strip() else []


def _missing(counts: RawCounts) -> list[str]:
    if not counts.kept:
        return []
    return [
        "Rows that could not be done, and stay as they were:\n",
        table(("reason", "rows"), [(code(reason), count) for reason, count in counts.kept.most_common(20)]),
    ]


def _columns(schema: pa.Schema) -> str:
    meanings = {column.name: column.meaning for column in (*OURS, *COLUMNS)}
    meanings["model"] = "the model that wrote samples and first reflections"
    rows = [(code(field.name), code(str(field.type)), meanings.get(field.name, _NO_MEANING)) for field in schema]
    return table(("column", "type", "meaning"), rows)
