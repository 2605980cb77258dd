"""The files of SFT_DATA: traces of the buckets in which they were made, chosen among, and written split by split.

Knows columns and places, not how traces are made.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assembly.layouts import LAYOUTS, written_in
from assembly.selection import (
    MARKS,
    TRAIN,
    VALIDATION,
    Picked,
    Told,
    cut_at,
    pick,
    read_caps,
    read_weights,
)
from assembly.settings import SftSettings
from assembly.sft import (
    ANALYSIS,
    DATASET_INFO,
    DATASET_NAME,
    FOLDERS,
    SFT_COLUMNS,
    SFT_SCHEMA,
    VALIDATION_NAME,
    VERL_TOKENS,
    Summary,
    schema_in,
)
from cluster.jobs.card import Split
from cluster.jobs.progress import follow

TOKENS = "tokens"
_OF_BUCKETS = (pa.field(TOKENS, pa.int32()), *(MARKS.field(name) for name in ("score", "more", "side")))
BUCKET_SCHEMA = pa.schema([*SFT_SCHEMA, *_OF_BUCKETS])
"""Of the rows of a bucket, which know their length with the question, 0 if it was not counted, and MARKS."""
ROWS_PER_FILE, ROWS_PER_GROUP = 50_000, 1_000
Map = Callable[..., Iterator[Any]]  # like the built-in `map`, but perhaps in other processes; results are in order


class BucketTraces(NamedTuple):
    """The traces of a bucket's questions: rows of BUCKET_SCHEMA, in order, in an Arrow file."""

    path: Path  # with the suffix .pairs, a file of its pairs, if these are asked for
    labels: list[tuple[str, str]]  # (format, label) of each
    counts: Summary


class Chosen(NamedTuple):
    """The traces that are kept."""

    places: Mapping[str, np.ndarray]  # sorted indices, int64, among those of all buckets, by split
    told: Told
    cut: float  # questions whose side is below it are held out; 0 without a split

    @property
    def all(self) -> np.ndarray:
        """Return the sorted indices, int64, of all splits."""
        return np.sort(np.concatenate([*self.places.values()]))


def choose_traces(made: Sequence[BucketTraces], settings: SftSettings) -> Chosen:
    """Return the traces to keep among those of all buckets, by split. Raises ValueError as cut_at does."""
    count = sum(len(bucket.labels) for bucket in made)
    picked = Picked(np.arange(count), Told())
    if settings.scored:
        weights, caps = read_weights(settings.weights), read_caps(settings.cap)
        picked = pick(_columns(made, MARKS.names), weights, caps, settings.subsample)
    if settings.validation is None or not len(picked.places):
        return Chosen({TRAIN: picked.places}, picked.told, 0.0)
    sides = _columns(made, ["side"])["side"].to_numpy()[picked.places]
    cut, flag = cut_at(sides, settings.validation), f"--validation {settings.validation:g}"
    held = sides < cut
    for split, of in ((TRAIN, ~held), (VALIDATION, held)):
        picked.told[flag, f"questions in {split}, the same ones counted once"] = len(np.unique(sides[of]))
        picked.told[flag, f"traces in {split}"] = int(of.sum())
    return Chosen({TRAIN: picked.places[~held], VALIDATION: picked.places[held]}, picked.told, cut)


def _columns(made: Sequence[BucketTraces], names: Sequence[str]) -> pa.Table:
    """Return these columns of all buckets."""
    tables = [BUCKET_SCHEMA.empty_table().select(names)]
    for bucket in made:
        with pa.memory_map(str(bucket.path)) as file:
            tables.append(pa.ipc.open_file(file).read_all().select(names))
    return pa.concat_tables(tables)


