"""How many questions can serve each trace format, told from RAW_DATA before any trace is made; and why so few.

Only numbers of usable attempts are kept of each question; what is usable, and what a format needs, is decided
where the assembly decides it.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from assembly.candidates import choose
from assembly.formats import FORMATS, Format, shortage_of
from assembly.reasons import NO_REFLECTION, UNREFLECTED
from assembly.settings import Attempts, SftSettings, read_attempts
from cluster.jobs.tables import NONE, WIDTH, Table, code, counts_text
from generation.raw.counts import OUTCOMES, RawCounts, TaskCounts

_TELLING = ("0C", "*C", "*C*IC", "*CC", "star")
_STEPS = 8
"""At most so many lengths are shown of traces with fewer attempts."""


class Usable(NamedTuple):
    """Attempts of one question that may stand in a trace."""

    right: int
    wrong: int
    alone: int
    """Right ones that may stand only without a reflection."""


class Serving:
    """Counts usable attempts by question; rows may come in any order."""

    def __init__(self, settings: SftSettings) -> None:
        self.attempts = settings.attempts
        self._settings = settings
        self._right: Counter[str] = Counter()
        self._wrong: Counter[str] = Counter()
        self._alone: Counter[str] = Counter()
        self._tasks: dict[str, str] = {}
        self.right_left_out = Counter[str]()
        """Right samples that may stand in no trace but those of star, by reason."""

    def add(self, rows: pa.Table) -> None:
        """Rows of schema ROWS."""
        pool = choose(rows, self._settings)
        pairs = pool.select(["question_key", "task"]).group_by(["question_key", "task"]).aggregate([])
        for pair in pairs.to_pylist():
            self._tasks.setdefault(pair["question_key"], pair["task"])
        right, free = pool["correct"], pc.equal(pool["left_out"], "")
        alone = pc.is_in(pool["left_out"], pa.array(UNREFLECTED))
        for counter, wanted in (
            (self._right, pc.and_(right, free)),
            (self._wrong, pc.and_not(free, right)),
            (self._alone, pc.and_(right, alone)),
        ):
            for found in pc.value_counts(pool["question_key"].filter(wanted)).to_pylist():
                counter[found["values"]] += found["counts"]
        for found in pc.value_counts(pool["left_out"].filter(pc.and_not(right, free))).to_pylist():
            self.right_left_out[found["values"]] += found["counts"]

    def usable(self, task: str | None = None) -> Counter[Usable]:
        """Questions by how many usable attempts they have, of one task or all."""
        keys = (key for key, of in self._tasks.items() if task is None or of == task)
        return Counter(Usable(self._right[key], self._wrong[key], self._alone[key]) for key in keys)

    def served(self, task: str | None = None) -> Mapping[str, int]:
        """Questions that give traces, by format, of one task or all."""
        attempts, usable = read_attempts(self.attempts), self.usable(task)
        return {name: _count(format_, usable, attempts) for name, format_ in FORMATS.items()}

    def markdown(self, tasks: Sequence[str]) -> str:
        """Return a card's table of the questions that give traces, by format, of several tasks each for itself."""
        several = tasks if len(tasks) > 1 else []
        of_task = [self.served(task) for task in several]
        rows = [(name, count, *(one[name] for one in of_task)) for name, count in self.served().items()]
        table = Table(("format", "questions", *(code(task or NONE) for task in several)), rows)
        head = f"Questions that can serve a trace format, with up to {self.attempts} attempts a trace:"
        return f"{head}\n\n{table.markdown(1)}"


def _count(format_: Format, usable: Mapping[Usable, int], attempts: Attempts) -> int:
    return sum(count for one, count in usable.items() if _gives(format_, one, attempts))


def _gives(format_: Format, usable: Usable, attempts: Attempts) -> bool:
    if format_.lengths == "alone":
        return usable.right + usable.alone > 0
    return shortage_of(format_, usable.right, usable.wrong, attempts) is None


