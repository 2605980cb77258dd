"""What added reflections say so far. Of the samples only those are known whose reflections gave a verdict."""

from collections import Counter
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from cluster.jobs.card import Table
from cluster.jobs.status import Section
from generation.raw.schema import PROVENANCE
from generation.raw.so_far import grouped


class ReflectionsSoFar:
    """Verdicts and whether they agree with the grade; see `cluster.jobs.monitor.Look`."""

    def __init__(self) -> None:
        self._verdicts, self._agree, self._ends = Counter[str](), Counter[str](), Counter[str]()

    def take(self, rows: pa.Table, *, earlier: bool) -> str:
        made = rows[PROVENANCE].combine_chunks().flatten()
        facts = {name: pc.struct_field(made, name) for name in ("verdict", "finish_reason")}
        facts["valid"] = pc.if_else(pc.fill_null(pc.struct_field(made, "valid"), False), "agrees", "")
        for (verdict, end, agrees), count in grouped(facts):
            self._ends[end] += count
            if end != "error":
                self._verdicts[verdict or "none"] += count
                self._agree[verdict or "none"] += count * bool(agrees)
        return ""

    def sections(self) -> Sequence[Section]:
        total, agree = self._verdicts.total(), self._agree.total()
        if not self._ends:
            return []
        verdicts = [(name, count, self._agree[name] / count) for name, count in sorted(self._verdicts.items())]
        verdicts.append(("all", total, agree / max(1, total)))
        ends = [(told, self._ends[name]) for name, told in (("length", "cut"), ("error", "failed"))]
        brief = f"{agree / max(1, total):.0%} of verdicts agree"
        return [
            Section("reflections", Table(("verdict", "number", "agree"), verdicts), brief),
            Section("requests", Table(("end", "number"), ends)),
        ]