def write_sft(
    map_: Map,
    made: Sequence[BucketTraces],
    kept: Mapping[str, np.ndarray],
    settings: SftSettings,
    summary: Summary,
    *,
    folder: Path,
) -> list[Split]:
    """Write all files of SFT_DATA but its card, and add to the summary; `map_` may use other processes.

    `kept` has the sorted indices, int64, of the traces of each split.
    """
    buckets = [(bucket.path, len(bucket.labels)) for bucket in made]
    write = partial(_write_file, buckets=buckets, settings=settings)
    splits = [_write_split(map_, write, split, places, folder) for split, places in kept.items()]
    for _, counts in splits:
        summary.extend(counts)
    assert summary.traces.total() == sum(map(len, kept.values())), "traces were lost"
    if (taken := LAYOUTS[settings.layout].takes) is not None:
        if settings.system is not None and "tags" in taken:
            taken = {**taken, "tags": {**cast(Mapping[str, str], taken["tags"]), "system_tag": "system"}}
        names = {TRAIN: DATASET_NAME, VALIDATION: VALIDATION_NAME}
        info = {names[split]: {"file_name": FOLDERS[split], **taken} for split in kept}
        (folder / DATASET_INFO).write_text(f"{json.dumps(info, indent=2)}\n", encoding="utf-8")
    if settings.layout == "tokens":
        (folder / VERL_TOKENS).write_bytes(resources.files("assembly").joinpath(VERL_TOKENS).read_bytes())
    analysis = json.dumps(summary.as_json(), indent=2, ensure_ascii=False)
    (folder / ANALYSIS).write_text(f"{analysis}\n", encoding="utf-8")
    return [split for split, _ in splits]


def _write_split(
    map_: Map, write: Callable[..., Summary], split: str, places: np.ndarray, folder: Path
) -> tuple[Split, Summary]:
    files = [places[first : first + ROWS_PER_FILE] for first in range(0, len(places), ROWS_PER_FILE)]
    name, summary = FOLDERS[split], Summary()
    paths = [folder / name / f"{split}-{place:05}-of-{len(files):05}.parquet" for place in range(len(files))]
    (folder / name).mkdir()
    for counts in follow(map_(write, paths, files), len(files), "writing", "parts"):
        summary.extend(counts)
    return Split(len(places), summary.memory, paths, split, f"{name}/{split}-*"), summary


def _write_file(
    path: Path, places: np.ndarray, *, buckets: Sequence[tuple[Path, int]], settings: SftSettings
) -> Summary:
    counts, schema, turns = Summary(), schema_in(settings), 2 if settings.system is None else 3
    laid_out = written_in(settings.layout, settings.chat())
    # Texts of traces are distinct, so a dictionary would be as large as they are.
    words = [column.name for column in SFT_COLUMNS[1:]]
    with pq.ParquetWriter(path, schema, compression="zstd", write_statistics=False, use_dictionary=words) as writer:
        for first in range(0, len(places), ROWS_PER_GROUP):
            rows = read_traces(places[first : first + ROWS_PER_GROUP], buckets)
            texts = pc.list_flatten(rows["conversations"]).combine_chunks().field("content").to_pylist()
            told = rows.drop_columns("conversations").to_pylist()
            rows = rows.drop_columns([one.name for one in _OF_BUCKETS])
            counts.memory += rows.nbytes
            for question, text, row in zip(texts[turns - 2 :: turns], texts[turns - 1 :: turns], told, strict=True):
                counts.add(row, question, text)
            writer.write_table(laid_out(rows).cast(schema))
    return counts


def read_traces(places: np.ndarray, buckets: Sequence[tuple[Path, int]]) -> pa.Table:
    """Return the traces at these sorted indices; `buckets` has each file with its number of traces."""
    tables, start = [], 0
    for path, count in buckets:
        inside = places[(start <= places) & (places < start + count)] - start
        start += count
        if len(inside):
            with pa.memory_map(str(path)) as file:
                tables.append(pa.ipc.open_file(file).read_all().take(inside))
    # Copy, so that their size in memory does not depend on the buckets.
    return pa.concat_tables(tables).take(np.arange(len(places))).combine_chunks()
