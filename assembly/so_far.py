"""What a rollout gives so far: its samples and reflections, and the questions that can serve the formats asked for."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from assembly.feasibility import Coverage, count_served, early_warning
from assembly.foretold import traces_of
from assembly.settings import SftSettings
from cluster.jobs.card import Table
from cluster.jobs.status import Section
from generation.raw.reader import as_rows, find_columns
from generation.raw.so_far import SamplesSoFar

_HERE = Path("rollout")  # stands for a file in messages on its rows


class RolloutSoFar:
    """What the whole job tells while it samples; see `cluster.jobs.monitor.Look`."""

    def __init__(self, settings: SftSettings) -> None:
        self._settings, self._samples, self._coverage = settings, SamplesSoFar(), Coverage(settings)
        self._warn = early_warning(settings)

    def take(self, rows: pa.Table, *, earlier: bool) -> str:
        self._samples.add(rows)
        columns = find_columns(rows.schema, _HERE)
        for batch in rows.to_batches():
            self._coverage.add(as_rows(batch, columns, _HERE, 0))
        return "" if earlier else self._warn(rows)

    def sections(self) -> Sequence[Section]:
        usable, bounds = self._coverage.usable(), self._settings.bounds
        if not (questions := usable.total()):
            return self._samples.sections()
        rows = []
        for format_ in self._settings.chosen:
            if format_.retried:
                each = self._coverage.retried(format_).values()
                served, traces = sum(map(bool, each)), sum(each)
            else:
                served = count_served(format_, usable, bounds)
                traces = round(sum(many * traces_of(format_, cell, bounds) for cell, many in usable.items()))
            rows.append((format_.name, traces, served, served / questions))
        brief = f"{sum(traces for _, traces, _, _ in rows):,} traces possible"
        table = Table(("traces possible", "traces", "questions", "share of them"), rows)
        return [*self._samples.sections(), Section("traces possible", table, brief)]
