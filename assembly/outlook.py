"""Whether the samples of a rollout can become traces, told while it goes on: a run may be stopped that cannot."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from assembly.candidates import choose
from assembly.formats import FORMATS
from assembly.reasons import UNREFLECTED, advice, in_words
from assembly.settings import SftSettings
from generation.raw_reader import as_rows, find_columns
from generation.terminal import folded

FIRST = 32
"""Questions after which it is certain enough."""


class Outlook:
    """Looks at finished questions until one has a usable sample, or FIRST have none."""

    def __init__(self, settings: SftSettings) -> None:
        self._settings = settings
        alone = any(not FORMATS[name].reflected for name in settings.formats)
        self._fine = pa.array(["", *UNREFLECTED] if alone else [""])
        self._left_out = Counter[str]()
        self._questions = 0

    def __call__(self, table: pa.Table) -> str:
        """One more question's rows, as RAW_DATA holds them; a warning after the last of FIRST without hope."""
        if self._questions >= FIRST:
            return ""
        left_out = self._judge(table)
        if pc.any(pc.is_in(left_out, self._fine)).as_py():
            self._questions = FIRST
            return ""
        self._questions += 1
        self._left_out.update(left_out.to_pylist())
        return self._told() if self._questions == FIRST else ""

    def _judge(self, table: pa.Table) -> pa.ChunkedArray:
        """Why each sample may stand in no trace."""
        here = Path("rollout")
        columns = find_columns(table.schema, here)
        rows = [as_rows(batch, columns, here, 0) for batch in table.to_batches()]
        return choose(pa.concat_tables(rows), self._settings)["left_out"]

    def _told(self) -> str:
        samples = f"{self._left_out.total():,} samples of the first {FIRST} questions"
        reasons = f"{in_words(self._left_out)}; {advice(self._left_out, self._settings)}"
        return folded(f"no trace can come of the {samples}: {reasons}. Ctrl-C stops the run")
