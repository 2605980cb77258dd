"""The files of SFT_DATA, which supervised training reads: the traces as parquet, dataset_info.json, analysis.json.

Knows columns and files; not how traces are made.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assembly.summary import MESSAGES, SFT_COLUMNS, SFT_SCHEMA, Summary
from cluster.jobs.atomic import check_replaceable
from cluster.jobs.card import Split
from cluster.jobs.progress import follow
from cluster.paths import check_dataset_folder

DATASET_NAME = "skillfactory"
"""What LLaMA-Factory's `dataset:` says; the key in dataset_info.json, which names the folder of all files."""
_DATASET_INFO = "dataset_info.json"
ROWS_PER_FILE = 50_000
ROWS_PER_GROUP = 1_000
Map = Callable[..., Iterator[Any]]
"""As the built-in `map`, perhaps in other processes; results come in order."""


class BucketTraces(NamedTuple):
    """The traces of a bucket's questions: rows of schema SFT_SCHEMA, in order, in a file."""

    path: Path
    labels: list[tuple[str, str]]
    """(format, label) of each."""
    scores: list[int]
    """A random number for each if a subsample is asked for; it takes the smallest."""
    counts: Summary


def check_destination(out: Path, raw: str | Path) -> None:
    """Raise ValueError unless an SFT_DATA can be put there: nothing yet, an empty folder, or a former one."""
    check_dataset_folder(out)
    if out.suffix == ".py":
        raise ValueError(f"{out}: `datasets` takes the name of a folder that ends in .py for a script; give another")
    try:
        source = Path(raw).resolve()
        if _is_sft_data(source):
            raise ValueError(f"{raw} is an SFT_DATA; give the RAW_DATA, or the run, that it was made from")
        if source.exists() and out.resolve() in (source, *source.parents):
            raise ValueError(f"{out} would be replaced, and holds the RAW_DATA to read; give another folder")
        check_replaceable(out)
        # the other folders of a run may be replaced too, but never by this one
        if out.exists() and any(out.iterdir()) and not _is_sft_data(out):
            raise ValueError(f"{out} holds something else than an SFT_DATA; give another folder")
    except OSError as error:
        raise ValueError(f"{out} cannot be used: {error.strerror}; give another folder") from error


def _is_sft_data(folder: Path) -> bool:
    try:
        return DATASET_NAME in json.loads((folder / _DATASET_INFO).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def write_sft(map_: Map, made: Sequence[BucketTraces], subsample: int | None, summary: Summary, folder: Path) -> Split:
    """Write all files of SFT_DATA but its card, and count in the summary; `map_` may use other processes."""
    kept = choose_traces(made, subsample)
    files = [kept[first : first + ROWS_PER_FILE] for first in range(0, len(kept), ROWS_PER_FILE)]
    paths = [folder / "data" / f"train-{place:05}-of-{len(files):05}.parquet" for place in range(len(files))]
    (folder / "data").mkdir()
    memory = 0
    write = partial(_write_file, buckets=[(bucket.path, len(bucket.labels)) for bucket in made])
    for counts, nbytes in follow(map_(write, paths, files), len(files), "writing", "parts"):
        memory += nbytes
        summary.extend(counts)
    assert summary.traces.total() == len(kept), "traces were lost"
    (folder / _DATASET_INFO).write_bytes(resources.files("assembly").joinpath(_DATASET_INFO).read_bytes())
    analysis = json.dumps(summary.as_json(), indent=2, ensure_ascii=False)
    (folder / "analysis.json").write_text(f"{analysis}\n", encoding="utf-8")
    return Split.of(len(kept), memory, paths)


def choose_traces(made: Sequence[BucketTraces], subsample: int | None) -> np.ndarray:
    """Return the places of the traces that are kept, in order, among those of all buckets.

    A subsample takes of each label its share, by largest remainders.
    """
    labels = [label for bucket in made for label in bucket.labels]
    if subsample is None or subsample >= len(labels):
        return np.arange(len(labels))
    counts = dict(sorted(Counter(labels).items()))
    shares = {label: subsample * count // len(labels) for label, count in counts.items()}
    by_remainder = sorted(counts, key=lambda label: -(subsample * counts[label] % len(labels)))
    for label in by_remainder[: subsample - sum(shares.values())]:
        shares[label] += 1
    kept = []
    for place in np.argsort([score for bucket in made for score in bucket.scores], kind="stable").tolist():
        if shares[labels[place]]:
            shares[labels[place]] -= 1
            kept.append(place)
    return np.sort(np.array(kept, np.int64))


def _write_file(path: Path, places: np.ndarray, *, buckets: Sequence[tuple[Path, int]]) -> tuple[Summary, int]:
    """Write one parquet file; return what is in it, and its bytes as Arrow tables."""
    memory, counts = 0, Summary()
    # No two traces are the same text: a dictionary of them would be as large as they are.
    words = [column.name for column in SFT_COLUMNS if column.type != MESSAGES]
    with pq.ParquetWriter(path, SFT_SCHEMA, compression="zstd", write_statistics=False, use_dictionary=words) as writer:
        for first in range(0, len(places), ROWS_PER_GROUP):
            rows = read_traces(places[first : first + ROWS_PER_GROUP], buckets)
            memory += rows.nbytes
            texts = pc.list_flatten(rows["conversations"]).combine_chunks().field("content").to_pylist()
            for text, row in zip(texts[1::2], rows.drop_columns("conversations").to_pylist(), strict=True):
                counts.add(row, text)
            writer.write_table(rows)
    return counts, memory


def read_traces(places: np.ndarray, buckets: Sequence[tuple[Path, int]]) -> pa.Table:
    """Return the traces at these places, which are in order; `buckets` are files and how many traces each holds."""
    tables, start = [], 0
    for path, count in buckets:
        inside = places[(start <= places) & (places < start + count)] - start
        start += count
        if len(inside):
            with pa.memory_map(str(path)) as file:
                tables.append(pa.ipc.open_file(file).read_all().take(inside))
    # A copy of their own, so that their bytes in memory do not depend on which buckets they lay in.
    return pa.concat_tables(tables).take(np.arange(len(places))).combine_chunks()
