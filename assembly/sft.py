"""SFT_DATA, the input of supervised training: its counts and its files.

Knows columns and counts, not how traces are made.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import resources
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assembly.layouts import LAYOUTS, layout_for, written_in
from assembly.settings import SftSettings
from assembly.traces import FAULTS, cut_at_the_length_limit
from cluster.jobs.card import NONE, Split
from cluster.jobs.progress import follow
from generation.raw.schema import Column
from generation.tasks.registry import share

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
TOKENS = "tokens"
BUCKET_SCHEMA = SFT_SCHEMA.append(pa.field(TOKENS, pa.int32()))
"""Of the rows of a bucket, which know their length with the question; 0 if it was not counted."""
_CUT = cut_at_the_length_limit.__name__
EXAMPLES = 3
_LONGEST_EXAMPLE = 600
KINDS = ("label", "task", "variant")
DATASET_NAME = "skillfactory"  # the name for LLaMA-Factory's `dataset:`, and the key in dataset_info.json
DATASET_INFO = "dataset_info.json"
ANALYSIS = "analysis.json"
VERL_TOKENS = "verl_tokens.py"
ROWS_PER_FILE, ROWS_PER_GROUP = 50_000, 1_000
Map = Callable[..., Iterator[Any]]  # like the built-in `map`, but perhaps in other processes; results are in order


@dataclass
class Summary:
    """The counts of an assembly, or of a part of it."""

    notes: list[str] = field(default_factory=list)
    """Oddities in the RAW_DATA, and what was requested but could not be made."""
    samples: int = 0
    repeated: int = 0  # rows that another RAW_DATA has too, which are no samples of their own
    variants: Counter[str] = field(default_factory=Counter)  # samples by prompt variant, "" if unknown
    left_out: Counter[str] = field(default_factory=Counter)  # samples left out of all traces, by reason
    questions: int = 0
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
        self.repeated += later.repeated
        self.questions += later.questions
        self.memory += later.memory
        self.most_samples = max(self.most_samples, later.most_samples)
        self.longest = max(self.longest, later.longest)
        self.shortest = min(filter(None, (self.shortest, later.shortest)), default=0)
        self.shown = min(filter(None, (self.shown, later.shown)), key=itemgetter(0), default=None)
        for name in (
            "variants",
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
        for fault, rule in FAULTS.items():
            found[fault] = {"rule": rule.__doc__}
            for kind in KINDS:
                found[fault][f"by_{kind}"] = {
                    name or NONE: {"traces": count, "share": round(self.faults[fault, kind, name] / count, 6)}
                    for name, count in self.counts(kind).items()
                }
            found[fault]["examples"] = self.examples.get(fault, [])
        return found


class BucketTraces(NamedTuple):
    """The traces of a bucket's questions: rows of BUCKET_SCHEMA, in order, in an Arrow file."""

    path: Path
    labels: list[tuple[str, str]]  # (format, label) of each
    scores: list[int]  # a random number for each if a subsample is requested, which keeps the smallest
    counts: Summary


def columns_in(settings: SftSettings) -> tuple[Column, ...]:
    """Return the columns of a set with these settings."""
    chat = settings.chat()
    return (*layout_for(settings.layout, chat.template if chat else "").columns, *SFT_COLUMNS[1:])


def schema_in(settings: SftSettings) -> pa.Schema:
    return pa.schema([(column.name, column.type) for column in columns_in(settings)])


def write_sft(map_: Map, made: Sequence[BucketTraces], settings: SftSettings, summary: Summary, folder: Path) -> Split:
    """Write all files of SFT_DATA but its card, and add to the summary; `map_` may use other processes."""
    kept = choose_traces(made, settings.subsample)
    files = [kept[first : first + ROWS_PER_FILE] for first in range(0, len(kept), ROWS_PER_FILE)]
    paths = [folder / "data" / f"train-{place:05}-of-{len(files):05}.parquet" for place in range(len(files))]
    (folder / "data").mkdir()
    write = partial(_write_file, buckets=[(bucket.path, len(bucket.labels)) for bucket in made], settings=settings)
    for counts in follow(map_(write, paths, files), len(files), "writing", "parts"):
        summary.extend(counts)
    assert summary.traces.total() == len(kept), "traces were lost"
    if (taken := LAYOUTS[settings.layout].takes) is not None:
        told = json.dumps({DATASET_NAME: {"file_name": "data", **taken}}, indent=2)
        (folder / DATASET_INFO).write_text(f"{told}\n", encoding="utf-8")
    if settings.layout == "tokens":
        (folder / VERL_TOKENS).write_bytes(resources.files("assembly").joinpath(VERL_TOKENS).read_bytes())
    analysis = json.dumps(summary.as_json(), indent=2, ensure_ascii=False)
    (folder / ANALYSIS).write_text(f"{analysis}\n", encoding="utf-8")
    return Split(len(kept), summary.memory, paths)


def choose_traces(made: Sequence[BucketTraces], subsample: int | None) -> np.ndarray:
    """Return the sorted indices, int64, of the traces to keep among all buckets; a subsample is stratified by label."""
    labels = [label for bucket in made for label in bucket.labels]
    if subsample is None or subsample >= len(labels):
        return np.arange(len(labels))
    counts = dict(sorted(Counter(labels).items()))
    shares = dict(zip(counts, share(subsample, [*counts.values()]), strict=True))
    kept = []
    for place in np.argsort([score for bucket in made for score in bucket.scores], kind="stable").tolist():
        if shares[labels[place]]:
            shares[labels[place]] -= 1
            kept.append(place)
    return np.sort(np.array(kept, np.int64))


def _write_file(
    path: Path, places: np.ndarray, *, buckets: Sequence[tuple[Path, int]], settings: SftSettings
) -> Summary:
    counts, schema = Summary(), schema_in(settings)
    laid_out = written_in(settings.layout, settings.chat())
    # Texts of traces are distinct, so a dictionary would be as large as they are.
    words = [column.name for column in SFT_COLUMNS[1:]]
    with pq.ParquetWriter(path, schema, compression="zstd", write_statistics=False, use_dictionary=words) as writer:
        for first in range(0, len(places), ROWS_PER_GROUP):
            rows = read_traces(places[first : first + ROWS_PER_GROUP], buckets)
            counts.memory += rows.drop_columns(TOKENS).nbytes
            texts = pc.list_flatten(rows["conversations"]).combine_chunks().field("content").to_pylist()
            told = rows.drop_columns("conversations").to_pylist()
            for question, text, row in zip(texts[::2], texts[1::2], told, strict=True):
                counts.add(row, question, text)
            writer.write_table(laid_out(rows.drop_columns(TOKENS)).cast(schema))
    return counts


def read_traces(places: np.ndarray, buckets: Sequence[tuple[Path, int]]) -> pa.Table:
    """Return the traces at these sorted indices; `buckets` has each file with its number of traces."""
    tables, start = [], 0
    for path, count in buckets:
        inside = places[(start <= places) & (places < start + count)] - start
        start += count
        if len(inside):
            with pa.memory_map(str(path)) as file:
                tables.append(pa.ipc.open_file(file).read_all().take(inside))
    # Copy, so that their size in memory does not depend on the buckets.
    return pa.concat_tables(tables).take(np.arange(len(places))).combine_chunks()
