"""A RAW_DATA to which reflections were added: its folder, and its README.md."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.errors import AllFailedError
from cluster.jobs.atomic import replace_folder
from cluster.jobs.card import Split, code, fenced, fill_card, header, json_block
from cluster.jobs.job import Job
from cluster.jobs.progress import ONLY_RETRIED
from generation.raw import schema
from generation.raw.counts import RawCounts, count_folder
from generation.raw.report import TAGS, held, made_sections, reasons_table
from generation.raw.schema import Column, columns_table
from reflection.added.plan import AdditionPlan
from reflection.added.rows import ADDED, COLUMNS, write_files


def write_reflected(
    plan: AdditionPlan, job: Job, look: Callable[[pa.Table], None], served: Callable[[Sequence[str]], str]
) -> RawCounts:
    """Write RAW_DATA/: the rows given, in their order and files, with what was made for each; `look` is shown them.

    `served` tells of tasks which trace formats they can serve, for the card.
    Raises AllFailedError where every block has failed, TornShardError where a shard cannot be read.
    """
    failed = job.failed
    if not job.store.finished():
        why = next(iter(failed.values()))
        raise AllFailedError(f"all {plan.source.rows:,} rows failed: {why}", ONLY_RETRIED)
    counted: list[RawCounts] = []

    def build(folder: Path) -> None:
        write_files(plan.source, job.store, folder / "data", plan.sampling)
        counts = count_folder(folder, look)
        assert counts.all().samples == plan.source.rows, "rows were lost on the way"
        for key, reason in failed.items():
            counts.kept[reason] += plan.size(key)
        counts.served = served(sorted(counts.tasks))
        counted.append(counts)
        card = reflected_card(counts, plan, job.record)
        (folder / "README.md").write_text(card, encoding="utf-8")

    replace_folder(build, plan.out / schema.RAW_DATA)
    return counted[0]


def reflected_card(counts: RawCounts, plan: AdditionPlan, record: Mapping[str, Any]) -> str:
    """Return the README.md of the files that were counted; `record` is the run's run.json."""
    written = pq.read_schema(counts.files[0])
    meanings = {column.name: column.meaning for column in (*schema.COLUMNS, *COLUMNS)}
    meanings["model"] = "the model that wrote samples and first reflections"
    columns = [Column(field.name, field.type, meanings.get(field.name, "as it was given")) for field in written]
    split = Split(counts.all().samples, counts.memory, counts.files)
    origin = plan.source.origin
    models = dict.fromkeys([*origin.models, plan.model.name])
    # what the card of the rows said stands as a text: its own links and frames mean nothing here
    given = fenced(origin.card.rstrip(), "markdown")
    values = {
        "header": header(written, [split], tags=TAGS, license=plan.license, models=models, sources=[origin.repository]),
        "name": plan.name,
        "source": code(plan.source.name),
        "reflections": str(plan.work.reflections),
        "model": code(plan.model.name),
        "kept": reasons_table("Rows that could not be done, and stay as they were:", ("reason", "rows"), counts.kept),
        "held": held(counts, lost=False),
        "columns": columns_table(columns),
        "added": code(ADDED),
        "configuration": json_block(plan.configuration),
        "given": f"## The card that the rows came with\n\n{given}" if origin.card.strip() else "",
        **made_sections(record),
    }
    return fill_card("reflection.added", values)
