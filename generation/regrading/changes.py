"""What grading again changed: counts, by task and outcome, with examples; of a batch, and of all."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from generation.raw.counts import OUTCOMES
from generation.raw.reader import visible
from generation.raw.schema import as_lists, is_list, owners
from generation.records import Grade
from generation.regrading.rows import Row, Work
from reflection.verdict import parse_verdicts

EXAMPLES = 5  # at most this many of each kind
LONGEST = 300  # characters of a text in an example
NO_LONGER, NOW = "no longer true", "now true"


class Example(NamedTuple):
    """A response that is graded otherwise."""

    place: str  # its file and row
    question: str  # the end of it
    response: str  # likewise
    gold: str
    answer_before: str | None
    answer: str | None
    before: str  # outcome, with its reason
    now: str


@dataclass
class Changes:
    """Counts of what was graded again and of what is different now."""

    rows: int = 0
    responses: int = 0
    memory: int = 0  # bytes of the rows as Arrow tables
    moves: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """Responses by task, outcome before and outcome now; those that kept their grade among them."""
    graders: Counter[tuple[str, str]] = field(default_factory=Counter)  # rows by task and grader
    answers: int = 0  # responses with the same outcome in which another answer was read
    reasons: int = 0  # with the same outcome and answer, and another reason
    verdicts: Counter[str] = field(default_factory=Counter)  # of reflections, whose truth is another: NOW, NO_LONGER
    inner: int = 0  # attempts inside traces whose outcome is another
    inner_verdicts: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)  # rows of which a response keeps its grade, by reason
    first_kept: dict[str, str] = field(default_factory=dict)  # the first of them: place, and the whole message
    examples: dict[tuple[str, str], list[Example]] = field(default_factory=dict)
    """By outcome before and now."""

    def extend(self, more: "Changes") -> None:
        """Add what follows in the set."""
        self.rows += more.rows
        self.responses += more.responses
        self.memory += more.memory
        self.answers += more.answers
        self.reasons += more.reasons
        self.inner += more.inner
        for name in ("moves", "graders", "verdicts", "inner_verdicts", "kept"):
            getattr(self, name).update(getattr(more, name))
        self.first_kept = more.first_kept | self.first_kept
        for kind, examples in more.examples.items():
            self.examples[kind] = [*self.examples.get(kind, ()), *examples][:EXAMPLES]

    @property
    def moved(self) -> int:
        """Return how many responses have another outcome."""
        return sum(count for (_, before, now), count in self.moves.items() if before != now)

    @property
    def tasks(self) -> list[str]:
        return sorted({task for task, _, _ in self.moves})

    def table(self) -> list[tuple[str, str, list[int]]]:
        """Return task, outcome before, and how many of these have each of OUTCOMES now; only rows with any."""
        found = []
        for task in self.tasks:
            for before in OUTCOMES:
                counts = [self.moves[task, before, now] for now in OUTCOMES]
                if any(counts):
                    found.append((task, before, counts))
        return found


def changes_in(work: Work, rows: list[Row], place: str, first_row: int) -> Changes:
    """Count what a batch's new grades change; `place` names its file."""
    given, graded = work.given, work.graded
    found = Changes(rows=len(rows), responses=len(graded.grades))
    for row, read in enumerate(work.questions):
        if read.question is not None:
            found.graders[rows[row][2], read.question.grader] += 1
    for row, read in graded.keeps:
        found.kept[read.reason] += 1
        found.first_kept.setdefault(read.reason, f"row {first_row + row:,} of {place}: {read.told}")
    for number, (row, before, now) in enumerate(zip(given.owner.tolist(), given.before, graded.grades, strict=True)):
        found.moves[rows[row][2], before.outcome, now.outcome] += 1
        if before is now:
            continue
        if before.outcome == now.outcome:
            if _bare(before.extracted) != _bare(now.extracted):
                found.answers += 1
            elif given.known[number] and before.reason != now.reason:
                found.reasons += 1
            else:
                continue
        examples = found.examples.setdefault((before.outcome, now.outcome), [])
        if len(examples) < EXAMPLES:
            examples.append(_example(work, number, rows[row], f"row {first_row + row:,} of {place}"))
    _count_verdicts(work, found)
    _count_inner(work, found)
    return found


