"""What a rollout gives so far: its samples and reflections, and the questions that can serve the formats asked for."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from assembly.feasibility import Coverage, early_warning
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
        questions = self._coverage.usable().total()
        if not questions:
            return self._samples.sections()
        served = self._coverage.served()
        rows = [(name, served[name], served[name] / questions) for name in dict.fromkeys(self._settings.formats)]
        brief = f"traces possible of {max(count for _, count, _ in rows):,}"
        table = Table(("traces possible", "questions", "share"), rows)
        return [*self._samples.sections(), Section("traces possible", table, brief)]
