"""The README.md of SFT_DATA. Knows columns and counts, not how traces are made."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict

import pyarrow as pa

from assembly.analysis import FAULTS, KINDS, Analysis
from assembly.settings import SftSettings
from assembly.summary import AssemblySummary
from assembly.traces import load_phrases
from cluster.jobs.card import About, Size, code, fenced, header, table
from cluster.jobs.run_card import run_section, texts_section
from generation.raw.schema import Column

_DRAWN = "What is said between attempts and before the answer is drawn from these, a line each."
SFT_DATA = "SFT_DATA"
"""Its folder in a run directory, and how its repositories' names begin."""
MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))

SFT_COLUMNS = (
    Column("conversations", MESSAGES, "the plain question (user) and the trace (assistant)"),
    Column("sft_template_type_idx", pa.string(), "the trace's label, as published"),
    Column("format", pa.string(), "the format it was made by"),
    Column("question_key", pa.string(), "the question's name in RAW_DATA"),
    Column("task", pa.string(), "the question's task"),
    Column("variants", pa.list_(pa.string()), "the prompt variant of each attempt, in order"),
    Column("faults", pa.list_(pa.string()), "what is wrong with the trace, as far as rules can tell"),
)
SFT_SCHEMA = pa.schema([(column.name, column.type) for column in SFT_COLUMNS])


def sft_card(summary: AssemblySummary, settings: SftSettings, size: Size) -> str:
    """Write the README.md of SFT_DATA."""
    tags = ["skillfactory", "self-distillation", "reasoning", "sft"]
    sources = [summary.source.repository] if summary.source else []
    about = About(tags, summary.models, summary.license, sources)
    return "\n".join(
        [
            header(SFT_SCHEMA, size, about),
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
            fenced(summary.shown.text, "text") if summary.shown else "There is none.\n",
            "## What is wrong with them\n",
            _faults(summary.analysis),
            "## Columns\n",
            columns_table(SFT_COLUMNS),
            "## How it was made\n",
            _origin(summary),
            fenced(json.dumps(asdict(settings), indent=2), "json"),
            *run_section(summary.starts),
            *texts_section("The phrases", {"phrases": asdict(load_phrases())}, _DRAWN),
            "## How to load it\n",
            'Run this in the folder that holds this file, or give the folder\'s path for `"."`:\n',
            fenced('from datasets import load_dataset\n\nrows = load_dataset(".", split="train")', "python"),
            "LLaMA-Factory reads the set through the `dataset_info.json` beside this file: set `dataset_dir` "
            "to this folder\nand `dataset` to the name in it.\n",
        ]
    )


def _origin(summary: AssemblySummary) -> str:
    """The RAW_DATA, and who wrote its samples."""
    source = summary.source
    assert source is not None, "whoever writes a set has read a RAW_DATA"
    words = [f"From {code(source.name)}"]
    words += [f"at commit {code(source.revision)}"] if source.revision else []
    words += [f"whose files have the digest {code(source.digest)}"] if source.digest else []
    written = f"; its samples are by {', '.join(map(code, summary.models))}" if summary.models else ""
    return f"{', '.join(words)}{written}.\n"


def _traces(summary: AssemblySummary) -> str:
    by_format: Counter[str] = Counter()
    by_label: Counter[str] = Counter()
    for (format_name, label), count in summary.traces.items():
        by_format[format_name] += count
        by_label[label] += count
    counted = {"format": by_format, "label": by_label, "task": Counter(summary.analysis.counts("task"))}
    return "\n".join(
        table((kind, "traces"), [(code(name or "(none)"), count) for name, count in sorted(found.items())])
        for kind, found in counted.items()
    )


def _missing(summary: AssemblySummary) -> str:
    questions = [(code(name), why, count) for (name, why), count in sorted(summary.not_given.items())]
    samples = sorted(summary.left_out.items())
    too_long = [(code(name), code(label), count) for (name, label), count in sorted(summary.too_long.items())]
    if not questions and not samples and not too_long:
        return "Nothing: every question gave every format, and every sample could be used.\n"
    parts = []
    if too_long:
        parts.append(table(("format", "label", "traces longer than asked for"), too_long))
    if questions:
        parts.append(table(("format", "why a question could not give it", "questions"), questions))
    if samples:
        parts.append(table(("why a sample stands in no trace", "samples"), samples))
    return "\n".join(parts)


def _faults(analysis: Analysis) -> str:
    """Rules, and shares by label and by variant."""
    if not analysis.traces:
        return "There is no trace to look at.\n"
    rules = [(code(fault), shows.__doc__) for fault, shows in FAULTS.items()]
    shares = [
        (
            kind,
            code(name or "(none)"),
            analysis.traces[kind, name],
            *(f"{analysis.share(fault, kind, name):.1%}" for fault in FAULTS),
        )
        for kind in KINDS
        for name in analysis.counts(kind)
    ]
    return (
        "Told from the texts by rules; what a rule cannot see is not counted. Examples are in `analysis.json`.\n\n"
        + table(("fault", "a trace shows it when"), rules)
        + "\n"
        + table(("by", "", "traces", *(code(fault) for fault in FAULTS)), shares)
    )


def columns_table(columns: tuple[Column, ...]) -> str:
    """A Markdown table of columns, their types and meanings."""
    rows = [(code(column.name), code(str(column.type)), column.meaning) for column in columns]
    return table(("column", "type", "meaning"), rows)
