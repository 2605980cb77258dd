"""What the samples and reflections of a run are so far, counted batch by batch from rows that the run itself wrote."""

from collections import Counter
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from cluster.jobs.card import Table
from cluster.jobs.status import Section
from generation.raw.counts import OUTCOMES, VERDICTS, TaskCounts, shares
from generation.raw.retries import RetryCounts
from generation.raw.schema import PARENT, PROVENANCE, REFLECTIONS, SAMPLE_PROVENANCE, SEEN_COLUMN, owners

CUT, FAILED = "cut", "failed"
_ENDS = {"length": CUT, "error": FAILED}


class SamplesSoFar:
    """Samples by variant and outcome, reflections by outcome and verdict, retries by what they mend and spoil."""

    def __init__(self) -> None:
        self.counts, self.retries = TaskCounts(), RetryCounts()
        self._ends = Counter[tuple[str, str]]()  # samples that were cut or whose request failed, by variant
        self._reflections = Counter[str]()  # likewise

    def add(self, rows: pa.Table) -> None:
        """Count rows of RAW_DATA's schema."""
        named = {"seen": SEEN_COLUMN, "reflections": REFLECTIONS}
        named |= {name: name for name in ("question_key", "parent", "outcome")}
        self.retries.add(pa.table({name: rows[column] for name, column in named.items()}))
        rows = rows.filter(rows[PARENT].is_null())
        ends = pc.struct_field(rows[SAMPLE_PROVENANCE], "finish_reason")
        facts = {"variant": rows["prompt_variant"], "outcome": rows["outcome"], "end": ends}
        for (variant, outcome, end), count in grouped(facts):
            self.counts.outcomes[variant, outcome] += count
            if end in _ENDS:
                self._ends[variant, _ENDS[end]] += count
        lists = rows[PROVENANCE].combine_chunks()
        of_sample = rows["outcome"].combine_chunks().take(pa.array(owners(lists)))
        made = lists.flatten()
        facts = {"outcome": of_sample, **{name: pc.struct_field(made, name) for name in ("verdict", "finish_reason")}}
        for (outcome, verdict, end), count in grouped(facts):
            if end == "error":  # it has no text, and is counted nowhere else, as in RAW_DATA's counts
                self._reflections[FAILED] += count
                continue
            self.counts.verdicts[outcome, verdict or "none"] += count
            self._reflections[CUT] += count * (end == "length")

    def sections(self) -> list[Section]:
        found = self.counts.variants()
        if not found:
            return []
        rows = [
            (name, sum(counts), *of_all(counts), *(self._ends[name, end] for end in _ENDS.values()))
            for name, counts in found.items()
        ]
        right = self.counts.outcome("right") / max(1, self.counts.samples)
        head = ("variant", "samples", *OUTCOMES, *_ENDS.values())
        samples = Section("samples by variant", Table(head, rows), f"{right:.0%} right")
        told = self.retries.text()
        retried = [Section("retries", self.retries.table(), told.partition(": ")[2])] if told else []
        return [samples, *reflected(self.counts, self._reflections), *retried]


def of_all(counts: Iterable[int]) -> list[float]:
    """Return the share of each count in their sum."""
    found = [*counts]
    return [count / max(1, sum(found)) for count in found]


def grouped(columns: dict[str, pa.Array]) -> Iterable[tuple[tuple[str, ...], int]]:
    """Yield each combination of values of the columns, null as "", with its count."""
    table = pa.table(columns)
    groups = table.group_by(table.column_names).aggregate([([], "count_all")])
    for *values, count in zip(*(groups[name].to_pylist() for name in (*table.column_names, "count_all")), strict=True):
        yield tuple(value or "" for value in values), count


def reflected(counts: TaskCounts, ends: Counter[str]) -> list[Section]:
    """Return how many reflections there are and how many verdicts agree, and the precision of each verdict."""
    total = counts.reflections
    if not total and not ends:
        return []
    agree = counts.valid / max(1, total)
    rows = [("all", total, None), ("verdict agrees", counts.valid, agree)]
    rows += [("no verdict", none := counts.verdict("none"), none / max(1, total))]
    rows += [(name, ends[name], ends[name] / max(1, total)) for name in _ENDS.values()]
    told = [(verdict, *shares(counts.verdicts, verdict)) for verdict in VERDICTS[:2]]
    return [
        Section("reflections", Table(("", "number", "share"), rows), f"{agree:.0%} of verdicts agree"),
        Section("verdicts", Table(("verdict", "precision", "recall", "F1"), told)),
    ]
