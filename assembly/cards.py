"""The README.md of SFT_DATA and RL_DATA. Knows their columns and counts, not how they were made."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict

import pyarrow as pa

from assembly.summary import AssemblySummary, SftSettings
from generation.dataset_card import Size, code, fenced, header, table
from generation.raw_data import Column

_MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))

SFT_COLUMNS = (
    Column("conversations", _MESSAGES, "the plain question (user) and the trace (assistant)"),
    Column("sft_template_type_idx", pa.string(), "the trace's label, as published"),
    Column("format", pa.string(), "the format it was made by"),
    Column("question_key", pa.string(), "the question's name in RAW_DATA"),
    Column("task", pa.string(), "the question's task"),
)
SFT_SCHEMA = pa.schema([(column.name, column.type) for column in SFT_COLUMNS])

RL_COLUMNS = (
    Column("data_source", pa.string(), "the task"),
    Column("prompt", _MESSAGES, "the plain question as one user turn"),
    Column("ability", pa.string(), "always `math`, as published"),
    Column(
        "reward_model",
        pa.struct([("style", pa.string()), ("ground_truth", pa.string())]),
        "`rule`, and a JSON string with the gold answer, the grader's name and the facts it needs",
    ),
    Column(
        "extra_info",
        pa.struct([("index", pa.int64()), ("question_key", pa.string()), ("split", pa.string())]),
        "place in this file, the question's name, the split",
    ),
)
RL_SCHEMA = pa.schema([(column.name, column.type) for column in RL_COLUMNS])


def sft_card(summary: AssemblySummary, settings: SftSettings, size: Size, example: str | None) -> str:
    """The README.md of SFT_DATA; `example` is the text of one trace."""
    return "\n".join(
        [
            header(SFT_SCHEMA, size, tags=["skillfactory", "self-distillation", "reasoning", "sft"]),
            "# SFT_DATA\n",
            "Training conversations made of a language model's own samples and reflections, arranged so "
            "that they show\nverification and retrying (SkillFactory, arXiv 2512.04072). "
            "The texts are the model's; only the order, the\nphrases between attempts and the frame "
            "are added.\n",
            f"{size.rows:,} traces from {summary.questions:,} questions with {summary.samples:,} samples.\n",
            "## What it holds\n",
            _traces(summary),
            "## What could not be given\n",
            _missing(summary),
            "## One trace\n",
            fenced(example, "text") if example is not None else "There is none: no question could give any.\n",
            "## Columns\n",
            _columns(SFT_COLUMNS),
            "## How it was made\n",
            fenced(json.dumps(asdict(settings), indent=2), "json"),
            "## How to load it\n",
            'Run this in the folder that holds this file, or give the folder\'s path for `"."`:\n',
            fenced('from datasets import load_dataset\n\nrows = load_dataset(".", split="train")', "python"),
            "LLaMA-Factory reads the set through the `dataset_info.json` beside this file: set `dataset_dir` "
            "to this folder\nand `dataset` to the name in it.\n",
        ]
    )


def _traces(summary: AssemblySummary) -> str:
    by_format: Counter[str] = Counter()
    by_label: Counter[str] = Counter()
    for (format_name, label), count in summary.traces.items():
        by_format[format_name] += count
        by_label[label] += count
    return (
        table(("format", "traces"), [(code(name), count) for name, count in sorted(by_format.items())])
        + "\n"
        + table(("label", "traces"), [(code(name), count) for name, count in sorted(by_label.items())])
    )


def _missing(summary: AssemblySummary) -> str:
    questions = [(code(name), why, count) for (name, why), count in sorted(summary.not_given.items())]
    samples = sorted(summary.left_out.items())
    if not questions and not samples:
        return "Nothing: every question gave every format, and every sample could be used.\n"
    parts = []
    if questions:
        parts.append(table(("format", "why a question could not give it", "questions"), questions))
    if samples:
        parts.append(table(("why a sample stands in no trace", "samples"), samples))
    return "\n".join(parts)


def rl_card(size: Size, by_task: Mapping[str, int]) -> str:
    """The README.md of RL_DATA."""
    return "\n".join(
        [
            header(RL_SCHEMA, size, tags=["skillfactory", "reasoning", "rl", "verl"]),
            "# RL_DATA\n",
            "Verifiable questions in the columns that verl's trainers read. They were held out: none of "
            "them is in the\nSFT set of the same run.\n",
            table(("task", "questions"), [(code(task), count) for task, count in sorted(by_task.items())]),
            "## Columns\n",
            _columns(RL_COLUMNS),
            "## How to load it\n",
            "Give `data.train_files` the parquet file in `data/`, or read it in Python:\n",
            fenced('from datasets import load_dataset\n\nrows = load_dataset(".", split="train")', "python"),
        ]
    )


def _columns(columns: tuple[Column, ...]) -> str:
    rows = [(code(column.name), code(str(column.type)), column.meaning) for column in columns]
    return table(("column", "type", "meaning"), rows)
