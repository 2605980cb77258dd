"""What the card of an EVAL_DATA opens with: main figures, two plots, one question with a right and a wrong reply."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cluster.jobs.card import Table
from cluster.jobs.plots import Interval, Lengths, draw_intervals, draw_lengths
from generation.evaluation.figures import UNDEFINED, Row
from generation.evaluation.report import blocks
from generation.evaluation.shown import amount, percent
from generation.evaluation.statistics import LEVEL
from generation.evaluation.tallies import TOKENS, pass_name
from generation.raw.example import find_example
from generation.records import CUT, CUT_THOUGHT

_ROWS = 256  # that an example is looked for among
_ENDS = ("other replies", "cut before an answer")


def main_figures(rows: Sequence[Row], replies: pa.Table, folder: Path) -> str:
    """Return a short table and two plots, which are written into the folder; `replies` is of schema REPLIES."""
    named = {f"{row.name}, {title}" if title else row.name: row for title, here in blocks(rows) for row in here}
    most = max((row.samples for row in rows), default=0)
    shares = [pass_name(k) for k in dict.fromkeys((1, max(1, most)))]
    head = ("task", "questions", "replies", *shares, "tokens a reply")
    table = [
        (
            *(name, row.questions, row.replies),
            *(percent(row.figures.get(share, UNDEFINED), unit="%") for share in shares),
            amount(row.figures.get(TOKENS, UNDEFINED)),
        )
        for name, row in named.items()
    ]
    points = {
        name: {
            share: Interval(figure.value, figure.low, figure.high)
            for share in shares
            if (figure := row.figures.get(share, UNDEFINED)).value is not None
        }
        for name, row in named.items()
    }
    parts = [Table(head, table).markdown(1)]
    if any(points.values()):
        title = f"Right replies by task, with intervals of {LEVEL:.0%} over questions"
        parts.append(draw_intervals(folder, "right", title, points))
    lengths = _lengths(replies)
    if lengths.ended or lengths.cut:
        parts.append(draw_lengths(folder, "lengths", "tokens", {"replies": lengths}, _ENDS))
    return "\n".join(parts)


def _lengths(replies: pa.Table) -> Lengths:
    was_cut = pc.and_(
        pc.not_equal(replies["outcome"], "right"), pc.is_in(replies["reason"], pa.array([CUT, CUT_THOUGHT]))
    )
    cut, ended = (
        Counter({one["values"]: one["counts"] for one in kept.drop_null().value_counts().to_pylist()})
        for kept in (replies["tokens"].filter(was_cut), replies["tokens"].filter(pc.invert(was_cut)))
    )
    return Lengths(ended, cut)


def one_question(file: Path) -> str:
    """Return the section of a card on one of the first questions in a file of schema EVAL_SCHEMA; "" if none serves."""
    with pq.ParquetFile(file) as opened:
        rows = next(opened.iter_batches(_ROWS), None)
    replies = [
        {
            **{name: row[name] for name in ("question_key", "question", "answer")},
            "variant": row["prompt_variant"],
            "outcome": outcome,
            "response": text,
            "reflections": [],
        }
        for row in (rows.to_pylist() if rows else [])
        for text, outcome in zip(row["model_responses"], row["responses__outcome"], strict=True)
    ]
    if not replies:
        return ""
    kinds = {name: pa.string() for name in replies[0]} | {"reflections": pa.list_(pa.string())}
    found = find_example(pa.Table.from_pylist(replies, pa.schema(kinds)))
    return found.markdown("reply") if found else ""
