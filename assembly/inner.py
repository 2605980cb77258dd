"""Samples that are traces themselves: their inner attempts, as rows and reflections. Works on Arrow columns."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from generation.raw.reader import finals_of
from generation.raw.schema import joined, kept_items, lengths, lists_of, owners


def with_inner_reflections(rows: pa.Table) -> pa.Table:
    """Add to each sample the reflections, inside it, on the attempt that gives its answer; schema ROWS."""
    attempts = rows["attempts"].combine_chunks()
    if attempts.null_count == len(attempts):
        return rows
    said = _reflections(attempts.flatten()).take(finals_of(attempts))
    both = joined(rows["reflections"].combine_chunks(), said)
    return rows.set_column(rows.schema.get_field_index("reflections"), rows.schema.field("reflections"), both)


def unfolded(rows: pa.Table) -> pa.Table:
    """Return each inner attempt as a row of schema ROWS, with its own grade and reflections.

    A sample stays as a row before its attempts, unless one of them gives its answer, which then has its reflections. So
    does a retry, as only its whole answer follows what it saw.
    """
    attempts = rows["attempts"].combine_chunks()
    if attempts.null_count == len(attempts):
        return rows
    retries = rows["parent"].is_valid().to_numpy()
    attempts = attempts.take(pa.array(np.arange(len(attempts)), mask=retries))
    inner, of = attempts.flatten(), owners(attempts)
    finals = finals_of(attempts)
    is_final = pc.fill_null(pc.struct_field(inner, "final"), False).to_numpy(zero_copy_only=False)
    asked = rows["reflections"].combine_chunks().take(pa.array(np.where(is_final, of, 0), mask=~is_final))
    changed = {
        "response": pc.struct_field(inner, "text"),
        "extracted_answer": pc.struct_field(inner, "extracted"),
        **{name: pc.struct_field(inner, name) for name in ("is_correct", "outcome", "reason")},
        "cut": pa.array(np.zeros(len(inner), dtype=bool)),
        "reflections": joined(asked, _reflections(inner)),
        "attempts": pa.nulls(len(inner), attempts.type),
    }
    repeated = rows.take(pa.array(of))
    for name, values in changed.items():
        repeated = repeated.set_column(rows.schema.get_field_index(name), rows.schema.field(name), values)
    whole = np.flatnonzero(finals.is_null().to_numpy(zero_copy_only=False))
    order = np.argsort(np.concatenate([whole, of]), kind="stable")
    return pa.concat_tables([rows.take(pa.array(whole)), repeated]).take(pa.array(order))


def _reflections(attempts: pa.Array) -> pa.Array:
    """Return the texts of each attempt's reflections, but empty ones, as rows of RAW_DATA have them."""
    lists = pc.struct_field(attempts, "reflections")
    texts = pc.struct_field(lists.flatten(), "text")
    there = pc.fill_null(pc.not_equal(texts, ""), False).to_numpy(zero_copy_only=False)
    return kept_items(lists_of(texts, lengths(lists)), there)
