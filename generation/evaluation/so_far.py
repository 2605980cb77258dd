"""What an evaluation gives so far: replies by task, and by arm of budget forcing, with what became of them."""

from collections import Counter
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from cluster.jobs.card import Table
from cluster.jobs.status import Section
from generation.evaluation.schema import ARM
from generation.raw.counts import OUTCOMES
from generation.raw.schema import owners
from generation.raw.so_far import grouped, of_all

_ENDS = {"length": "cut", "error": "failed"}


class RepliesSoFar:
    """Replies by task and arm; see `cluster.jobs.monitor.Look`."""

    def __init__(self) -> None:
        self._outcomes, self._ends = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
        self._tokens = Counter[str]()

    def take(self, rows: pa.Table, *, earlier: bool) -> str:
        lists = rows["responses__outcome"].combine_chunks()
        place = pa.array(owners(lists))
        made = rows["responses__provenance"].combine_chunks().flatten()
        facts = {name: rows[name].combine_chunks().take(place) for name in ("task", ARM)}
        facts |= {"outcome": lists.flatten(), "end": pc.struct_field(made, "finish_reason")}
        for (task, arm, outcome, end), count in grouped(facts):
            name = f"{task}, {arm}" if arm else task
            self._outcomes[name, outcome] += count
            self._ends[name, end] += count
        tokens = pa.table({**facts, "tokens": pc.struct_field(made, "output_tokens")})
        for one in tokens.group_by(["task", ARM]).aggregate([("tokens", "sum")]).to_pylist():
            name = f"{one['task']}, {one[ARM]}" if one[ARM] else one["task"]
            self._tokens[name] += one["tokens_sum"] or 0
        return ""

    def sections(self) -> Sequence[Section]:
        names = sorted({name for name, _ in self._outcomes})
        if not names:
            return []
        rows = []
        for name in names:
            counts = [self._outcomes[name, outcome] for outcome in OUTCOMES]
            ends = [self._ends[name, end] for end in _ENDS]
            rows.append((name, sum(counts), *of_all(counts), *ends, round(self._tokens[name] / sum(counts))))
        right = sum(count for (_, outcome), count in self._outcomes.items() if outcome == "right")
        head = ("task", "replies", *OUTCOMES, *_ENDS.values(), "tokens each")
        brief = f"{right / self._outcomes.total():.0%} right"
        return [Section("replies by task", Table(head, rows), brief)]
