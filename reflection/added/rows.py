"""Write RAW_DATA with reflections added, all other columns and rows unchanged and new columns last; and its card."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cluster.jobs.atomic import replace_folder
from cluster.jobs.card import Split, code, fenced, fill_card, header, json_block
from cluster.jobs.job import Job
from cluster.jobs.store import ROW_GROUP_ROWS, WRITING, ShardStore
from generation.raw import schema
from generation.raw.counts import Look, RawCounts, Served, count_folder
from generation.raw.figures import opening
from generation.raw.files import Columns, reading
from generation.raw.reader import visible
from generation.raw.report import TAGS, held, lost_units, made_sections, reasons_table
from generation.raw.schema import (
    PROVENANCE,
    REFLECTIONS,
    REFLECTIONS_THOUGHT,
    as_lists,
    joined,
    lengths,
    lists_of,
    owners,
)
from reflection.added.plan import ROW, AdditionPlan
from reflection.added.source import ADDED, ADDITION, COLUMNS, Source, block_keys, output_schema
from reflection.verdict import parse_verdicts


def write_reflected(plan: AdditionPlan, job: Job, look: Look, served: Served) -> RawCounts:
    """Write RAW_DATA/ with the new reflections. Raises AllFailedError if no block was done, TornShardError."""
    lost, counted = lost_units(plan, job), list[RawCounts]()

    def build(folder: Path) -> None:
        write_files(plan.source, job.store, folder / "data", schema.sampling_record(plan.sampling))
        counts = count_folder(folder, look, served)
        assert counts.rows == plan.source.rows, "rows were lost on the way"
        counts.kept = lost
        counted.append(counts)
        (folder / "README.md").write_text(reflected_card(counts, plan, job.record), encoding="utf-8")

    replace_folder(build, plan.out / schema.RAW_DATA)
    return counted[0]


def write_files(source: Source, store: ShardStore, data: Path, sampling: Mapping[str, Any]) -> None:
    """Write each given file again, its rows extended, one row group at a time. Raises TornShardError, ValueError."""
    data.mkdir()
    for number, file in enumerate(source.files):
        row = 0
        path = data / f"train-{number:05d}-of-{len(source.files):05d}.parquet"
        with reading(file.path):
            written = output_schema(pq.read_schema(file.path), file.path)
        with pq.ParquetWriter(path, written, **WRITING) as writer, pq.ParquetFile(file.path) as opened:
            for batch in opened.iter_batches(ROW_GROUP_ROWS):
                end = row + batch.num_rows
                made = store.read([key for key in block_keys(number, row, end) if key in store.finished()])
                places = pc.index_in(pa.array(range(row, end)), made[ROW])
                ours = _grown(batch, file.columns, made.take(places), sampling)
                arrays = [ours[one.name].cast(one.type) if one.name in ours else batch[one.name] for one in written]
                writer.write_table(pa.Table.from_arrays(arrays, schema=written), row_group_size=batch.num_rows)
                row = end
        assert row == file.rows, "a row was lost"


def _grown(batch: pa.RecordBatch, columns: Columns, made: pa.Table, sampling: Mapping[str, Any]) -> dict[str, pa.Array]:
    """Return our columns of a batch, each list extended by what was made for its row, if anything."""
    count = batch.num_rows
    there: dict[str, pa.Array] = {
        name: _wider(as_lists(batch[name]), type_) if name in batch.schema.names else pa.array([[]] * count, type_)
        for name, type_, _ in COLUMNS
    }
    if REFLECTIONS_THOUGHT not in batch.schema.names:
        counts = lengths(there[REFLECTIONS])
        there[REFLECTIONS_THOUGHT] = lists_of(pa.nulls(int(counts.sum()), pa.string()), counts)
    if PROVENANCE not in batch.schema.names:
        right = as_lists(batch[columns["is_correct"]])
        there[PROVENANCE] = _unknown_origins(there[REFLECTIONS], schema.first_items(right).cast(pa.int8()))
    (new,) = made.combine_chunks().to_batches()
    counts = lengths(new[REFLECTIONS])
    facts = {name: new[name] for name in schema.WRITER}
    facts |= {"first": lengths(there[REFLECTIONS]), "count": counts, "sampling": [sampling] * count}
    parts = [pa.array(facts[one.name]).cast(one.type) for one in ADDITION]
    entries = pa.StructArray.from_arrays(parts, fields=list(ADDITION))
    with_any = counts > 0
    additions = lists_of(entries.filter(pa.array(with_any)), with_any)
    more = {name: new[name] for name in (REFLECTIONS, REFLECTIONS_THOUGHT, PROVENANCE)} | {ADDED: additions}
    return {name: joined(lists, more[name]) for name, lists in there.items()}


def _wider(lists: pa.Array, type_: pa.DataType) -> pa.Array:
    """Return the lists with a type of ours, which may have more fields than an earlier version wrote."""
    if lists.type.value_type.equals(type_.value_type) or not pa.types.is_struct(type_.value_type):
        return lists.cast(type_)
    return lists_of(schema.widened(lists.flatten(), type_.value_type), lengths(lists), lists.is_null())


def _unknown_origins(lists: pa.Array, right: pa.Array) -> pa.Array:
    """Return the provenance of reflections as far as it can be told from their texts."""
    verdicts = parse_verdicts(visible(pc.fill_null(lists.flatten(), "")))
    known = {
        "verdict": pa.array([None, "Incorrect", "Correct"]).take(pa.array(verdicts + 1)),
        "valid": verdicts == pc.fill_null(right, -2).to_numpy()[owners(lists)],
    }
    fields = list(schema.REQUESTS[PROVENANCE])
    entries = [pa.array(known[one.name]) if one.name in known else pa.nulls(len(verdicts), one.type) for one in fields]
    return lists_of(pa.StructArray.from_arrays(entries, fields=fields), lengths(lists))


def reflected_card(counts: RawCounts, plan: AdditionPlan, record: Mapping[str, Any]) -> str:
    """Return the README.md of the counted files, and write its plots; `record` is the run's run.json."""
    written = pq.read_schema(counts.files[0])
    meanings = {column.name: column.meaning for column in (*schema.COLUMNS, *COLUMNS)}
    meanings["model"] = "the model that wrote samples and first reflections"
    columns = [schema.Column(field.name, field.type, meanings.get(field.name, "as it was given")) for field in written]
    split = Split(counts.rows, counts.memory, counts.files)
    origin = plan.source.origin
    models = dict.fromkeys([*origin.models, *plan.model.names])
    # the card that came with the rows is quoted: its links and header mean nothing here
    given = fenced(origin.card.rstrip(), "markdown")
    values = {
        "header": header(written, [split], tags=TAGS, license=plan.license, models=models, sources=[origin.repository]),
        "name": plan.name,
        "source": code(plan.source.name),
        "reflections": str(plan.work.reflections),
        "model": code(plan.model.full_name),
        **opening(counts),
        "kept": reasons_table("Rows that could not be done, and stay as they were:", ("reason", "rows"), counts.kept),
        "held": held(counts, lost=False),
        "columns": schema.columns_table(columns),
        "added": code(ADDED),
        "configuration": json_block(plan.configuration),
        "given": f"## The card that the rows came with\n\n{given}" if origin.card.strip() else "",
        **made_sections(record),
    }
    return fill_card("reflection.added", values)
