"""The rows given and what was made for them, brought together file by file, in bounded memory."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cluster.inference.engine import Sampling
from cluster.jobs.atomic import replace_folder
from cluster.jobs.job import Job
from cluster.jobs.progress import ONLY_RETRIED, AllFailedError
from cluster.jobs.store import ROW_GROUP_ROWS, WRITING, ShardStore
from generation.raw.counts import RawCounts, Serving, count_folder
from generation.raw.files import reading
from generation.raw.reader import as_rows
from reflection.added.card import reflected_card
from reflection.added.plan import AdditionPlan
from reflection.added.rows import add, output_schema
from reflection.added.source import File, Source, keys_of_rows
from reflection.added.work import ROW


def write_files(source: Source, store: ShardStore, data: Path, sampling: Sampling) -> None:
    """A file `train-*.parquet` for each file given, with the same rows in the same order.

    Raises TornShardError where a shard cannot be read, ValueError where a file given cannot.
    """
    data.mkdir()
    for file in source.files:
        _write_file(file, store, data / f"train-{file.number:05d}-of-{len(source.files):05d}.parquet", sampling)


def _write_file(file: File, store: ShardStore, path: Path, sampling: Sampling) -> None:
    row = 0
    with reading(file.path):
        schema = output_schema(pq.read_schema(file.path), file.path)
    with pq.ParquetWriter(path, schema, **WRITING) as writer, pq.ParquetFile(file.path) as opened:
        for batch in opened.iter_batches(ROW_GROUP_ROWS):
            right = as_rows(batch, file.columns, file.path, row)["is_correct"].combine_chunks()
            rows = add(batch, right, _made(store, file, row, batch.num_rows), schema, sampling)
            writer.write_table(rows, row_group_size=rows.num_rows)
            row += batch.num_rows
    assert row == file.rows, "a row was lost"


def _made(store: ShardStore, file: File, first: int, count: int) -> pa.Table:
    """What was made for each of these rows; nothing for rows of failed blocks."""
    finished = store.finished()
    made = store.read([key for key in keys_of_rows(file, first, count) if key in finished])
    places = pa.array(range(first, first + count), pa.int64())
    return made.take(pc.index_in(places, value_set=made[ROW].combine_chunks()))


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
            counts.kept[reason] += plan.rows_of(key)
        counted.append(counts)
        card = reflected_card(counts, serving, plan, folder, record=job.directory.record)
        (folder / "README.md").write_text(card, encoding="utf-8")

    replace_folder(build, plan.raw_data)
    return counted[0]
