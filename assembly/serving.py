"""How many questions can serve each trace format, told from RAW_DATA before any trace is made; and why so few.

Only numbers of usable attempts are kept of each question; what is usable, and what a format needs, is decided
where the assembly decides it.
"""

import textwrap
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa

from assembly.candidates import NO_REFLECTION, UNREFLECTED, choose
from assembly.formats import FORMATS, Attempts, Format
from assembly.settings import SftSettings
from cluster.jobs.card import NONE, WIDTH, Table, code, counts_text
from generation.raw.counts import OUTCOMES, RawCounts

_TELLING = ("0C", "*C", "*C*IC", "*CC", "star")
_STEPS = 8
"""At most so many lengths are shown of traces with fewer attempts."""


class Usable(NamedTuple):
    """Attempts of one question that may stand in a trace."""

    right: int
    wrong: int
    alone: int
    """Right ones that may stand only without a reflection."""

    def gives(self, format_: Format, attempts: Attempts) -> bool:
        """Return True if these give a trace of the format."""
        if format_.lengths == "alone":
            return self.right + self.alone > 0
        return format_.shortage(self.right, self.wrong, attempts) is None


class Serving:
    """Counts usable attempts by question; rows may come in any order."""

    def __init__(self, settings: SftSettings) -> None:
        self.attempts, self.bounds = settings.attempts, settings.bounds
        self._settings = settings
        self._found: dict[str, list[int]] = defaultdict(lambda: [0] * len(Usable._fields))
        """By question, in the order of Usable."""
        self._tasks: dict[str, str] = {}
        self.right_left_out = Counter[str]()
        """Right samples that may stand in no trace but those of star, by reason."""

    def add(self, rows: pa.Table) -> None:
        """Count rows of schema ROWS."""
        columns = ["question_key", "task", "correct", "left_out"]
        counts = choose(rows, self._settings).group_by(columns, use_threads=False).aggregate([([], "count_all")])
        for key, task, right, why, count in zip(*(column.to_pylist() for column in counts.columns), strict=True):
            self._tasks.setdefault(key, task)
            found = self._found[key]
            if not why:
                found[0 if right else 1] += count
            elif right:
                self.right_left_out[why] += count
                found[2] += count * (why in UNREFLECTED)

    def usable(self, task: str | None = None) -> Counter[Usable]:
        """Return questions by how many usable attempts they have, of one task or all."""
        return Counter(Usable(*self._found[key]) for key, of in self._tasks.items() if task is None or of == task)

    def served(self, task: str | None = None) -> Mapping[str, int]:
        """Return how many questions give traces, by format, of one task or all."""
        usable = self.usable(task)
        return {name: _count(format_, usable, self.bounds) for name, format_ in FORMATS.items()}

    def markdown(self, tasks: Sequence[str]) -> str:
        """Return a card's table of the questions that give traces, by format, of several tasks each for itself."""
        several = tasks if len(tasks) > 1 else []
        of_task = [self.served(task) for task in several]
        rows = [(name, count, *(one[name] for one in of_task)) for name, count in self.served().items()]
        table = Table(("format", "questions", *(code(task or NONE) for task in several)), rows)
        head = f"Questions that can serve a trace format, with up to {self.attempts} attempts a trace:"
        return f"{head}\n\n{table.markdown(1)}"


def _count(format_: Format, usable: Mapping[Usable, int], attempts: Attempts) -> int:
    return sum(count for one, count in usable.items() if one.gives(format_, attempts))


def serving_text(serving: Serving, counts: RawCounts) -> str:
    """Say for a person how many questions can serve each format, and what keeps the others from it."""
    total, usable = len(counts.questions), serving.usable()
    lines = [f"questions that can serve a format with --attempts {serving.attempts}, of {total:,}"]
    by_count: dict[int, list[str]] = {}
    for name, count in serving.served().items():
        by_count.setdefault(count, []).append(name)
    for count, names in sorted(by_count.items(), reverse=True):
        head = f"  {count:>7,} {count / max(1, total):>4.0%}  "
        lines += textwrap.wrap(", ".join(names), WIDTH, initial_indent=head, subsequent_indent=" " * len(head))
    # how many could give a *C trace of each number of attempts, where that number decides
    lengths = range(1, min(serving.bounds.most, _STEPS) + 1)
    shorter = [_count(FORMATS["*C"], usable, Attempts(None, length)) for length in lengths]
    if len(set(shorter)) > 1:
        given = "  ".join(f"{length}C {count:,}" for length, count in zip(lengths, shorter, strict=True))
        head = "questions with enough attempts for " if len(given) < WIDTH - 37 else ""
        lines.append(f"  {head}{given}")
    if len(counts.tasks) > 1:
        rows = []
        for task in sorted(counts.tasks):
            served = serving.served(task)
            rows.append((task, serving.usable(task).total(), *(served[name] for name in _TELLING)))
        table = Table(("  by task", "questions", *_TELLING), rows)
        lines += table.text(WIDTH - 2 - 10 * (1 + len(_TELLING)), 10)
    return "\n".join([*lines, *_remarks(serving, counts)])


def _remarks(serving: Serving, counts: RawCounts) -> list[str]:
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
    for task, tally in counts.several().items():
        of_task = [tally.outcome(outcome) for outcome in OUTCOMES]
        if not (right and wrong) or bool(of_task[0]) == bool(of_task[1]):
            continue
        told = f"the model solved {'everything' if of_task[0] else 'nothing'}"
        if of_task[2]:
            told = f"no sample is known to be {'wrong' if of_task[0] else 'right'}"
        lines.append(f"Task {task}: {told}.")
    return [*lines, *(_short_of_usable(serving, counts) if right else [])]


def _short_of_usable(serving: Serving, counts: RawCounts) -> list[str]:
    """Why right samples give no trace with reflections, if none does."""
    usable = serving.usable()
    if any(one.right for one in usable):
        most = max(one.right + one.wrong for one in usable if one.right)
        if most >= serving.bounds.fewest:
            return []
        several = any(one.right + one.wrong > most for one in usable)
        question = "question with a right one" if several else "question"
        told = f"No {question} has more than {most} usable attempts: --attempts {most} or fewer gives traces."
        return textwrap.wrap(told, WIDTH)
    if set(serving.right_left_out) <= {NO_REFLECTION}:
        if not counts.all().reflections:
            return ["There are no reflections: only star comes; `python -m reflection.run` adds some."]
        return ["No right sample has a reflection that says so: only star comes."]
    star = ", save alone in star" if serving.served()["star"] else ""
    return [f"No right sample may stand in a trace{star}:", *counts_text(serving.right_left_out.most_common())]
