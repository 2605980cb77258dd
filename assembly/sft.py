"""SFT_DATA, the input of supervised training: its names, columns and counts.

Knows neither how traces are made nor how they are written.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Self

import pyarrow as pa

from assembly.faults import RULES, cut_at_the_length_limit
from assembly.layouts import LAYOUTS, layout_for
from assembly.selection import (
    TRAIN,
    VALIDATION,
    Told,
)
from assembly.settings import SftSettings
from cluster.jobs.card import NONE
from generation.raw.schema import Column

SFT_DATA = "SFT_DATA"  # its folder in a run directory, and the prefix of its repositories' names
SFT_COLUMNS = (
    *LAYOUTS["sharegpt"].columns,
    Column("sft_template_type_idx", pa.string(), "the trace's label, as published"),
    Column("format", pa.string(), "the format it was made by"),
    Column("question_key", pa.string(), "the question's name in RAW_DATA"),
    Column("task", pa.string(), "the question's task"),
    Column("variants", pa.list_(pa.string()), "the prompt variant of each attempt, in order"),
    Column("faults", pa.list_(pa.string()), "what is wrong with the trace, as far as rules can tell"),
)
SFT_SCHEMA = pa.schema([(column.name, column.type) for column in SFT_COLUMNS])
_CUT = cut_at_the_length_limit.__name__
EXAMPLES = 3
_LONGEST_EXAMPLE = 600
KINDS = ("label", "task", "variant")
DATASET_NAME = "skillfactory"  # the name for LLaMA-Factory's `dataset:`, and the key in dataset_info.json
VALIDATION_NAME = f"{DATASET_NAME}_validation"  # and for its `eval_dataset:`, if a split is held out
FOLDERS = {TRAIN: "data", VALIDATION: VALIDATION}
"""The folder of each split: LLaMA-Factory takes all files of a folder, so that what is held out lies in its own."""
DATASET_INFO = "dataset_info.json"
ANALYSIS = "analysis.json"
VERL_TOKENS = "verl_tokens.py"


@dataclass
class Summary:
    """The counts of an assembly, or of a part of it."""

    notes: list[str] = field(default_factory=list)
    """Oddities in the RAW_DATA, and what was requested but could not be made."""
    samples: int = 0
    retries: int = 0
    variants: Counter[str] = field(default_factory=Counter)  # samples by prompt variant, "" if unknown
    left_out: Counter[str] = field(default_factory=Counter)  # samples and retries left out of all traces, by reason
    questions: int = 0
    tasks: Counter[str] = field(default_factory=Counter)  # questions by task
    left_questions: Counter[str] = field(default_factory=Counter)  # questions of which no trace was wanted, by reason
    chosen: Told = field(default_factory=Counter)  # what each choice among questions, reflections and traces did
    reflected_under: Counter[str] = field(default_factory=Counter)  # reflections by the prompt they name
    most_samples: int = 0  # largest number of samples of any question, under the variants asked for
    not_given: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Questions that could not give a format, by (format, reason)."""
    too_long: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Traces left out for their length in tokens, by (format, label)."""
    shortest: int = 0  # tokens of the shortest of those; 0 if there are none
    longest: int = 0  # tokens of the longest trace that was made, with its question; 0 if they were not counted
    traces: Counter[tuple[str, str]] = field(default_factory=Counter)  # by (format, label)
    faults: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """Traces by (fault, "format" or one of KINDS, its value); fault "" counts all traces."""
    examples: dict[str, list[str]] = field(default_factory=dict)  # beginnings of the first EXAMPLES traces with a fault
    attempts: Counter[int] = field(default_factory=Counter)  # traces by number of attempts
    flawed: Counter[tuple[str, str]] = field(default_factory=Counter)  # traces with a fault, by (format, label)
    lengths: Counter[tuple[bool, int]] = field(default_factory=Counter)
    """Traces by (whether an attempt was cut, length in tokens, with the question, or else in characters)."""
    memory: int = 0  # bytes of the traces as Arrow tables
    shown: tuple[tuple[bool, bool, int], str, str] | None = None
    """(rank, question, text) of the smallest rank, the example: with a retry, without faults and short if possible."""

    def add(self, row: Mapping[str, Any], question: str, text: str) -> None:
        """Count a trace, given its row, question and text; once under each prompt variant among its attempts.

        The row has its length in `tokens` beside the columns of SFT_DATA, 0 if they were not counted.
        """
        label = row["sft_template_type_idx"]
        self.traces[row["format"], label] += 1
        self.attempts[len(row["variants"])] += 1
        self.flawed[row["format"], label] += bool(row["faults"])
        self.lengths[_CUT in row["faults"], row["tokens"] or len(text)] += 1
        groups = [("format", row["format"]), ("label", label), ("task", row["task"])]
        groups += [("variant", name) for name in set(row["variants"])]
        for fault in ("", *row["faults"]):
            self.faults.update((fault, *group) for group in groups)
            if fault and len(examples := self.examples.setdefault(fault, [])) < EXAMPLES:
                examples.append(text[:_LONGEST_EXAMPLE])
        rank = (len(row["variants"]) < 2, bool(row["faults"]), len(text))
        if self.shown is None or rank < self.shown[0]:
            self.shown = (rank, question, text)

    def extend(self, later: Self) -> None:
        """Merge in the counts of a later part."""
        self.samples += later.samples
        self.retries += later.retries
        self.questions += later.questions
        self.memory += later.memory
        self.most_samples = max(self.most_samples, later.most_samples)
        self.longest = max(self.longest, later.longest)
        self.shortest = min(filter(None, (self.shortest, later.shortest)), default=0)
        self.shown = min(filter(None, (self.shown, later.shown)), key=itemgetter(0), default=None)
        for name in (
            "variants",
            "tasks",
            "left_questions",
            "chosen",
            "reflected_under",
            "left_out",
            "not_given",
            "too_long",
            "traces",
            "faults",
            "attempts",
            "flawed",
            "lengths",
        ):
            getattr(self, name).update(getattr(later, name))
        for fault, examples in later.examples.items():
            self.examples[fault] = [*self.examples.get(fault, ()), *examples][:EXAMPLES]

    def counts(self, kind: str) -> dict[str, int]:
        """Return the number of traces by format, label, task or variant, sorted by name."""
        return {name: count for (fault, of, name), count in sorted(self.faults.items()) if (fault, of) == ("", kind)}

    def as_json(self) -> dict[str, Any]:
        """Return the contents of analysis.json: rule, shares by label, task and variant, and examples of each fault."""
        found: dict[str, Any] = {}
        for fault, rule in RULES.items():
            found[fault] = {"rule": rule}
            for kind in KINDS:
                found[fault][f"by_{kind}"] = {
                    name or NONE: {"traces": count, "share": round(self.faults[fault, kind, name] / count, 6)}
                    for name, count in self.counts(kind).items()
                }
            found[fault]["examples"] = self.examples.get(fault, [])
        return found


def columns_in(settings: SftSettings) -> tuple[Column, ...]:
    """Return the columns of a set with these settings."""
    chat = settings.chat()
    return (*layout_for(settings.layout, chat.template if chat else "").columns, *SFT_COLUMNS[1:])


def schema_in(settings: SftSettings) -> pa.Schema:
    return pa.schema([(column.name, column.type) for column in columns_in(settings)])
