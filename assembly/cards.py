"""The README.md of SFT_DATA. Knows columns and counts, not how traces are made."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict

import pyarrow as pa

from assembly.analysis import FAULTS, KINDS, Analysis
from assembly.settings import SftSettings
from assembly.summary import AssemblySummary
from assembly.traces import load_phrases
from cluster.jobs.card import Split, fill_card, header, json_block, run_section, texts_section
from cluster.jobs.tables import NONE, Table, code, fenced
from generation.raw.schema import Column, columns_table

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


def sft_card(summary: AssemblySummary, settings: SftSettings, split: Split) -> str:
    """Return the README.md of SFT_DATA, of which `split` is what was written."""
    source = summary.source
    origin = [f"From {code(source.name)}"]
    origin += [f"at commit {code(source.revision)}"] if source.revision else []
    origin += [f"whose files have the digest {code(source.digest)}"] if source.digest else []
    written = f"; its samples are by {', '.join(map(code, source.models))}" if source.models else ""
    drawn = "What is said between attempts and before the answer is drawn from these, a line each."
    values = {
        "header": header(
            SFT_SCHEMA,
            [split],
            tags=["skillfactory", "self-distillation", "reasoning", "sft"],
            license=summary.license,
            models=source.models,
            sources=[source.repository],
        ),
        "traces": f"{split.rows:,}",
        "questions": f"{summary.questions:,}",
        "samples": f"{summary.samples:,}",
        "held": _traces(summary),
        "missing": _missing(summary),
        "shown": fenced(summary.shown[1], "text") if summary.shown else "There is none.",
        "faults": _faults(summary),
        "columns": columns_table(SFT_COLUMNS),
        "origin": f"{', '.join(origin)}{written}.",
        "configuration": json_block(asdict(settings), sort_keys=False),
        "run": run_section(summary.starts),
        "phrases": texts_section("The phrases", {"phrases": asdict(load_phrases())}, drawn),
    }
    return fill_card("assembly", values, "sft_card.md")


def _traces(summary: AssemblySummary) -> str:
    by_format, by_label = Counter[str](), Counter[str]()
    for (format_name, label), count in summary.traces.items():
        by_format[format_name] += count
        by_label[label] += count
    counted = {"format": by_format, "label": by_label, "task": summary.counts("task")}
    return "\n".join(Table((kind, "traces"), sorted(found.items())).markdown(1) for kind, found in counted.items())


def _missing(summary: AssemblySummary) -> str:
    too_long, questions = (
        [(*key, count) for key, count in sorted(found.items())] for found in (summary.too_long, summary.not_given)
    )
    tables = (
        (2, Table(("format", "label", "traces longer than asked for"), too_long)),
        (1, Table(("format", "why a question could not give it", "questions"), questions)),
        (0, Table(("why a sample stands in no trace", "samples"), sorted(summary.left_out.items()))),
    )
    told = [table.markdown(names) for names, table in tables if table.rows]
    return "\n".join(told) or "Nothing: every question gave every format, and every sample could be used."


def _faults(analysis: Analysis) -> str:
    """Rules, and shares by label and by variant."""
    if not analysis.traces:
        return "There is no trace to look at."
    rules = [(fault, shows.__doc__) for fault, shows in FAULTS.items()]
    shares = [
        (
            kind,
            code(name or NONE),
            analysis.kinds[kind, name],
            *(analysis.share(fault, kind, name) for fault in FAULTS),
        )
        for kind in KINDS
        for name in analysis.counts(kind)
    ]
    return (
        "Told from the texts by rules; what a rule cannot see is not counted. Examples are in `analysis.json`.\n\n"
        + Table(("fault", "a trace shows it when"), rules).markdown(1)
        + "\n"
        + Table(("by", "", "traces", *map(code, FAULTS)), shares).markdown()
    )
