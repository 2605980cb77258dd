"""Reflections chosen by the prompt that they were written under, as RAW_DATA tells it. Works on Arrow columns."""

from collections import Counter
from collections.abc import Collection, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assembly.selection import Told
from cluster.texts import nearest
from generation.raw.schema import PROVENANCE, as_lists, kept_items, lengths, owners, requests_in

_FLAG = "--reflection_prompts"


def only_under(
    batch: pa.RecordBatch, column: str | None, names: Collection[str], counts: Counter[str]
) -> pa.RecordBatch:
    """Return a batch of RAW_DATA with the reflections of these prompts alone, and count all of them by their prompt.

    `column` is that of the reflections, if there is one. Of a row whose reflections are not told apart, none is kept.
    """
    if column is None:
        return batch
    place = batch.schema.get_field_index(column)
    reflections = as_lists(batch.column(place))
    prompts = _prompts(batch, reflections)
    counts.update(prompts.to_pylist())
    keep = pc.is_in(prompts, pa.array([*names], pa.string())).to_numpy(zero_copy_only=False)
    return batch.set_column(place, column, kept_items(reflections, keep))


def _prompts(batch: pa.RecordBatch, reflections: pa.Array) -> pa.Array:
    """Return the name of the prompt of each reflection, "" if it is not told."""
    count = int(lengths(reflections).sum())
    unknown = pa.array([""] * count, pa.string())
    entries = requests_in(batch, PROVENANCE)
    if entries is None or entries.type.value_type.get_field_index("prompt_name") < 0:
        return unknown
    told = lengths(entries) == lengths(reflections)
    named = pc.fill_null(pc.struct_field(entries.flatten(), "prompt_name"), "").filter(pa.array(told[owners(entries)]))
    where = np.full(count, -1)
    where[told[owners(reflections)]] = np.arange(len(named))
    return pc.fill_null(named.take(pa.array(where, mask=where < 0)), "")


def check_there(wanted: Mapping[str, Collection[str]], counts: Counter[str], told: Told) -> None:
    """Count what is kept. Raises ValueError for a prompt, or a group of them, that no reflection names.

    `wanted` has the names of the prompts that each name asked for stands for, `counts` the reflections by their prompt.
    """
    named = sorted(filter(None, counts))
    for name, prompts in wanted.items():
        if counts.keys().isdisjoint(prompts):
            if not named:
                raise ValueError(f"{_FLAG} {name}: this RAW_DATA names no reflection prompts; leave {_FLAG} out")
            hint = "".join(f"; did you mean {near}?" for near in nearest(name, named))
            raise ValueError(
                f"{_FLAG} {name}: no reflection of the RAW_DATA is under it, only {', '.join(named)}{hint}"
            )
    kept = {prompt for prompts in wanted.values() for prompt in prompts}
    for name, count in sorted(counts.items()):
        what = f"under {name}" if name else "whose prompt is not known"
        told[_FLAG, f"reflections {'kept' if name in kept else 'left out'}, {what}"] = count
