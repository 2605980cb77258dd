"""How many questions can serve each trace format, told from RAW_DATA before any trace is made; and why so few.

Only numbers of usable attempts are kept of each question; what is usable, and what a format needs, is decided
where the assembly decides it.
"""

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa

from assembly.candidates import NO_REFLECTION, UNREFLECTED, choose
from assembly.formats import FORMATS, Attempts, Format
from assembly.settings import SftSettings
from cluster.jobs.card import NONE, WIDTH, Table, code, counts_text
from generation.raw.counts import OUTCOMES, RawCounts

_BY_TASK = ("0C", "*C", "*C*IC", "*CC", "star")
"""Formats that are counted by task."""
_STEPS = 8
"""At most this many shorter lengths of traces are shown."""


class Usable(NamedTuple):
    """Attempts of one question that may stand in a trace."""

    right: int
    wrong: int
    alone: int
    """Right ones that may stand only without a reflection."""


class Coverage:
    """Counts usable attempts by question; rows may come in any order."""

    def __init__(self, settings: SftSettings) -> None:
        self.settings = settings
        self._found: dict[str, tuple[str, list[int]]] = {}
        """By question its task, and its attempts in the order of Usable."""
        self.right_left_out = Counter[str]()
        """Right samples that may stand in no trace but those of star, by reason."""

    def add(self, rows: pa.Table) -> None:
        """Count rows of schema ROWS."""
        columns = ["question_key", "task", "correct", "left_out"]
        counts = choose(rows, self.settings).group_by(columns, use_threads=False).aggregate([([], "count_all")])
        for key, task, right, why, count in zip(*(column.to_pylist() for column in counts.columns), strict=True):
            _, found = self._found.setdefault(key, (task, [0, 0, 0]))
            if not why:
                found[0 if right else 1] += count
            elif right:
                self.right_left_out[why] += count
                found[2] += count * (why in UNREFLECTED)

    def usable(self, task: str | None = None) -> Counter[Usable]:
        """Return questions by how many usable attempts they have, of one task or all."""
        return Counter(Usable(*found) for of, found in self._found.values() if task in (None, of))

    def served(self, task: str | None = None) -> dict[str, int]:
        """Return how many questions give traces, by format, of one task or all."""
        usable = self.usable(task)
        return {name: _count(format_, usable, self.settings.bounds) for name, format_ in FORMATS.items()}

    def markdown(self, tasks: Sequence[str]) -> str:
        """Return a card's table of the questions that give traces by format, with a column for each task if several."""
        several = tasks if len(tasks) > 1 else []
        of_task = [self.served(task) for task in several]
        rows = [(name, count, *(one[name] for one in of_task)) for name, count in self.served().items()]
        table = Table(("format", "questions", *(code(task or NONE) for task in several)), rows)
        head = f"Questions that can serve a trace format, with up to {self.settings.attempts} attempts a trace:"
        return f"{head}\n\n{table.markdown(1)}"


def _count(format_: Format, usable: Mapping[Usable, int], bounds: Attempts) -> int:
    """How many of the questions give a trace of the format."""
    if format_.lengths == "alone":
        return sum(count for one, count in usable.items() if one.right + one.alone)
    return sum(count for one, count in usable.items() if format_.shortage(one.right, one.wrong, bounds) is None)


def coverage_text(coverage: Coverage, counts: RawCounts) -> str:
    """Say for a person how many questions can serve each format, and what keeps the others from it."""
    total, usable = len(counts.questions), coverage.usable()
    lines = [f"questions that can serve a format with --attempts {coverage.settings.attempts}, of {total:,}"]
    by_count: dict[int, list[str]] = {}
    for name, count in coverage.served().items():
        by_count.setdefault(count, []).append(name)
    for count, names in sorted(by_count.items(), reverse=True):
        head = f"  {count:>7,} {count / max(1, total):>4.0%}  "
        lines += textwrap.wrap(", ".join(names), WIDTH, initial_indent=head, subsequent_indent=" " * len(head))
    # how many could give a *C trace of each number of attempts, where that number decides
    lengths = range(1, min(coverage.settings.bounds.most, _STEPS) + 1)
    shorter = {length: _count(FORMATS["*C"], usable, Attempts(None, length)) for length in lengths}
    if len({*shorter.values()}) > 1:
        given = "  ".join(f"{length}C {count:,}" for length, count in shorter.items())
        head = "questions with enough attempts for " if len(given) < WIDTH - 37 else ""
        lines.append(f"  {head}{given}")
    if len(counts.tasks) > 1:
        rows = []
        for task in sorted(counts.tasks):
            served = coverage.served(task)
            rows.append((task, coverage.usable(task).total(), *(served[name] for name in _BY_TASK)))
        table = Table(("  by task", "questions", *_BY_TASK), rows)
        lines += table.text(WIDTH - 2 - 10 * (1 + len(_BY_TASK)), 10)
    return "\n".join([*lines, *_remarks(coverage, counts)])


def _remarks(coverage: Coverage, counts: RawCounts) -> list[str]:
    """Say why no traces come, or only some, if one reason holds for all samples."""
    right, wrong, unknown = map(counts.all().outcome, OUTCOMES)
    if not right and not wrong:
        return ["No sample could be told right or wrong: no traces come from these."]
    if not right:
        head = "No sample is known to be right" if unknown else "The model solved nothing: no sample is right"
        remedy = "Take an easier task, a stronger model, more samples, or --variants all."
        return [f"{head}, and every format needs one.", remedy]
    lines = []
    if not wrong:
        head = "No sample is known to be wrong." if unknown else "The model solved everything: no sample is wrong."
        lines.append(f"{head} *C*IC needs one, and no trace")
        lines.append("can show how a mistake is found. Take a harder task or a weaker model.")
    for task, tally in counts.several().items() if wrong else ():
        of_right, of_wrong, of_unknown = map(tally.outcome, OUTCOMES)
        told = f"the model solved {'everything' if of_right else 'nothing'}"
        if of_unknown:
            told = f"no sample is known to be {'wrong' if of_right else 'right'}"
        if bool(of_right) != bool(of_wrong):
            lines.append(f"Task {task}: {told}.")
    return [*lines, *_short_of_usable(coverage, counts)]


def _short_of_usable(coverage: Coverage, counts: RawCounts) -> list[str]:
    """Why right samples give no trace with reflections, if none does."""
    usable = coverage.usable()
    most = max((one.right + one.wrong for one in usable if one.right), default=0)
    if most >= coverage.settings.bounds.fewest:
        return []
    if most:
        several = any(one.right + one.wrong > most for one in usable)
        question = "question with a right one" if several else "question"
        told = f"No {question} has more than {most} usable attempts: --attempts {most} or fewer gives traces."
        return textwrap.wrap(told, WIDTH)
    if set(coverage.right_left_out) <= {NO_REFLECTION}:
        if not counts.all().reflections:
            return ["There are no reflections: only star comes; `python -m reflection.run` adds some."]
        return ["No right sample has a reflection that says so: only star comes."]
    star = ", save alone in star" if coverage.served()["star"] else ""
    return [f"No right sample may stand in a trace{star}:", *counts_text(coverage.right_left_out.most_common())]
