"""What a RAW_DATA folder holds, ours or a published one, counted batch by batch: outcomes, reasons, verdicts."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from generation.raw.reader import as_rows, find_columns
from generation.raw.schema import REQUESTS, as_lists, owners
from reflection.verdict import parse_verdicts

OUTCOMES = ("right", "wrong", "unknown")
VERDICTS = ("Correct", "Incorrect", "none")
TOKENS = {
    "prompt_tokens": "tokens read",
    "cached_tokens": "of these found in the cache",
    "output_tokens": "tokens written",
}
_BATCH_ROWS = 1024
Look = Callable[[pa.Table], None]
"""Is shown each batch of rows, as a table of schema ROWS."""
Served = Callable[[Sequence[str]], str]
"""Writes a card's table of the questions of these tasks that can serve each trace format."""


@dataclass
class TaskCounts:
    """Samples and reflections of one task, or of all.

    Samples by variant and outcome, those of unknown outcome by reason; reflections by the sample's outcome and their
    verdict, "none" without one.
    """

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[tuple[str, str]] = field(default_factory=Counter)

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
        return sum(count for (_, outcome), count in self.outcomes.items() if outcome == name)

    def verdict(self, name: str) -> int:
        return sum(count for (_, verdict), count in self.verdicts.items() if verdict == name)

    def variants(self) -> dict[str, list[int]]:
        """Return the samples of each of OUTCOMES, by prompt variant in order of name."""
        names = sorted({variant for variant, _ in self.outcomes})
        return {name: [self.outcomes[name, outcome] for outcome in OUTCOMES] for name in names}


@dataclass
class RawCounts:
    """What a RAW_DATA folder holds."""

    tasks: dict[str, TaskCounts] = field(default_factory=dict)
    memory: int = 0
    """Bytes as Arrow tables."""
    files: list[Path] = field(default_factory=list)
    questions: set[str] = field(default_factory=set)
    hinted: int = 0
    """Samples that mention their hint."""
    failed: Counter[str] = field(default_factory=Counter)
    """Failed requests by column: of samples, and of reflections, which have no text and are counted nowhere else."""
    tokens: Counter[str] = field(default_factory=Counter)
    """TOKENS of all requests whose rows give them; the cached ones are among the prompt's."""
    lost: Counter[str] = field(default_factory=Counter)
    """Questions that failed and so have no rows, by reason, as the run tells."""
    kept: Counter[str] = field(default_factory=Counter)
    """Rows that failed to get more reflections and stay as they were, by reason, as the run tells."""
    served: str = ""

    def all(self) -> TaskCounts:
        whole = TaskCounts()
        for task in self.tasks.values():
            whole.outcomes.update(task.outcomes)
            whole.unknown.update(task.unknown)
            whole.verdicts.update(task.verdicts)
        return whole

    def several(self) -> dict[str, TaskCounts]:
        """Return the counts by task in order of name; nothing for a single task, of which `all` says as much."""
        return dict(sorted(self.tasks.items())) if len(self.tasks) > 1 else {}


def shares(verdicts: Counter[tuple[str, str]], verdict: str) -> tuple[float | None, float | None, float | None]:
    """Return precision, recall and F1 of "Correct" for right samples, or of "Incorrect" for wrong ones.

    Each is between 0 and 1, or None where there is nothing to divide. A reflection without a verdict is a miss.
    """
    outcome, other = ("right", "wrong") if verdict == "Correct" else ("wrong", "right")
    hits, false = verdicts[outcome, verdict], verdicts[other, verdict]
    there = sum(verdicts[outcome, one] for one in VERDICTS)
    ratios = ((hits, hits + false), (hits, there), (2 * hits, hits + false + there))
    precision, recall, f1 = (part / whole if whole else None for part, whole in ratios)
    return precision, recall, f1


def count_folder(folder: Path, look: Look | None = None, served: Served | None = None) -> RawCounts:
    """Count the rows of `folder/data/*.parquet`."""
    counts = RawCounts(files=sorted(folder.glob("data/*.parquet")))
    for path in counts.files:
        with pq.ParquetFile(path) as file:
            columns = find_columns(file.schema_arrow, path)
            for batch in file.iter_batches(_BATCH_ROWS):
                counts.memory += batch.nbytes
                rows = as_rows(batch, columns, path, 0)
                _count(counts, batch, rows)
                if look is not None:
                    look(rows)
    counts.served = served(sorted(counts.tasks)) if served else ""
    return counts


def _count(counts: RawCounts, batch: pa.RecordBatch, rows: pa.Table) -> None:
    counts.questions.update(rows["question_key"].unique().to_pylist())
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

    # failures and tokens, where the rows say how requests ended
    for column, type_ in REQUESTS.items():
        if column in batch.schema.names and (made := as_lists(batch[column]).flatten()).type.equals(type_):
            counts.failed[column] += pc.count(pc.struct_field(made, "error")).as_py()
            counts.tokens.update({name: pc.sum(pc.struct_field(made, name)).as_py() or 0 for name in TOKENS})
