"""Counts outcomes, reasons and verdicts in a RAW_DATA folder, ours or a published one, batch by batch."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cluster.jobs.plots import Lengths
from generation.raw.example import Example, find_example
from generation.raw.reader import as_rows, find_columns
from generation.raw.retries import RetryCounts, tokens_in
from generation.raw.schema import (
    FOUND,
    PARENT,
    PROVENANCE,
    REFLECTIONS,
    REFLECTIONS_THOUGHT,
    REQUESTS,
    SAMPLE_PROVENANCE,
    as_lists,
    is_blank,
    is_list,
    owners,
    requests_in,
)
from generation.records import REQUEST_FAILED
from reflection.verdict import parse_verdicts

OUTCOMES = ("right", "wrong", "unknown")
VERDICTS = ("Correct", "Incorrect", "none")
TOKENS = {
    "prompt_tokens": "tokens read for {}",
    "cached_tokens": "of these found in the prefix cache",
    "output_tokens": "tokens written as {}",
    "thought_tokens": "of these in thoughts",
}
TRACES, INNER, INNER_RIGHT, INNER_REFLECTIONS, INNER_VALID = (
    "samples that are traces themselves",
    "attempts inside these",
    "attempts inside these that are right",
    "reflections inside these",
    "reflections inside these whose verdict is right",
)
_BATCH_ROWS = 1024
_BATCHES_FOR_EXAMPLE = 8
CHARACTERS = "characters"
TEXTS = {SAMPLE_PROVENANCE: "samples", PROVENANCE: "reflections"}
Look = Callable[[pa.Table], None]  # called with each batch of rows, as a table of schema ROWS
Served = Callable[[Sequence[str]], str]
"""Returns the card's table of how many questions of these tasks can serve each trace format."""


@dataclass
class TaskCounts:
    """Samples and reflections of one task, or of all."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)  # samples by (variant, outcome)
    unknown: Counter[str] = field(default_factory=Counter)  # samples of unknown outcome, by reason
    verdicts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Reflections by (outcome of the sample, one of VERDICTS)."""

    @property
    def samples(self) -> int:
        return self.outcomes.total()

    @property
    def reflections(self) -> int:
        return self.verdicts.total()

    @property
    def valid(self) -> int:
        """Return the number of reflections whose verdict is right."""
        return self.verdicts["right", "Correct"] + self.verdicts["wrong", "Incorrect"]

    def outcome(self, name: str) -> int:
        return sum(count for (_, outcome), count in self.outcomes.items() if outcome == name)

    def verdict(self, name: str) -> int:
        return sum(count for (_, verdict), count in self.verdicts.items() if verdict == name)

    def variants(self) -> dict[str, list[int]]:
        """Return the number of samples of each of OUTCOMES, by prompt variant, sorted by name."""
        names = sorted({variant for variant, _ in self.outcomes})
        return {name: [self.outcomes[name, outcome] for outcome in OUTCOMES] for name in names}


@dataclass
class RawCounts:
    """The contents of a RAW_DATA folder, counted."""

    tasks: dict[str, TaskCounts] = field(default_factory=dict)
    rows: int = 0  # samples and retries
    retries: RetryCounts = field(default_factory=RetryCounts)  # these are counted nowhere else, but for their tokens
    memory: int = 0  # bytes of the rows as Arrow tables
    files: list[Path] = field(default_factory=list)
    questions: set[str] = field(default_factory=set)
    folder: Path | None = None  # of the files
    asked: Counter[str] = field(default_factory=Counter)  # samples by question, without failed requests
    solved: Counter[str] = field(default_factory=Counter)  # right samples by question
    lengths: dict[str, Lengths] = field(
        default_factory=dict
    )  # of samples, and of reflections if their tokens are known
    unit: str = "tokens"  # of these; CHARACTERS where rows do not tell
    example: Example | None = None
    hinted: int = 0  # samples that mention their hint
    found: Counter[str] = field(default_factory=Counter)  # samples by where their answer was found, if rows say so
    inner: Counter[str] = field(default_factory=Counter)
    """Samples that are traces themselves, and what stands inside, by TRACES to INNER_VALID."""
    failed: Counter[str] = field(default_factory=Counter)
    """Failed requests by column of REQUESTS; failed reflections have no text and are counted nowhere else."""
    tokens: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Tokens by column of REQUESTS and by TOKENS, if the rows have them; cached tokens are a part of the prompt's.
    Those of retries and of reflections on them are under PARENT."""
    only_thoughts: int = 0  # reflections without a text, but with a thought; counted nowhere else
    lost: Counter[str] = field(default_factory=Counter)
    """Questions that failed and so have no rows, by reason; filled in by the run."""
    kept: Counter[str] = field(default_factory=Counter)
    """Rows that failed to get more reflections and are unchanged, by reason; filled in by the run."""
    served: str = ""
    unasked: int | None = None
    """Samples not asked since their questions had enough; None where each question is asked for all. Filled in by the
    run, as the next is."""
    unneeded: int = 0  # questions left out since those before them give the traces asked for
    beyond: int = 0  # of these, the ones that ended all the same, as they were in flight

    @property
    def written(self) -> int:
        """Return the tokens of all samples and reflections."""
        return sum(count for (_, name), count in self.tokens.items() if name == "output_tokens")

    def unwritten(self) -> int:
        """Return an estimate of the tokens that samples not asked, with their reflections, would have had."""
        return round((self.unasked or 0) * self.written / max(1, self.all().samples))

    def unspent(self) -> int:
        """Return an estimate of the tokens of questions that were not needed and did not end."""
        return round((self.unneeded - self.beyond) * self.written / max(1, len(self.questions)))

    def all(self) -> TaskCounts:
        whole = TaskCounts()
        for task in self.tasks.values():
            whole.outcomes.update(task.outcomes)
            whole.unknown.update(task.unknown)
            whole.verdicts.update(task.verdicts)
        return whole

    def reused(self, column: str) -> float | None:
        """Return the share of a column's prompt tokens that were found in the prefix cache; None without any."""
        read = self.tokens[column, "prompt_tokens"]
        return self.tokens[column, "cached_tokens"] / read if read else None

    def several(self) -> dict[str, TaskCounts]:
        """Return the counts by task, sorted by name; empty for a single task, for which `all` is the same."""
        return dict(sorted(self.tasks.items())) if len(self.tasks) > 1 else {}


