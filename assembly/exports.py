"""The folders that training reads: SFT_DATA for LLaMA-Factory, RL_DATA for verl.

Each is a complete dataset repository, built beside its place and renamed into it. Knows columns
and files; not how traces are made.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from assembly.cards import RL_SCHEMA, SFT_SCHEMA, rl_card, sft_card
from assembly.summary import AssemblySummary, SftSettings
from cluster.atomic import check_replaceable, replace_folder
from generation.dataset_card import Size
from generation.raw_data import without_surrogates
from generation.records import Question

DATASET_NAME = "skillfactory"
"""What LLaMA-Factory's `dataset:` says; the key in dataset_info.json."""

_DATASET_INFO = "dataset_info.json"
ROWS_PER_FILE = 50_000
_ROWS_PER_GROUP = 1_000


class Example(NamedTuple):
    """One training conversation and where it is from."""

    question_key: str
    question: str
    task: str
    format: str
    label: str
    text: str
    """The rendered trace."""


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
    examples: Sequence[Example],
    summary: AssemblySummary,
    settings: SftSettings,
    out: Path,
    *,
    rows_per_file: int = ROWS_PER_FILE,
) -> None:
    """Put SFT_DATA in the place of `out`, in the order of the examples."""

    def build(folder: Path) -> None:
        size = _write_train([_sft_row(example) for example in examples], SFT_SCHEMA, folder, rows_per_file)
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
        _write_text(folder / _DATASET_INFO, json.dumps(info, indent=2) + "\n")
        _write_text(folder / "README.md", sft_card(summary, settings, size, _shown(examples)))

    replace_folder(build, out)


def rl_data(questions: Sequence[Question], destination: Path) -> None:
    """Put RL_DATA in the place of `destination`, in the order of the questions."""

    def build(folder: Path) -> None:
        rows = [without_surrogates(_rl_row(question, index)) for index, question in enumerate(questions)]
        size = _write_train(rows, RL_SCHEMA, folder)
        by_task = Counter(question.task for question in questions)
        _write_text(folder / "README.md", rl_card(size, by_task))

    replace_folder(build, destination)


def _sft_row(example: Example) -> dict[str, Any]:
    return {
        "conversations": [
            {"role": "user", "content": example.question},
            {"role": "assistant", "content": example.text},
        ],
        "sft_template_type_idx": example.label,
        "format": example.format,
        "question_key": example.question_key,
        "task": example.task,
    }


def _rl_row(question: Question, index: int) -> dict[str, Any]:
    truth = {"answer": question.answer, "facts": dict(question.facts), "grader": question.grader}
    return {
        "data_source": question.task,
        "prompt": [{"role": "user", "content": question.text}],
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": json.dumps(truth, sort_keys=True)},
        "extra_info": {"index": index, "question_key": question.key, "split": "train"},
    }


def _shown(examples: Sequence[Example]) -> str | None:
    """The trace the card shows: the shortest of those with a retry, so that a reader can take it in."""
    several = [example.text for example in examples if example.text.count("\n<sample>\n") > 1]
    return min(several or [example.text for example in examples], key=len, default=None)


def _write_train(
    rows: Sequence[Mapping[str, Any]], schema: pa.Schema, folder: Path, rows_per_file: int = ROWS_PER_FILE
) -> Size:
    """`data/train-…-of-….parquet` in the folder; one file also where there is no row."""
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    starts = range(0, max(len(rows), 1), rows_per_file)
    memory = files = 0
    for number, start in enumerate(starts):
        path = data / f"train-{number:05}-of-{len(starts):05}.parquet"
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            part = rows[start : start + rows_per_file]
            for first in range(0, len(part), _ROWS_PER_GROUP):
                group = pa.Table.from_pylist(list(part[first : first + _ROWS_PER_GROUP]), schema=schema)
                memory += group.nbytes
                writer.write_table(group)
        files += path.stat().st_size
    return Size(len(rows), memory, files)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
