"""The folder that supervised training reads: SFT_DATA, for LLaMA-Factory.

A complete dataset repository. Knows columns and files; not how traces are made.
"""

import itertools
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assembly.analysis import Analysis
from assembly.buckets import BucketTraces
from assembly.cards import MESSAGES, SFT_COLUMNS, SFT_SCHEMA, AssemblySummary, sft_card
from assembly.settings import SftSettings
from cluster.jobs.atomic import check_replaceable
from cluster.jobs.card import Split
from cluster.jobs.progress import follow
from cluster.paths import check_dataset_folder

DATASET_NAME = "skillfactory"
"""What LLaMA-Factory's `dataset:` says; the key in dataset_info.json."""

ANALYSIS = "analysis.json"
_DATASET_INFO = "dataset_info.json"
ROWS_PER_FILE = 50_000
ROWS_PER_GROUP = 1_000

Rows = tuple[Path, np.ndarray]
"""A bucket's file, and the places of some of its traces in order."""


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


def write_sft(
    map_: Callable[..., Iterator[Any]],
    made: Sequence[BucketTraces],
    settings: SftSettings,
    summary: AssemblySummary,
    folder: Path,
) -> None:
    """Fill the folder with a whole SFT_DATA, and the summary with what is in it; `map_` may use other processes."""
    files = plan_files(made, settings.subsample)
    (folder / "data").mkdir(parents=True, exist_ok=True)
    paths = [folder / "data" / f"train-{place:05}-of-{len(files):05}.parquet" for place in range(len(files))]
    memory = 0
    for analysis, nbytes in follow(map_(_write_file, paths, files), len(files), "writing", "parts"):
        memory += nbytes
        summary.extend(analysis)
    assert summary.traces.total() == sum(len(places) for rows in files for _, places in rows), "traces were lost"
    # the folder and not a file in it, so that a set of several files is read whole
    info = {
        DATASET_NAME: {
            "file_name": "data",
            "formatting": "sharegpt",
            "columns": {"messages": "conversations"},
            "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"},
        }
    }
    _write_json(folder / _DATASET_INFO, info)
    _write_json(folder / ANALYSIS, summary.as_json())
    split = Split(summary.traces.total(), memory, paths)
    (folder / "README.md").write_text(sft_card(summary, settings, split), encoding="utf-8")


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def plan_files(made: Sequence[BucketTraces], subsample: int | None) -> list[list[Rows]]:
    """Return which traces go into each file of the set, in order; one file where there is none.

    A subsample takes of each label its share, by largest remainders.
    """
    starts = np.cumsum([0, *(bucket.traces for bucket in made)])
    labels: dict[tuple[str, str], list[np.ndarray]] = defaultdict(list)
    for bucket, start in zip(made, starts[:-1], strict=True):
        for label, found in bucket.labels.items():
            labels[label].append(found + np.array([start, 0]))
    whole = {label: np.concatenate(labels[label]) for label in sorted(labels)}
    ranked = {label: every[every[:, 1].argsort(), 0] for label, every in whole.items()}
    total = int(starts[-1])
    wanted = total if subsample is None else min(subsample, total)
    shares = {label: wanted * len(places) // total for label, places in ranked.items()}
    by_remainder = sorted(ranked, key=lambda label: -(wanted * len(ranked[label]) % total))
    for label in by_remainder[: wanted - sum(shares.values())]:
        shares[label] += 1
    kept = np.sort(np.concatenate([starts[:0], *(places[: shares[label]] for label, places in ranked.items())]))
    files = []
    for first in range(0, max(1, len(kept)), ROWS_PER_FILE):
        places = kept[first : first + ROWS_PER_FILE]
        bounds = itertools.pairwise(np.searchsorted(places, starts))
        of_bucket = [places[low:high] - start for (low, high), start in zip(bounds, starts[:-1], strict=True)]
        files.append([(bucket.path, rows) for bucket, rows in zip(made, of_bucket, strict=True) if len(rows)])
    return files


def _write_file(path: Path, files: Sequence[Rows]) -> tuple[Analysis, int]:
    """Write one parquet file; return what is in it, and its bytes as Arrow tables."""
    memory, analysis = 0, Analysis()
    # No two traces are the same text: a dictionary of them would be as large as they are.
    words = [column.name for column in SFT_COLUMNS if column.type != MESSAGES]
    with pq.ParquetWriter(path, SFT_SCHEMA, compression="zstd", write_statistics=False, use_dictionary=words) as writer:
        for rows in read_groups(files):
            memory += rows.nbytes
            texts = pc.list_flatten(rows["conversations"]).combine_chunks().field("content").to_pylist()
            for text, row in zip(texts[1::2], rows.drop_columns("conversations").to_pylist(), strict=True):
                analysis.add(row, text)
            writer.write_table(rows)
    return analysis, memory


def read_groups(files: Sequence[Rows]) -> Iterator[pa.Table]:
    """Yield the traces of one file of the set, ROWS_PER_GROUP at a time."""
    left = SFT_SCHEMA.empty_table()
    for path, places in files:
        with pa.memory_map(str(path)) as file:
            left = pa.concat_tables([left, pa.ipc.open_file(file).read_all().take(places)])
        while left.num_rows >= ROWS_PER_GROUP:
            yield _own_copy(left.slice(0, ROWS_PER_GROUP))
            left = left.slice(ROWS_PER_GROUP)
    if left.num_rows:
        yield _own_copy(left)


def _own_copy(table: pa.Table) -> pa.Table:
    """A copy of its own, whose bytes in memory do not depend on where the rows lay."""
    return table.take(np.arange(table.num_rows)).combine_chunks()