def shares(verdicts: Counter[tuple[str, str]], verdict: str) -> tuple[float | None, float | None, float | None]:
    """Return precision, recall and F1 of "Correct" for right samples, or of "Incorrect" for wrong ones.

    Each is between 0 and 1, or None if its denominator is 0. A reflection without a verdict counts as a miss.
    """
    outcome, other = ("right", "wrong") if verdict == "Correct" else ("wrong", "right")
    hits, false = verdicts[outcome, verdict], verdicts[other, verdict]
    there = sum(verdicts[outcome, one] for one in VERDICTS)
    ratios = ((hits, hits + false), (hits, there), (2 * hits, hits + false + there))
    precision, recall, f1 = (part / whole if whole else None for part, whole in ratios)
    return precision, recall, f1


def count_folder(folder: Path, look: Look | None = None, served: Served | None = None) -> RawCounts:
    """Count the rows of `folder/data/*.parquet`."""
    counts = RawCounts(files=sorted(folder.glob("data/*.parquet")), folder=folder)
    if not all(_has_tokens(pq.read_schema(path), SAMPLE_PROVENANCE) for path in counts.files):
        counts.unit = CHARACTERS
    looked = 0
    for path in counts.files:
        with pq.ParquetFile(path) as file:
            columns = find_columns(file.schema_arrow, path)
            for batch in file.iter_batches(_BATCH_ROWS):
                counts.memory += batch.nbytes
                every = as_rows(batch, columns, path, 0)
                plain, rows = _without_retries(counts, batch, every)
                _count(counts, plain, rows)
                if looked < _BATCHES_FOR_EXAMPLE and not (counts.example and counts.example.whole):
                    looked += 1
                    found = filter(None, (counts.example, find_example(rows)))
                    counts.example = min(found, key=lambda example: example.rank, default=None)
                if look is not None:
                    look(every)
    counts.served = served(sorted(counts.tasks)) if served else ""
    return counts


def _without_retries(counts: RawCounts, batch: pa.RecordBatch, rows: pa.Table) -> tuple[pa.RecordBatch, pa.Table]:
    """Count the retries of a batch, and return its samples."""
    counts.rows += rows.num_rows
    plain = rows["parent"].is_null().combine_chunks()
    if plain.true_count == len(plain):
        return batch, rows
    counts.retries.add(rows)
    retries = batch.filter(pc.invert(plain))
    for column in REQUESTS:
        for name, count in tokens_in(retries, column, TOKENS).items():
            counts.tokens[PARENT, name] += count
    return batch.filter(plain), rows.filter(plain)


