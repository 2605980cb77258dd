"""The folder that supervised training reads: SFT_DATA, for LLaMA-Factory.

A complete dataset repository. Knows columns and files; not how traces are made.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assembly.cards import MESSAGES, SFT_COLUMNS, SFT_SCHEMA, sft_card
from assembly.merging import Span, kept_scores, plan_files, read_span
from assembly.piles import MadeRows
from assembly.progress import follow
from assembly.settings import SftSettings
from assembly.summary import AssemblySummary, Contents, Shown
from assembly.workers import Run
from cluster.jobs.atomic import check_replaceable
from cluster.jobs.card import Split
from cluster.paths import check_dataset_folder

DATASET_NAME = "skillfactory"
"""What LLaMA-Factory's `dataset:` says; the key in dataset_info.json."""

ANALYSIS = "analysis.json"
_DATASET_INFO = "dataset_info.json"


def check_destination(out: Path, raw: str | Path) -> None:
    """ValueError unless an SFT_DATA can be put there: nothing yet, an empty folder, or a former one."""
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
    run: Run, made: Sequence[MadeRows], settings: SftSettings, summary: AssemblySummary, folder: Path
) -> None:
    """Fill the folder with a whole SFT_DATA, and the summary with what is in it."""
    split = _write_train(run, made, settings.subsample, summary, folder)
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
    (folder / "README.md").write_text(sft_card(summary, settings, split), encoding="utf-8")


def _write_train(
    run: Run, made: Sequence[MadeRows], subsample: int | None, summary: AssemblySummary, folder: Path
) -> Split:
    """`data/train-…-of-….parquet` in the folder; one file also where there is no row."""
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    kept = kept_scores(made, subsample)
    files = plan_files(made, kept)
    paths = [data / f"train-{number:05}-of-{len(files):05}.parquet" for number in range(len(files))]
    calls = [(path, spans, kept) for path, spans in zip(paths, files, strict=True)]
    memory = 0
    for written in follow(run(_write_file, calls), len(calls), "writing"):
        memory += written.memory
        summary.add(written.contents)
    assert summary.traces.total() == sum(span.rows for spans in files for span in spans), "traces were lost"
    return Split.of(summary.traces.total(), memory, paths)


class _Written(NamedTuple):
    """What is in one file."""

    memory: int
    """Bytes of its rows in memory."""
    contents: Contents


def _write_file(path: Path, spans: Sequence[Span], kept: Mapping[tuple[str, str], int]) -> _Written:
    memory, contents = 0, Contents()
    # No two traces are the same text: a dictionary of them would be as large as they are.
    words = [column.name for column in SFT_COLUMNS if column.type != MESSAGES]
    with pq.ParquetWriter(path, SFT_SCHEMA, compression="zstd", write_statistics=False, use_dictionary=words) as writer:
        for span in spans:
            rows = read_span(span, kept)
            memory += rows.nbytes
            _count(rows, contents)
            writer.write_table(rows)
    return _Written(memory, contents)


def _count(rows: pa.Table, contents: Contents) -> None:
    texts = rows["conversations"].combine_chunks().flatten().field("content")
    answers = texts.take(pa.array(range(1, 2 * rows.num_rows, 2), pa.int64()))
    lengths = pc.utf8_length(answers).to_pylist()
    known = rows.select(["format", "sft_template_type_idx", "task", "variants", "faults"])
    for place, row in enumerate(known.to_pylist()):
        contents.traces[row["format"], row["sft_template_type_idx"]] += 1
        contents.analysis.add(row, partial(_text, answers, place))
        # a card's reader wants one with a retry, without a fault, and short
        rank = (len(row["variants"]) < 2, bool(row["faults"]), lengths[place])
        if contents.shown is None or rank < contents.shown.rank:
            contents.shown = Shown(rank, _text(answers, place))


def _text(texts: pa.Array, place: int) -> str:
    found: Any = texts[place].as_py()
    return str(found)


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
