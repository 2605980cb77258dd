"""What an assembly made and what it could not: as values, as printed text, and in the README.md of SFT_DATA.

Knows columns and counts, not how traces are made.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa

from assembly.analysis import FAULTS, KINDS, Analysis
from assembly.formats import TOO_ALIKE
from assembly.settings import SftSettings
from assembly.traces import PHRASES
from cluster.jobs.card import (
    NONE,
    Split,
    Table,
    code,
    counts_text,
    fenced,
    fill_card,
    header,
    json_block,
    run_section,
    texts_section,
)
from cluster.jobs.progress import fitted
from generation.raw.files import RawSource
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


@dataclass(kw_only=True)
class AssemblySummary(Analysis):
    """Counts over all questions of one assembly."""

    source: RawSource
    license: str
    starts: Sequence[Mapping[str, Any]] = ()
    """Of the run that this belongs to, or of this command alone, as `cluster.jobs.run_directory` tells them."""
    notes: list[str] = field(default_factory=list)
    """What of all that was asked for did not come."""
    questions: int = 0
    samples: int = 0
    not_given: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Questions that could not give a format, by (format, reason)."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Samples that may stand in no trace, by reason."""
    too_long: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Traces left out for their length in tokens, by (format, label)."""
    shortest: int = 0
    """Tokens of the shortest of those."""


def summary_text(summary: AssemblySummary) -> str:
    """Return the summary for a person, in a few lines."""
    traces = [
        (label if label == name else f"{label} of {name}", n) for (name, label), n in sorted(summary.traces.items())
    ]
    lines = [f"{summary.questions:,} questions with {summary.samples:,} samples in all"]
    lines += [f"{summary.traces.total():,} traces", *counts_text(traces)]
    if len(tasks := summary.counts("task")) > 1:
        lines += ["traces by task", *counts_text((name or NONE, count) for name, count in tasks.items())]
    if summary.not_given:
        some = ", or not all of it" if any(why == TOO_ALIKE for _, why in summary.not_given) else ""
        not_given = sorted(summary.not_given.items())
        lines.append(f"questions that could not give a format{some}")
        lines += counts_text((f"{name}: {why}", count) for (name, why), count in not_given)
    if summary.left_out:
        lines += ["samples that no trace may use", *counts_text(sorted(summary.left_out.items()))]
    if summary.too_long:
        lines.append(f"{summary.too_long.total():,} traces left out: longer than --max_trace_tokens")
    return "\n".join([*lines, *(fitted(f"note        {note}") for note in summary.notes)])


def sft_card(summary: AssemblySummary, settings: SftSettings, split: Split) -> str:
    """Return the README.md of SFT_DATA, of which `split` is what was written."""
    source = summary.source
    commit = f", at commit {code(source.revision)}" if source.revision else ""
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
        "source": code(source.name),
        "commit": commit,
        "digest": code(source.digest),
        "written": written,
        "configuration": json_block(asdict(settings), sort_keys=False),
        "run": run_section(summary.starts),
        "phrases": texts_section("The phrases", {"phrases": PHRASES}, drawn),
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
