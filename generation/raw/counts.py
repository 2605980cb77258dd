"""What a RAW_DATA folder holds, counted batch by batch: outcomes, reasons, verdicts.

Counts ours and published ones alike, from what their reader makes of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from generation.raw.arrow_lists import owners
from generation.raw.reader import as_rows, find_columns
from generation.raw.schema import PROVENANCE, SAMPLE_PROVENANCE, SCHEMA
from reflection.verdict import parse_verdicts

OUTCOMES = ("right", "wrong", "unknown")
VERDICTS = ("Correct", "Incorrect", "none")
TOKENS = ("prompt_tokens", "cached_tokens", "output_tokens")
_BATCH_ROWS = 1024


class Serving(Protocol):
    """Counts how many questions can serve each trace format; knows what a trace needs, which is not known here."""

    @property
    def attempts(self) -> str: ...

    def add(self, rows: pa.Table) -> None:
        """Rows of schema ROWS."""
        ...

    def served(self, task: str | None = None) -> Mapping[str, int]:
        """Questions by format, of one task or all."""
        ...


class Share(NamedTuple):
    """How well the verdicts tell one class of samples; each between 0 and 1, None where there is nothing to divide."""

    precision: float | None
    """Of the verdicts of this class, those on such a sample."""
    recall: float | None
    """Of the reflections on such samples, those with this verdict; one without a verdict is a miss."""
    f1: float | None


@dataclass
class Tally:
    """Samples and reflections of one task, or of all."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Samples by variant and outcome."""
    unknown: Counter[str] = field(default_factory=Counter)
    """Samples of unknown outcome, by reason."""
    verdicts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Reflections by the sample's outcome and their verdict, "none" without one."""

    def add(self, other: Tally) -> None:
        self.outcomes.update(other.outcomes)
        self.unknown.update(other.unknown)
        self.verdicts.update(other.verdicts)

    @property
    def samples(self) -> int:
        return self.outcomes.total()

    @property
    def reflections(self) -> int:
        return self.verdicts.total()

    @property
    def valid(self) -> int:
        """Reflections whose verdict is right."""
        return self.verdicts["right", "Correct"] + self.verdicts["wrong", "Incorrect"]

    def outcome(self, name: str) -> int:
        """Samples of this outcome."""
        return sum(count for key, count in self.outcomes.items() if key[1] == name)

    def verdict(self, name: str) -> int:
        """Reflections with this verdict."""
        return sum(count for key, count in self.verdicts.items() if key[1] == name)

    def variants(self) -> dict[str, Counter[str]]:
        """Outcomes by prompt variant."""
        found: dict[str, Counter[str]] = {}
        for (variant, outcome), count in sorted(self.outcomes.items()):
            found.setdefault(variant, Counter())[outcome] += count
        return found


@dataclass
class RawCounts:
    """What a RAW_DATA folder holds."""

    tasks: dict[str, Tally] = field(default_factory=dict)
    memory: int = 0
    """Bytes as Arrow tables."""
    files: list[Path] = field(default_factory=list)
    """That were counted."""
    questions: set[str] = field(default_factory=set)
    failed: int = 0
    """Samples whose request failed."""
    hinted: int = 0
    """Samples that mention their hint."""
    refused: int = 0
    """Reflections whose request failed; they have no text, and are counted nowhere else."""
    tokens: Counter[str] = field(default_factory=Counter)
    """Of all requests: prompt_tokens, cached_tokens of these, output_tokens; as far as the rows say so."""
    lost: Counter[str] = field(default_factory=Counter)
    """Questions that failed and so have no rows, by reason; not to be seen in the files."""
    kept: Counter[str] = field(default_factory=Counter)
    """Rows that should have got more reflections and stay as they were, by reason; not to be seen either."""

    def all(self) -> Tally:
        """Over all tasks."""
        whole = Tally()
        for tally in self.tasks.values():
            whole.add(tally)
        return whole

    def several(self) -> dict[str, Tally]:
        """By task in order of name, where there are several; nothing where `all` says as much."""
        return dict(sorted(self.tasks.items())) if len(self.tasks) > 1 else {}


