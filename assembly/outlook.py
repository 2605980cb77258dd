"""Whether samples can become traces, told while a rollout goes on or before reflections are asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from assembly.candidates import choose
from assembly.formats import FORMATS
from assembly.reasons import UNREFLECTED, advice
from assembly.settings import SftSettings
from cluster.messages import counted
from generation.raw.reader import as_rows, find_columns, open_parts, read_part

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
        """Look at one more question's rows, as RAW_DATA holds them; return a warning after FIRST without hope."""
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
        reasons = f"{counted(self._left_out)}; {advice(self._left_out, self._settings)}"
        return f"no trace can come of the {samples}: {reasons}. Ctrl-C stops the run"


def hopeless(files: Iterable[Path], settings: SftSettings) -> str:
    """Say why no sample of a RAW_DATA can stand in a trace, whatever reflections are added; "" if one can.

    Reads as far as the first sample that can. Raises ValueError for rows that cannot be read.
    """
    fine, left_out = pa.array(["", *UNREFLECTED]), Counter[str]()
    for part in (part for file in files for part in open_parts(file)):
        for rows in read_part(part):
            reasons = choose(rows, settings)["left_out"]
            if pc.any(pc.is_in(reasons, fine)).as_py():
                return ""
            left_out.update(reasons.to_pylist())
    samples = f"{left_out.total():,} sample{'s' * (left_out.total() != 1)}"
    told = f"no trace can come of these {samples}, whatever reflections they get"
    return f"{told}: {counted(left_out)}; {advice(left_out, settings)}"
