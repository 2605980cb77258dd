"""Which samples of a question may stand in a trace, and why the others may not.

The published rule (skillfactory.md §4): a reflection counts when its verdict equals the sample's
correctness, a sample when it keeps at least one. Knows nothing of formats.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from assembly.traces import has_frame_tag, is_plain_answer
from generation.records import WITHOUT_ANSWER, RawRow
from reflection.verdict import parse_verdict

UNDECIDED = "correctness undecided"
HINT = "mentions its hint"
FRAME_TAG = "holds a tag of the trace's own frame"
UNQUOTABLE = "its answer cannot be quoted"
NO_REFLECTION = "no reflection with the right verdict"


@dataclass(frozen=True)
class Candidate:
    """A sample that may stand in a trace."""

    response: str
    correct: bool
    answer: str
    """The answer it gives, ready to be quoted."""
    reflections: tuple[str, ...]
    """Those whose verdict is right; at least one."""


class Pool(NamedTuple):
    """A question's candidates, and how many of its samples were left out for which reason."""

    candidates: tuple[Candidate, ...]
    left_out: Counter[str]


def build_pool(rows: Iterable[RawRow]) -> Pool:
    """Candidates in an order that depends on their contents alone, not on that of the rows."""
    candidates: list[Candidate] = []
    left_out: Counter[str] = Counter()
    for row in sorted(rows, key=lambda row: (row.variant or "", row.response, row.reflections)):
        candidate = _candidate(row)
        if isinstance(candidate, str):
            left_out[candidate] += 1
        else:
            candidates.append(candidate)
    return Pool(tuple(candidates), left_out)


def _candidate(row: RawRow) -> Candidate | str:
    """The row as a candidate, or why it is none."""
    if row.outcome == "unknown" or row.is_correct is None:
        return row.reason if row.reason in WITHOUT_ANSWER else UNDECIDED
    if row.mentions_hint:
        return HINT
    if has_frame_tag(row.response):
        return FRAME_TAG
    answer = (row.extracted_answer or "").strip()
    if not is_plain_answer(answer):
        return UNQUOTABLE
    correct = row.outcome == "right"
    kept = tuple(text for text in row.reflections if parse_verdict(text) is correct and not has_frame_tag(text))
    return Candidate(row.response, correct, answer, kept) if kept else NO_REFLECTION