def share(verdicts: Counter[tuple[str, str]], verdict: str) -> Share:
    """How well "Correct" tells right samples, or "Incorrect" wrong ones."""
    outcome, other = ("right", "wrong") if verdict == "Correct" else ("wrong", "right")
    hits, false = verdicts[outcome, verdict], verdicts[other, verdict]
    there = sum(verdicts[outcome, one] for one in VERDICTS)
    return Share(_divide(hits, hits + false), _divide(hits, there), _divide(2 * hits, hits + false + there))


def _divide(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def count_folder(folder: Path, *also: Callable[[pa.Table], None]) -> RawCounts:
    """Count the rows of `folder/data/*.parquet`; `also` are shown the same rows, as tables of schema ROWS."""
    counts = RawCounts()
    for path in sorted(folder.glob("data/*.parquet")):
        counts.files.append(path)
        with pq.ParquetFile(path) as file:
            columns = find_columns(file.schema_arrow, path)
            for batch in file.iter_batches(_BATCH_ROWS):
                counts.memory += batch.nbytes
                rows = as_rows(batch, columns, path, 0)
                _count_samples(counts, rows)
                _count_reflections(counts, rows)
                _count_requests(counts, batch)
                for look in also:
                    look(rows)
    return counts


def _count_samples(counts: RawCounts, rows: pa.Table) -> None:
    counts.questions.update(rows["question_key"].unique().to_pylist())
    counts.hinted += pc.sum(rows["mentions_hint"]).as_py() or 0
    names = ["task", "variant", "outcome", "reason"]
    for group in rows.select(names).group_by(names).aggregate([([], "count_all")]).to_pylist():
        task, variant, outcome, reason = (group[name] or "" for name in names)
        tally = counts.tasks.setdefault(task, Tally())
        tally.outcomes[variant, outcome] += group["count_all"]
        if outcome == "unknown":
            tally.unknown[reason] += group["count_all"]


def _count_reflections(counts: RawCounts, rows: pa.Table) -> None:
    lists = rows["reflections"].combine_chunks()
    given = parse_verdicts(lists.flatten())
    outcomes = pc.index_in(rows["outcome"], value_set=pa.array(OUTCOMES)).to_numpy()
    tasks = rows["task"].combine_chunks().dictionary_encode()
    owner = owners(lists)
    cells = np.stack([tasks.indices.to_numpy()[owner], outcomes[owner], given])
    cells, found = np.unique(cells, axis=1, return_counts=True)
    for (task, outcome, verdict), count in zip(cells.T.tolist(), found.tolist(), strict=True):
        cell = OUTCOMES[outcome], {1: "Correct", 0: "Incorrect", -1: "none"}[verdict]
        counts.tasks[tasks.dictionary[task].as_py()].verdicts[cell] += count


def _count_requests(counts: RawCounts, batch: pa.RecordBatch) -> None:
    """Failures and tokens, where the rows say how requests ended."""
    names = batch.schema.names
    if SAMPLE_PROVENANCE in names and batch.schema.field(SAMPLE_PROVENANCE).equals(SCHEMA.field(SAMPLE_PROVENANCE)):
        counts.failed += _errors(batch.column(SAMPLE_PROVENANCE))
        _count_tokens(counts, batch.column(SAMPLE_PROVENANCE))
    if PROVENANCE in names:
        entries = batch.column(PROVENANCE).flatten()
        counts.refused += _errors(entries)
        _count_tokens(counts, entries)


def _errors(entries: pa.StructArray) -> int:
    return len(entries) - int(pc.struct_field(entries, "error").null_count)


def _count_tokens(counts: RawCounts, entries: pa.StructArray) -> None:
    for name in TOKENS:
        counts.tokens[name] += pc.sum(pc.struct_field(entries, name)).as_py() or 0