def _count(counts: RawCounts, batch: pa.RecordBatch, rows: pa.Table) -> None:
    counts.questions.update(rows["question_key"].unique().to_pylist())
    counts.asked.update(_tallied(_written(rows)["question_key"]))
    counts.solved.update(_tallied(rows["question_key"].filter(pc.equal(rows["outcome"], "right"))))
    counts.hinted += pc.sum(rows["mentions_hint"]).as_py() or 0
    names = ["task", "variant", "outcome", "reason"]
    for group in rows.group_by(names).aggregate([([], "count_all")]).to_pylist():
        task, variant, outcome, reason = (group[name] or "" for name in names)
        of_task = counts.tasks.setdefault(task, TaskCounts())
        of_task.outcomes[variant, outcome] += group["count_all"]
        if outcome == "unknown":
            of_task.unknown[reason] += group["count_all"]

    lists = rows["reflections"].combine_chunks()
    verdicts = pa.array(("none", "Incorrect", "Correct")).take(pa.array(parse_verdicts(lists.flatten()) + 1))
    given = rows.select(["task", "outcome"]).take(pa.array(owners(lists))).append_column("verdict", verdicts)
    for group in given.group_by(given.column_names).aggregate([([], "count_all")]).to_pylist():
        counts.tasks[group["task"]].verdicts[group["outcome"], group["verdict"]] += group["count_all"]

    _count_inner(counts, rows["attempts"].combine_chunks())
    _count_lengths(counts, batch, rows)

    if FOUND in batch.schema.names:
        counts.found.update(_tallied(batch[FOUND].filter(pc.not_equal(batch[FOUND], ""))))

    # Failures and tokens, if the rows record requests.
    for column in REQUESTS:
        if (asked := requests_in(batch, column)) is not None:
            made = asked.flatten()
            has_errors = made.type.get_field_index("error") >= 0
            counts.failed[column] += pc.count(pc.struct_field(made, "error")).as_py() if has_errors else 0
            counts.tokens.update({(column, name): count for name, count in tokens_in(batch, column, TOKENS).items()})
    if {REFLECTIONS, REFLECTIONS_THOUGHT} <= set(batch.schema.names):
        texts, thoughts = (as_lists(batch[name]).flatten() for name in (REFLECTIONS, REFLECTIONS_THOUGHT))
        if len(texts) == len(thoughts):
            counts.only_thoughts += pc.sum(pc.and_(is_blank(texts), thoughts.is_valid())).as_py() or 0


def _written(rows: pa.Table) -> pa.Table:
    """Return the samples whose request did not fail."""
    return rows.filter(pc.not_equal(pc.fill_null(rows["reason"], ""), REQUEST_FAILED))


def _count_inner(counts: RawCounts, attempts: pa.Array) -> None:
    if attempts.null_count == len(attempts):
        return
    inner = attempts.flatten()
    said = pc.struct_field(inner, "reflections").flatten()
    counts.inner[TRACES] += len(attempts) - attempts.null_count
    counts.inner[INNER] += len(inner)
    counts.inner[INNER_RIGHT] += pc.sum(pc.equal(pc.struct_field(inner, "outcome"), "right")).as_py() or 0
    counts.inner[INNER_REFLECTIONS] += len(said)
    counts.inner[INNER_VALID] += pc.sum(pc.struct_field(said, "valid")).as_py() or 0


def _count_lengths(counts: RawCounts, batch: pa.RecordBatch, rows: pa.Table) -> None:
    """Count lengths in tokens, of reflections too, or in characters."""
    if counts.unit == CHARACTERS:
        rows = _written(rows)
        _add_lengths(counts, TEXTS[SAMPLE_PROVENANCE], pc.utf8_length(rows["response"]), rows["cut"])
        return
    for column, what in TEXTS.items():
        if _has_tokens(batch.schema, column):
            made = as_lists(batch[column]).flatten()
            made = made.filter(pc.is_null(pc.struct_field(made, "error")))
            was_cut = pc.equal(pc.struct_field(made, "finish_reason"), "length")
            _add_lengths(counts, what, pc.struct_field(made, "output_tokens"), was_cut)


def _has_tokens(schema: pa.Schema, column: str) -> bool:
    if column not in schema.names:
        return False
    kind = schema.field(column).type
    kind = kind.value_type if is_list(kind) else kind
    needed = ("output_tokens", "finish_reason", "error")
    return pa.types.is_struct(kind) and all(kind.get_field_index(name) >= 0 for name in needed)


def _add_lengths(counts: RawCounts, what: str, lengths: pa.Array, was_cut: pa.Array) -> None:
    of, was_cut = counts.lengths.setdefault(what, Lengths(Counter(), Counter())), pc.fill_null(was_cut, False)
    of.cut.update(_tallied(lengths.filter(was_cut)))
    of.ended.update(_tallied(lengths.filter(pc.invert(was_cut))))


def _tallied(values: pa.Array) -> dict[Any, int]:
    """Return how often each value that is not null occurs."""
    return {one["values"]: one["counts"] for one in values.drop_null().value_counts().to_pylist()}
