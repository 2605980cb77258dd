"""The folder that supervised training reads: SFT_DATA, for LLaMA-Factory.

A complete dataset repository. Knows columns and files; not how traces are made.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assembly.cards import SFT_SCHEMA, sft_card
from assembly.piles import MadePile
from assembly.settings import SftSettings
from assembly.summary import AssemblySummary, Shown
from cluster.atomic import check_replaceable
from generation.dataset_card import Size

DATASET_NAME = "skillfactory"
"""What LLaMA-Factory's `dataset:` says; the key in dataset_info.json."""

ANALYSIS = "analysis.json"
_DATASET_INFO = "dataset_info.json"
ROWS_PER_FILE = 50_000


def check_destination(out: Path, raw: str | Path) -> None:
    """ValueError unless an SFT_DATA can be put there: nothing yet, an empty folder, or a former one."""
    try:
        source = Path(raw).resolve()
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
    made: Sequence[MadePile],
    kept: Mapping[tuple[str, str], int],
    summary: AssemblySummary,
    settings: SftSettings,
    folder: Path,
) -> None:
    """Fill the folder with a whole SFT_DATA: of each (format, label) the rows up to the score that is kept.

    The rows are counted in the summary as they pass.
    """
    total = sum(score <= kept[key] for pile in made for key, scores in pile.scores.items() for score in scores)
    size = _write_train(_kept_rows(made, kept, summary), total, folder)
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
    (folder / "README.md").write_text(sft_card(summary, settings, size), encoding="utf-8")


def _kept_rows(
    made: Sequence[MadePile], kept: Mapping[tuple[str, str], int], summary: AssemblySummary
) -> Iterator[pa.Table]:
    for pile in made:
        with pa.ipc.open_file(pile.path) as reader:
            for number in range(reader.num_record_batches):
                rows = pa.Table.from_batches([reader.get_batch(number)])
                keys = zip(rows["format"].to_pylist(), rows["sft_template_type_idx"].to_pylist(), strict=True)
                scores = zip(keys, rows["score"].to_pylist(), strict=True)
                keep = [score <= kept[key] for key, score in scores]
                rows = rows.filter(pa.array(keep, pa.bool_())).drop_columns(["score"])
                _count(rows, summary)
                yield rows


def _count(rows: pa.Table, summary: AssemblySummary) -> None:
    contents = rows["conversations"].combine_chunks().flatten().field("content")
    answers = contents.take(pa.array(range(1, 2 * rows.num_rows, 2), pa.int64()))
    lengths = pc.utf8_length(answers).to_pylist()
    names = ("format", "sft_template_type_idx", "variants", "faults")
    for row, values in enumerate(zip(*(rows[name].to_pylist() for name in names), strict=True)):
        format_, label, variants, faults = values
        summary.traces[format_, label] += 1
        summary.analysis.add(label, variants, faults, partial(_text, answers, row))
        # a card's reader wants one with a retry, and short
        rank = (len(variants) < 2, lengths[row])
        if summary.shown is None or rank < summary.shown.rank:
            summary.shown = Shown(rank, _text(answers, row))


def _text(texts: pa.Array, place: int) -> str:
    found: Any = texts[place].as_py()
    return str(found)


def _write_train(tables: Iterable[pa.Table], total: int, folder: Path) -> Size:
    """`data/train-…-of-….parquet` in the folder; one file also where there is no row."""
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    count = max(1, -(-total // ROWS_PER_FILE))
    paths = [data / f"train-{number:05}-of-{count:05}.parquet" for number in range(count)]
    memory = written = 0
    with ExitStack() as opened:
        writers = [
            opened.enter_context(pq.ParquetWriter(path, SFT_SCHEMA, compression="zstd", write_statistics=False))
            for path in paths
        ]
        for rows in tables:
            memory, end = memory + rows.nbytes, written + rows.num_rows
            while written < end:
                part = rows.slice(rows.num_rows - (end - written), ROWS_PER_FILE - written % ROWS_PER_FILE)
                writers[written // ROWS_PER_FILE].write_table(part)
                written += part.num_rows
    assert written == total, f"{written} of {total} traces were written"
    return Size(total, memory, sum(path.stat().st_size for path in paths))


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
