"""List columns of Arrow tables: their first items, and lists with some items left out; and blank texts."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def is_list(type_: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_list(type_) or types.is_large_list(type_) or types.is_fixed_size_list(type_))


def first_items(lists: pa.Array) -> pa.Array:
    """Item 0 of each list; null for a list without items and for no list."""
    counts = lengths(lists)
    if (counts == 1).all():
        return lists.flatten()
    starts = np.cumsum(counts) - counts
    places = pa.array(starts, mask=counts == 0)
    return pc.take(lists.flatten(), places)


def kept_items(lists: pa.Array, keep: np.ndarray) -> pa.Array:
    """The lists with only the items for which `keep`, one bool for each of `lists.flatten()`, is true.

    No list becomes a list without items.
    """
    if keep.all() and not lists.null_count:
        return lists
    owners = np.repeat(np.arange(len(lists)), lengths(lists))
    counts = np.bincount(owners[keep], minlength=len(lists))
    offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), lists.flatten().filter(pa.array(keep)))


def is_blank(texts: pa.Array) -> pa.Array:
    """Whether each text is empty or white space alone; null for no text."""
    return pc.or_(pc.equal(texts, ""), pc.utf8_is_space(texts))


def as_lists(column: pa.Array) -> pa.Array:
    """The column itself where it holds lists; else each value as a list of it, and no value as no list."""
    if is_list(column.type):
        return column
    there = column.is_valid().to_numpy(zero_copy_only=False)
    offsets = pa.array(np.concatenate(([0], np.cumsum(there))), pa.int32())
    return pa.ListArray.from_arrays(offsets, column.drop_null(), mask=pa.array(~there))


def joined(first: pa.Array, second: pa.Array, type_: pa.DataType) -> pa.Array:
    """Row by row the items of both lists, as lists of this type; no list stays none where nothing is added."""
    values = pa.concat_arrays([lists.flatten().cast(type_.value_type) for lists in (first, second)])
    order = np.argsort(np.concatenate([owners(first), owners(second)]), kind="stable")
    counts = lengths(first) + lengths(second)
    none = pc.and_(first.is_null(), pa.array(lengths(second) == 0))
    large = pa.types.is_large_list(type_)
    offsets = pa.array(np.concatenate(([0], np.cumsum(counts))), pa.int64() if large else pa.int32())
    kind = pa.LargeListArray if large else pa.ListArray
    return kind.from_arrays(offsets, values.take(pa.array(order)), mask=none).cast(type_)


def owners(lists: pa.Array) -> np.ndarray:
    """For each of `lists.flatten()`, the place of its list."""
    return np.repeat(np.arange(len(lists)), lengths(lists))


def lengths(lists: pa.Array) -> np.ndarray:
    """Items of each list; 0 for no list."""
    return np.asarray(pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False), dtype=np.int64)
