"""List columns of Arrow tables: their first items, lists with some items left out; and blank texts."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def is_list(type_: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_list(type_) or types.is_large_list(type_) or types.is_fixed_size_list(type_))


def lengths(lists: pa.Array) -> np.ndarray:
    """Return the number of items of each list, int64; 0 for no list."""
    return np.asarray(pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False), dtype=np.int64)


def owners(lists: pa.Array) -> np.ndarray:
    """Return for each of `lists.flatten()` the place of its list."""
    return np.repeat(np.arange(len(lists)), lengths(lists))


def as_lists(column: pa.Array) -> pa.Array:
    """Return the column itself where it holds lists; else each value as a list of it, and no value as no list."""
    if is_list(column.type):
        return column
    return pa.ListArray.from_arrays(pa.array(range(len(column) + 1), pa.int32()), column, mask=column.is_null())


def first_items(lists: pa.Array) -> pa.Array:
    """Return item 0 of each list; null for a list without items and for no list."""
    if (lengths(lists) == 1).all():
        return lists.flatten()  # without a copy
    return pc.list_element(pc.list_slice(lists, 0, 1, return_fixed_size_list=True), 0)


def kept_items(lists: pa.Array, keep: np.ndarray) -> pa.Array:
    """Return the lists with only the items for which `keep`, one bool for each of `lists.flatten()`, is true.

    No list becomes a list without items.
    """
    if keep.all() and not lists.null_count:
        return lists
    counts = np.bincount(owners(lists)[keep], minlength=len(lists))
    offsets = pa.array(np.concatenate(([0], np.cumsum(counts))), pa.int32())
    return pa.ListArray.from_arrays(offsets, lists.flatten().filter(pa.array(keep)))


def is_blank(texts: pa.Array) -> pa.Array:
    """Return whether each text is empty or white space alone; null for no text."""
    return pc.or_(pc.equal(texts, ""), pc.utf8_is_space(texts))
