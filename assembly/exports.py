"""The folder that supervised training reads: SFT_DATA, for LLaMA-Factory.

A complete dataset repository. Knows columns and files; not how traces are made.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assembly.buckets import BucketTraces
from assembly.cards import MESSAGES, SFT_COLUMNS, SFT_SCHEMA, sft_card
from assembly.settings import SftSettings
from assembly.summary import AssemblySummary, Contents, Shown
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

Limits = Mapping[tuple[str, str], int]
"""The largest score that is kept of each (format, label)."""


class Slice(NamedTuple):
    """Neighbouring traces of a bucket, by their places among those kept."""

    path: Path
    start: int
    end: int


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
    limits = score_limits(made, settings.subsample)
    files = plan_files(made, limits)
    (folder / "data").mkdir(parents=True, exist_ok=True)
    paths = [folder / "data" / f"train-{place:05}-of-{len(files):05}.parquet" for place in range(len(files))]
    memory = 0
    written = map_(_write_file, paths, files, [limits] * len(files))
    for contents, nbytes in follow(written, len(files), "writing", "parts"):
        memory += nbytes
        summary.add(contents)
    assert summary.traces.total() == sum(one.end - one.start for slices in files for one in slices), "traces were lost"
    # the folder and not a file in it, so that a set of several files is read whole
    info = {
        DATASET_NAME: {
            "file_name": "data",
            "formatting": "sharegpt",
            "columns": {"messages": "conversations"},
            "tags": {
                "role_tag": "role",
                "content_tag": "content",
                "user_tag": "user",
                "assistant_tag": "assistant",
            },
        }
    }
    _write_json(folder / _DATASET_INFO, info)
    _write_json(folder / ANALYSIS, summary.analysis.as_json())
    split = Split.of(summary.traces.total(), memory, paths)
    (folder / "README.md").write_text(sft_card(summary, settings, split), encoding="utf-8")


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def score_limits(made: Sequence[BucketTraces], subsample: int | None) -> Limits:
    """Return the largest score that is kept of each label; every trace is where no subsample is asked for.

    Of each label its share, by largest remainders.
    """
    scores: dict[tuple[str, str], list[np.ndarray]] = defaultdict(list)
    for bucket in made:
        for label, found in bucket.scores.items():
            scores[label].append(found)
    ranked = {label: np.sort(np.concatenate(found)) for label, found in sorted(scores.items())}
    total = sum(map(len, ranked.values()))
    wanted = total if subsample is None else min(subsample, total)
    shares = {label: wanted * len(found) // total for label, found in ranked.items()}
    by_remainder = sorted(ranked, key=lambda label: (-(wanted * len(ranked[label]) % total), label))
    for label in by_remainder[: wanted - sum(shares.values())]:
        shares[label] += 1
    return {label: int(found[shares[label] - 1]) if shares[label] else -1 for label, found in ranked.items()}


def plan_files(made: Sequence[BucketTraces], limits: Limits) -> list[list[Slice]]:
    """Return what goes into each file of the set, in order; one file without any where no trace is kept."""
    files: list[list[Slice]] = [[]]
    room = ROWS_PER_FILE
    for bucket in made:
        kept = sum(int((found <= limits[label]).sum()) for label, found in bucket.scores.items())
        start = 0
        while start < kept:
            if not room:
                files.append([])
                room = ROWS_PER_FILE
            end = min(kept, start + room)
            files[-1].append(Slice(bucket.path, start, end))
            room -= end - start
            start = end
    return files


def _write_file(path: Path, slices: Sequence[Slice], limits: Limits) -> tuple[Contents, int]:
    """Write one parquet file; return what is in it, and its bytes as Arrow tables."""
    memory, contents = 0, Contents()
    # No two traces are the same text: a dictionary of them would be as large as they are.
    words = [column.name for column in SFT_COLUMNS if column.type != MESSAGES]
    with pq.ParquetWriter(path, SFT_SCHEMA, compression="zstd", write_statistics=False, use_dictionary=words) as writer:
        for rows in read_groups(slices, limits):
            memory += rows.nbytes
            _count(rows, contents)
            writer.write_table(rows)
    return contents, memory


def read_groups(slices: Sequence[Slice], limits: Limits) -> Iterator[pa.Table]:
    """Yield the kept traces of the slices, of schema SFT_SCHEMA, ROWS_PER_GROUP at a time."""
    # Each is a copy of its own, so that its bytes in memory do not depend on where the traces lay.
    left = SFT_SCHEMA.empty_table()
    for one in slices:
        with pa.memory_map(str(one.path)) as file:
            rows = pa.ipc.open_file(file).read_all()
        if pc.max(rows["score"]).as_py():  # all are zero where every trace is kept
            keys = zip(rows["format"].to_pylist(), rows["sft_template_type_idx"].to_pylist(), strict=True)
            keep = [score <= limits[key] for key, score in zip(keys, rows["score"].to_pylist(), strict=True)]
            rows = rows.filter(pa.array(keep, pa.bool_()))
        left = pa.concat_tables([left, rows.slice(one.start, one.end - one.start).drop_columns("score")])
        while left.num_rows >= ROWS_PER_GROUP:
            yield left.take(np.arange(ROWS_PER_GROUP)).combine_chunks()
            left = left.slice(ROWS_PER_GROUP)
    if left.num_rows:
        yield left.take(np.arange(left.num_rows)).combine_chunks()


def _count(rows: pa.Table, contents: Contents) -> None:
    texts = rows["conversations"].combine_chunks().flatten().field("content")
    answers = texts.take(pa.array(range(1, 2 * rows.num_rows, 2), pa.int64()))
    lengths = pc.utf8_length(answers).to_pylist()
    known = rows.select(["format", "sft_template_type_idx", "task", "variants", "faults"])
    for answer, length, row in zip(answers, lengths, known.to_pylist(), strict=True):
        contents.traces[row["format"], row["sft_template_type_idx"]] += 1
        contents.analysis.add(row, answer.as_py)
        # a card's reader wants one with a retry, without a fault, and short
        rank = (len(row["variants"]) < 2, bool(row["faults"]), length)
        if contents.shown is None or rank < contents.shown.rank:
            contents.shown = Shown(rank, answer.as_py())
