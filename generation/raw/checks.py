"""What is looked at in a RAW_DATA before its rows are used: copies of rows, and rows with several responses.

Reads small columns only; memory holds eight bytes a row.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from generation.raw.arrow_lists import first_items, is_list, lengths
from generation.raw.files import reading
from generation.raw.reader import Part
from generation.raw.schema import SAMPLE_PROVENANCE

_SAMPLE = ("question_key", "prompt_variant", "sample_index")
"""What tells a sample of a run from its others."""
_BATCH_ROWS = 65_536
_ODD = np.uint64(0x9E3779B97F4A7C15)


def check_copies(raw: str | Path, parts: Sequence[Part]) -> None:
    """Raise ValueError where two rows are one sample, in a RAW_DATA whose rows say which sample they are.

    Rows of two runs may agree in that: they are copies where also response, seed and model are the same.
    """
    files = {part.path: (*_SAMPLE, part.columns["response"], "model", SAMPLE_PROVENANCE) for part in parts}
    if not _first_twice(dict.fromkeys(files, _SAMPLE)) or not (places := _first_twice(files)):
        return
    (first, told), (second, _) = _told(files, places)
    raise ValueError(f"{raw}: holds the same rows twice, e.g. {told}: {first} and {second}")


def _first_twice(files: Mapping[Path, Sequence[str]]) -> tuple[int, ...]:
    """The places, among all rows, of the first row that there is twice by these columns, and of its copy."""
    hashes = [_hashes(batch, names) for path, names in files.items() for _, batch in _samples(path, names)]
    every = np.concatenate([np.empty(0, np.uint64), *hashes])
    order = np.argsort(every, kind="stable")
    same = np.flatnonzero(every[order[1:]] == every[order[:-1]])
    if not len(same):
        return ()
    one = same[np.argmin(order[same])]
    return int(order[one]), int(order[one + 1])


def _told(files: Iterable[Path], places: Collection[int]) -> Iterator[tuple[str, str]]:
    """Of rows by their places among all: where each lies, and which sample it is."""
    before = 0
    for path in files:
        for first, batch in _samples(path, _SAMPLE):
            for place in (place - before for place in places if before <= place < before + batch.num_rows):
                key, variant, index = (batch[name][place].as_py() for name in _SAMPLE)
                yield f"row {first + place:,} of {path.name}", f"sample {index} of question {key!r} under {variant!r}"
            before += batch.num_rows


def _samples(path: Path, names: Sequence[str]) -> Iterator[tuple[int, pa.RecordBatch]]:
    """These columns, with the place of their first row; nothing of a file that does not name its samples."""
    row = 0
    with reading(path, lambda: row), pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        named = all(schema.names.count(name) == 1 for name in _SAMPLE)
        if not (named and pa.types.is_integer(schema.field(_SAMPLE[-1]).type)):
            return
        leaves = [f"{name}.seed" if name == SAMPLE_PROVENANCE else name for name in names]
        for batch in file.iter_batches(_BATCH_ROWS, columns=leaves):
            yield row, batch
            row += batch.num_rows


def _hashes(batch: pa.RecordBatch, names: Sequence[str]) -> np.ndarray:
    """One uint64 a row, the same for rows of the same values; only within this process."""
    hashes = np.zeros(batch.num_rows, np.uint64)
    for name in names:
        hashes *= _ODD
        if name in batch.schema.names:
            hashes += _values(batch.column(batch.schema.names.index(name)))
    return hashes


def _values(column: pa.Array) -> np.ndarray:
    """A uint64 for each value: an integer itself, a hash of a text; of a list its first, of a struct its only one."""
    if pa.types.is_struct(column.type):
        column = column.flatten()[0]
    if is_list(column.type):
        column = first_items(column)
    if pa.types.is_integer(column.type):
        return np.asarray(pc.fill_null(column.cast(pa.int64(), safe=False), -1).to_numpy().view(np.uint64))
    texts = pc.fill_null(column.cast(pa.string()), "").dictionary_encode()
    hashes = np.fromiter(map(hash, texts.dictionary.to_pylist()), np.int64, len(texts.dictionary))
    return np.asarray(hashes.view(np.uint64)[texts.indices.to_numpy()])


def notes_on_responses(parts: Sequence[Part]) -> list[str]:
    """A note on rows with several responses, of which the first is read; none where there is no such row."""
    rows = sum(map(_several, parts))
    if not rows:
        return []
    return [f"{rows:,} row{' holds' if rows == 1 else 's hold'} several responses; the first of each is used"]


def _several(part: Part) -> int:
    """Rows of a part with more than one response; mostly told from the file's footer alone."""
    name = part.columns["response"]
    with reading(part.path), pq.ParquetFile(part.path) as file:
        if not is_list(file.schema_arrow.field(name).type):
            return 0
        groups = [file.metadata.row_group(number) for number in part.groups]
        chunks = [group.column(place) for group in groups for place in range(group.num_columns)]
        if sum(chunk.num_values for chunk in chunks if chunk.path_in_schema.split(".")[0] == name) <= part.rows:
            return 0
        batches = file.iter_batches(_BATCH_ROWS, row_groups=list(part.groups), columns=[name])
        return sum(int((lengths(batch.column(0)) > 1).sum()) for batch in batches)
