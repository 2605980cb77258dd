"""Retries that may stand in a trace behind the wrong sample that they saw. Works on Arrow columns."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assembly.false_steps import cut_place
from generation.raw.reader import ROWS
from generation.raw.retries import variants_of
from generation.raw.schema import lists_of

RETRY = "a retry, which only formats with retries show"
NOT_MENDED = "a retry that does not give a right answer after a wrong one"
SEEN_LEFT_OUT = "a retry whose sample or reflection may not stand in a trace"

FIRST = pa.struct(
    {**dict.fromkeys(("variant", "response", "answer", "reflection"), pa.string()), "cut": pa.bool_()}
    | {"cut_place": pa.int32()}
)
"""The wrong sample that a retry saw, with the reflection on it; `cut_place` is where its first false step ends."""


def of_retries(
    batch: pa.RecordBatch, columns: Mapping[str, pa.Array], choose: Callable[[pa.Table], pa.Table], *, shown: bool
) -> dict[str, pa.Array]:
    """Return columns `first` and `left_out` of POOL, those of retries filled in, for a batch of schema ROWS.

    `columns` are the others; `choose` chooses samples. Retries are left out unless `shown`, as by a format with them.
    """
    places = np.flatnonzero(columns["is_retry"].to_numpy(zero_copy_only=False))
    retries = batch.take(pa.array(places))
    seen, none = retries["seen"], pa.nulls(len(places))
    # What was seen is chosen by the rules for any sample, with this reflection alone.
    changed = {
        "variant": variants_of(retries["parent"]),
        "response": pc.struct_field(seen, "sample"),
        "is_correct": pc.equal(pc.struct_field(seen, "outcome"), "right"),
        "reason": pa.array([""] * len(places)),
        "extracted_answer": pc.struct_field(seen, "answer"),
        "reflections": lists_of(pc.struct_field(seen, "reflection"), np.ones(len(places), dtype=np.int64)),
        **{name: pc.struct_field(seen, name) for name in ("outcome", "cut", "mentions_hint")},
        **dict.fromkeys(("thought", "attempts", "parent", "seen"), none),
    }
    values = [changed.get(name, retries[name]).cast(ROWS.field(name).type) for name in ROWS.names]
    first = choose(pa.Table.from_arrays(values, schema=ROWS))
    left_out = columns["left_out"].to_pylist()
    made: list[Mapping[str, Any] | None] = [None] * batch.num_rows
    told = first.to_pylist()
    for place, one, reflection in zip(
        places.tolist(), told, pc.struct_field(seen, "reflection").to_pylist(), strict=True
    ):
        if not left_out[place]:
            mends = columns["correct"][place].as_py() and not one["correct"]
            left_out[place] = NOT_MENDED if not mends else SEEN_LEFT_OUT if one["left_out"] else ""
        if not left_out[place]:
            made[place] = {**one, "reflection": reflection, "cut_place": cut_place(one["response"], reflection)}
        if not shown:
            left_out[place] = RETRY
    return {"left_out": pa.array(left_out, pa.string()), "first": _firsts(made)}


def _firsts(made: Sequence[Mapping[str, Any] | None]) -> pa.Array:
    names = [field.name for field in FIRST]
    return pa.array([one and {name: one[name] for name in names} for one in made], FIRST)