def serving_text(serving: Serving, counts: RawCounts) -> str:
    """For a person: the questions that can serve each format, and what keeps the others from it."""
    total, usable = len(counts.questions), serving.usable()
    lines = [f"questions that can serve a format with --attempts {serving.attempts}, of {total:,}"]
    by_count: dict[int, list[str]] = {}
    for name, count in serving.served().items():
        by_count.setdefault(count, []).append(name)
    for count, names in sorted(by_count.items(), reverse=True):
        head = f"  {count:>7,} {count / max(1, total):>4.0%}  "
        lines += textwrap.wrap(", ".join(names), WIDTH, initial_indent=head, subsequent_indent=" " * len(head))
    lines += _shorter(usable, read_attempts(serving.attempts))
    lines += _by_task(serving, sorted(counts.tasks))
    return "\n".join([*lines, *remarks(serving, counts)])


def _by_task(serving: Serving, tasks: Sequence[str]) -> list[str]:
    """Where there are several: of each the questions, and those that can serve formats which need different things."""
    if len(tasks) < 2:
        return []
    rows = []
    for task in tasks:
        served = serving.served(task)
        rows.append((task, serving.usable(task).total(), *(served[name] for name in _TELLING)))
    return Table(("  by task", "questions", *_TELLING), rows).text(WIDTH - 2 - 10 * (1 + len(_TELLING)), 10)


def _shorter(usable: Mapping[Usable, int], attempts: Attempts) -> list[str]:
    """How many questions could give a *C trace of each number of attempts, where that number decides."""
    lengths = range(1, min(attempts.most, _STEPS) + 1)
    counts = [_count(FORMATS["*C"], usable, Attempts(None, length)) for length in lengths]
    if len(set(counts)) < 2:
        return []
    given = "  ".join(f"{length}C {count:,}" for length, count in zip(lengths, counts, strict=True))
    return [f"  questions with enough attempts for {given}"] if len(given) < WIDTH - 37 else ["  " + given]


def remarks(serving: Serving, counts: RawCounts) -> list[str]:
    """Say why no traces come, or only some, if one reason holds for all samples."""
    whole = counts.all()
    right, wrong, unknown = map(whole.outcome, OUTCOMES)
    lines = []
    if not right and not wrong:
        lines.append("No sample could be told right or wrong: no traces come from these.")
    elif not right:
        head = "No sample is known to be right" if unknown else "The model solved nothing: no sample is right"
        lines.append(f"{head}, and every format needs one.")
        lines.append("Take an easier task, a stronger model, more samples, or --variants all.")
    elif not wrong:
        head = "No sample is known to be wrong." if unknown else "The model solved everything: no sample is wrong."
        lines.append(f"{head} *C*IC needs one, and no trace")
        lines.append("can show how a mistake is found. Take a harder task or a weaker model.")
    lines += [
        f"Task {task}: {_one_sided(tally)}."
        for task, tally in counts.several().items()
        if right and wrong and bool(tally.outcome("right")) != bool(tally.outcome("wrong"))
    ]
    if right:
        lines += _short_of_usable(serving, counts)
    return lines


def _one_sided(tally: TaskCounts) -> str:
    """What can be said of samples that are all right, or all wrong, as far as is known."""
    if tally.outcome("unknown"):
        return f"no sample is known to be {'wrong' if tally.outcome('right') else 'right'}"
    return f"the model solved {'everything' if tally.outcome('right') else 'nothing'}"


def _short_of_usable(serving: Serving, counts: RawCounts) -> list[str]:
    """Of samples some of which are right."""
    usable = serving.usable()
    if not any(one.right for one in usable):
        return _none_usable(serving, counts)
    most = max(one.right + one.wrong for one in usable if one.right)
    fewest = read_attempts(serving.attempts).least or read_attempts(serving.attempts).most
    if most < fewest:
        several = any(one.right + one.wrong > most for one in usable)
        question = "question with a right one" if several else "question"
        told = f"No {question} has more than {most} usable attempts: --attempts {most} or fewer gives traces."
        return textwrap.wrap(told, WIDTH)
    return []


def _none_usable(serving: Serving, counts: RawCounts) -> list[str]:
    """Why no right sample may stand in a trace with reflections."""
    if set(serving.right_left_out) <= {NO_REFLECTION}:
        if not counts.all().reflections:
            return ["There are no reflections: only star comes; `python -m reflection.run` adds some."]
        return ["No right sample has a reflection that says so: only star comes."]
    star = ", save alone in star" if serving.served()["star"] else ""
    head = f"No right sample may stand in a trace{star}"
    return [f"{head}:", *counts_text(serving.right_left_out.most_common())]