def _bare(text: str | None) -> str:
    return (text or "").strip()


def _example(work: Work, number: int, row: Row, place: str) -> Example:
    before, now = work.given.before[number], work.graded.grades[number]
    text = work.given.texts[number] or ""
    return Example(
        place,
        row[0].strip()[-LONGEST:],
        text.strip()[-LONGEST:],
        row[1][:LONGEST],
        before.extracted and before.extracted[:LONGEST],
        now.extracted and now.extracted[:LONGEST],
        told(before),
        told(now),
    )


def told(grade: Grade) -> str:
    """Return outcome and reason in a few words."""
    return f"{grade.outcome}: {grade.reason}" if grade.reason else grade.outcome


def _count_verdicts(work: Work, found: Changes) -> None:
    """Count the reflections whose verdict is true now and was not before, or the reverse."""
    batch, there = work.batch, work.layout.there
    correct = _of_rows(work, [one.is_correct for one in work.graded.grades])
    before = _of_rows(work, [one.is_correct for one in work.given.before])
    if "reflected" in there:
        lists = batch[there["reflected"]]
        entries = lists.flatten()
        said = pc.struct_field(entries, "verdict")
        verdicts = np.asarray(pc.index_in(said, pa.array(["Incorrect", "Correct"])).fill_null(-1))
        old = pc.fill_null(pc.struct_field(entries, "valid"), False).to_numpy(zero_copy_only=False)
        owner = owners(lists)
    elif "reflections" in there:
        lists = as_lists(batch[there["reflections"]])
        texts, owner = lists.flatten(), owners(lists)
        of_changed = np.flatnonzero((correct != before)[owner])
        owner = owner[of_changed]
        verdicts = parse_verdicts(visible(pc.fill_null(texts.take(pa.array(of_changed)).cast(pa.string()), "")))
        old = (verdicts >= 0) & (verdicts == before[owner])
    else:
        return
    new = (verdicts >= 0) & (verdicts == correct[owner])
    new = np.where(work.graded.kept[owner], old, new).astype(bool)
    found.verdicts.update({NOW: int((new & ~old).sum()), NO_LONGER: int((old & ~new).sum())})


def _of_rows(work: Work, values: list[bool | None]) -> np.ndarray:
    """Return 1, 0 or -2 for null, of each row's first response."""
    coded = np.array([-2 if one is None else int(one) for one in values] or [-2], dtype=np.int8)
    starts = np.cumsum(work.given.counts) - work.given.counts
    return np.where(work.given.counts > 0, coded[np.minimum(starts, len(coded) - 1)], -2)


def _count_inner(work: Work, found: Changes) -> None:
    """Count what is different about attempts inside traces, where a column tells how they were graded."""
    name = work.layout.there.get("attempts")
    if name is None or not any(work.graded.inner):
        return
    entries: list[Any] = _flattened(work.batch[name])
    now = [one for attempts in work.graded.inner for one in attempts]
    for before, one in zip(entries, now, strict=False):
        found.inner += before["outcome"] != one.grade.outcome
        for was, said in zip(before["reflections"] or (), one.reflections, strict=False):
            valid = one.is_valid(said)
            if valid != bool(was["valid"]):
                found.inner_verdicts[NOW if valid else NO_LONGER] += 1
    found.inner += abs(len(entries) - len(now))


def _flattened(column: pa.Array) -> list[Any]:
    """Return the entries of lists, or of lists of lists, in order."""
    while is_list(column.type):
        column = column.flatten()
    return list(column.to_pylist())
