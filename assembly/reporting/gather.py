"""What a run or a set holds: sums by question over all rows, lengths, and a sample of rows; each set is read once."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assembly.faults import FAULTS, RULES
from assembly.reporting.rows import SUMS, raw_rows, replies, traces
from assembly.reporting.sample import Sample
from assembly.sft import SFT_DATA
from cluster.jobs.run_directory import RUN_FILE
from generation.evaluation.schema import EVAL_DATA
from generation.evaluation.schema import PREFIX as REPLIES
from generation.raw.files import find_files, reading
from generation.raw.reader import RESPONSES
from generation.raw.schema import RAW_DATA
from generation.records import REQUEST_FAILED

KINDS = (RAW_DATA, EVAL_DATA, SFT_DATA)
LENGTHS = ("cut", "length", "rows")
GROUPS = ("task", "variant", "outcome", "reason")
_READERS = {RAW_DATA: raw_rows, EVAL_DATA: replies, SFT_DATA: traces}
OTHERS = "(others)"
_BINS, _TABLES = 40, 64
_NAMES = 60  # tasks, variants, labels, reasons: each of the others is counted with them all


class Subject(NamedTuple):
    """What a page is asked to show."""

    name: str
    run: Path | None  # the run directory that it is, or lies in
    sets: Mapping[str, str | Path]  # where each of KINDS is that is there

    @property
    def rows(self) -> int:
        """Return the number of rows of all sets. Raises ValueError if they cannot be read."""
        files = [file for kind, source in self.sets.items() for file in find_files(source, kind)]
        return sum(pq.read_metadata(file).num_rows for file in files)


def find_sets(what: str | Path, kinds: Sequence[str] = KINDS) -> Subject:
    """Find the sets of a run, of these kinds, or that of a folder, file or hub dataset.

    Raises ValueError if it holds none, or not all of one.
    """
    path = Path(what)
    places = (path, *path.absolute().parents[:2]) if path.exists() else ()
    run = next((one for one in places if (one / RUN_FILE).is_file()), None)
    sets: dict[str, str | Path] = {kind: path / kind for kind in KINDS if kind in kinds and (path / kind).is_dir()}
    if not sets:
        file = find_files(what)[0]
        with reading(file):
            names = {*pq.read_schema(file).names}
        sets = {RAW_DATA if names & {*RESPONSES} else EVAL_DATA if REPLIES in names else SFT_DATA: what}
    found = {kind: Subject("", None, {kind: one}).rows for kind, one in sets.items()}
    # A set without rows is left out, if another has some.
    sets = {kind: one for kind, one in sets.items() if found[kind] or not any(found.values())}
    return Subject(path.resolve().name if path.exists() else str(what), run, sets)


class Sums:
    """Sums over rows by columns of names; the memory grows with the number of different names alone."""

    def __init__(self, names: Sequence[str], summed: Sequence[str]) -> None:
        self._names, self._summed, self._tables = names, summed, list[pa.Table]()

    def add(self, rows: pa.Table) -> None:
        self._tables.append(self.by(self._names, rows))
        if len(self._tables) > _TABLES:
            self._tables = [self.by(self._names)]

    def by(self, names: Sequence[str], rows: pa.Table | None = None) -> pa.Table:
        """Return the sums by these names, of the rows or of all that were added."""
        rows = pa.concat_tables(self._tables) if rows is None else rows
        made = rows.group_by([*names]).aggregate([(name, "sum") for name in self._summed])
        return made.rename_columns([one.removesuffix("_sum") for one in made.column_names])


class Contents:
    """What a set holds, with at most `size` bytes of its rows. Raises ValueError for what cannot be read."""

    def __init__(self, kind: str, source: str | Path, size: int) -> None:
        self.kind, self.sample, self.measure = kind, Sample(size), ""
        names, summed = (("task", "label"), ("traces", "attempts", *FAULTS)) if kind == SFT_DATA else (GROUPS, SUMS)
        self.names, self.sums = names, Sums((*names, "key"), summed)
        self.lengths = Sums(("group", "cut", "length"), ("rows",))
        for rows, strata, self.measure, write in _READERS[kind](source):
            self.sums.add(rows)
            parts = zip(*(rows[name].to_pylist() for name in names), strata, strict=True)
            self.sample.add(["\0".join(one) for one in parts], rows["key"].to_pylist(), write)
            self.lengths.add(pa.table({"group": rows[names[1]], **{name: rows[name] for name in LENGTHS}}))
        if not self.sample.rows:
            raise ValueError(f"{source}: holds no rows")

    def told(self) -> dict[str, Any]:
        """Return its counts as JSON values."""
        lengths = self.lengths.by(("group", "cut", "length"))
        width = _width(pc.max(lengths["length"]).as_py() or 0)
        lengths = _fewer(lengths.set_column(2, "length", pc.divide(lengths["length"], width)), ("group",))
        groups = _fewer(self.sums.by(self.names), [name for name in self.names if name != "outcome"])
        tasks = {*groups["task"].to_pylist()}
        rates = Counter((task if task in tasks else OTHERS, right, n) for task, _, right, n in self.rates())
        return {
            **{"kind": self.kind, "rows": self.sample.rows, "strata": self.sample.strata, "measure": self.measure},
            **{"width": width, "lengths": self.lengths.by(("group", "cut", "length"), lengths).to_pylist()},
            **{
                "groups": self.sums.by(self.names, groups).to_pylist(),
                "rates": [[*one, rates[one]] for one in sorted(rates)],
            },
            "rules": dict(RULES) if self.kind == SFT_DATA else {},
        }

    def rates(self) -> Iterator[tuple[str, str, int, int]]:
        """Yield task and key of each question, how many samples are right, and of how many whose requests went well."""
        if self.kind == SFT_DATA:
            return
        asked, right = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
        names = ("task", "key", "outcome", "reason")
        table = self.sums.by(names)
        columns = (table[name].to_pylist() for name in (*names, "samples"))
        for task, key, outcome, reason, samples in zip(*columns, strict=True):
            asked[task, key] += samples * (reason != REQUEST_FAILED)
            right[task, key] += samples * (outcome == "right")
        yield from ((*name, right[name], count) for name, count in asked.items())


def _fewer(table: pa.Table, names: Iterable[str]) -> pa.Table:
    """Return the table with the most frequent values of these columns, the others as one, so that the page is small."""
    for name in names:
        found = table[name].value_counts()
        if len(found) > _NAMES:
            largest = pc.array_sort_indices(found.field("counts"), order="descending")[:_NAMES]
            there = pc.is_in(table[name], value_set=found.field("values").take(largest))
            table = table.set_column(table.column_names.index(name), name, pc.if_else(there, table[name], OTHERS))
    return table


def _width(most: int) -> int:
    """Return the width of bins, 1, 2 or 5 times a power of ten, of which at most _BINS hold all up to `most`."""
    widths = (int(f"{step}{'0' * power}") for power in range(20) for step in (1, 2, 5))
    return next(width for width in widths if width * _BINS > most)
