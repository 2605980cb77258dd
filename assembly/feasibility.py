"""Which formats are feasible, from how many questions, and why not: reported before, during and after a rollout.

Keeps only counts; what is usable, and what a format needs, is decided by the assembly's own code.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from assembly.candidates import UNREFLECTED, choose
from assembly.formats import Attempts, Format
from assembly.settings import SftSettings
from assembly.sft import Summary
from cluster.jobs.card import NONE, Table, code
from cluster.jobs.store import KEY
from cluster.texts import counted, load_table, nearest
from generation.raw.reader import as_rows, find_columns, open_parts, read_part
from generation.records import CUT

FIRST = 32  # number of questions after which a warning is justified
ADVICE = load_table("assembly", "advice.toml")
"""Advice by the reason why samples are left out, or why questions give no trace."""


class NothingMadeError(ValueError):
    """The settings give no trace; nothing was written or replaced."""


class Supply(NamedTuple):
    """The most that any question has under the variants asked for, and how the user can get more."""

    samples: int
    variants: int
    reflections: bool
    retries: bool = False
    more_samples: str = ""  # appended to "give --attempts 8 or fewer"
    more_retries: str = "`generation.run --retries` makes some; take other --formats"
    more_reflections: str = "`python -m reflection.run` adds some; --formats star needs none"


def check_variants(wanted: Collection[str], there: Collection[str]) -> None:
    """Raise ValueError for a wanted prompt variant that no sample of the RAW_DATA has."""
    named = sorted(filter(None, there))
    for name in (name for name in wanted if name not in there):
        if not named:
            raise ValueError(f"--variants {name}: this RAW_DATA names no prompt variants; leave --variants out")
        hint = "".join(f"; did you mean {near}?" for near in nearest(name, named))
        raise ValueError(f"--variants {name}: the RAW_DATA has no sample under it, only under {', '.join(named)}{hint}")


def notes_on_supply(settings: SftSettings, supply: Supply) -> tuple[str, ...]:
    """Return a note for each infeasible format. Raises ValueError if all are."""
    lacking = defaultdict[tuple[str, str] | None, list[str]](list)
    for format_ in settings.chosen:
        lacking[_infeasibility(format_, settings, supply)].append(format_.name)
    lacks = [(*lack, names) for lack, names in lacking.items() if lack]
    if None in lacking:
        return tuple(f"no trace of {name} can come: {why}" for why, _, names in lacks for name in names)
    raise ValueError("; ".join(f"no trace of {', '.join(names)} can come: {why}; {help}" for why, help, names in lacks))


def feasible(settings: SftSettings, supply: Supply) -> tuple[Format, ...]:
    """Return the formats that can come of some question."""
    asked = settings.chosen
    return tuple(format_ for format_ in asked if _infeasibility(format_, settings, supply) is None)


def _infeasibility(format_: Format, settings: SftSettings, supply: Supply) -> tuple[str, str] | None:
    """Return why no question can give a format, and the remedy; None if some can."""
    bounds, attempts = settings.bounds, f"--attempts {settings.attempts}"
    samples, variants = (f"there {'is' if one == 1 else 'are'} {one}" for one in (supply.samples, supply.variants))
    if format_.reflected and not supply.reflections:
        return "it takes samples that a reflection judged rightly, and none has any", supply.more_reflections
    if format_.retried:
        return None if supply.retries else ("it takes retries, and there are none", supply.more_retries)
    wanted = max(format_.pool(bounds), format_.shortest)
    if wanted > supply.samples:
        too_long = format_.shortest > supply.samples
        help = "take another format" if too_long else f"give --attempts {supply.samples} or fewer"
        needs = f"{attempts if format_.whole_pool else 'it'} needs {wanted} samples of a question"
        return f"{needs}, and {samples} at most", help + supply.more_samples
    # attempts in the shortest trace, each under a different variant
    wanted = {"all": bounds.fewest, "each": bounds.least or 1}.get(format_.lengths, 1)
    if settings.unique_variants and wanted > supply.variants:
        needs = f"{attempts} with --unique_variants needs samples under {wanted} prompt variants"
        return f"{needs}, and {variants}", "give fewer --attempts, or leave --unique_variants out"
    return None


def early_warning(settings: SftSettings) -> Callable[[pa.Table], str]:
    """Return a callback for rows of whole questions; it returns a warning once if the first have no usable sample.

    Of FIRST questions, whatever number of them comes at once.
    """
    here, left_out, questions = Path("rollout"), Counter[str](), list[str]()
    usable = {"", *UNREFLECTED} if any(not format_.reflected for format_ in settings.chosen) else {""}

    def look(table: pa.Table) -> str:
        if len(questions) >= FIRST or not usable.isdisjoint(left_out):
            return ""
        more = table[KEY].unique()[: FIRST - len(questions)]
        questions.extend(more.to_pylist())
        columns = find_columns(table.schema, here)
        for batch in table.filter(pc.is_in(table[KEY], value_set=more)).to_batches():
            left_out.update(choose(as_rows(batch, columns, here, 0), settings)["left_out"].to_pylist())
        if len(questions) < FIRST or not usable.isdisjoint(left_out):
            return ""
        samples = f"{_samples(left_out.total())} of the first {FIRST} questions"
        return f"no trace can come of the {samples}: {_why(left_out, settings)}. Ctrl-C stops the run"

    return look


def why_unusable(files: Iterable[Path], settings: SftSettings) -> str:
    """Say why no sample is usable whatever reflections are added; "" if one is. Raises ValueError for bad rows."""
    left_out = Counter[str]()
    for rows in (rows for file in files for part in open_parts(file) for rows in read_part(part)):
        left_out.update(choose(rows, settings)["left_out"].to_pylist())
        if not {"", *UNREFLECTED}.isdisjoint(left_out):
            return ""
    told = f"no trace can come of these {_samples(left_out.total())}, whatever reflections they get"
    return f"{told}: {_why(left_out, settings)}"


def _samples(count: int) -> str:
    return f"{count:,} sample{'s' * (count != 1)}"


def _why(left_out: Counter[str], settings: SftSettings) -> str:
    """Return why samples are left out, with the remedy for the most frequent reason."""
    most = max(sorted(left_out), key=left_out.__getitem__)
    help = ADVICE.get(most, "look at the samples in RAW_DATA")
    return f"{counted(left_out)}; {'leave --drop_cut out' if most == CUT and settings.drop_cut else help}"


def why_nothing(summary: Summary, settings: SftSettings) -> str:
    """Say why no question gave any trace, with a remedy."""
    if summary.left_questions and summary.left_questions.total() == summary.questions:
        told = f"of {summary.questions:,} questions none is wanted: {counted(summary.left_questions)}"
        return f"no trace comes: {told}; give other ends to --pass_rate, or another set to --exclude"
    if summary.too_long:
        words = f"all {summary.too_long.total():,} are longer than --max_trace_tokens {settings.max_trace_tokens}"
        return f"no trace comes: {words}; the shortest has {summary.shortest:,} tokens"
    samples = _samples(summary.samples)
    if summary.left_out.total() == summary.samples + summary.retries:
        return f"no trace comes: of {samples} none may stand in one: {_why(summary.left_out, settings)}"
    why = Counter[str]()
    for (_, reason), count in summary.not_given.items():
        why[reason] = max(why[reason], count)
    told = ", ".join(f"{name}: {_why_none_of(name, summary)}" for name in dict.fromkeys(settings.formats))
    left_out = f"; of {samples} no trace may use {counted(summary.left_out)}" if summary.left_out else ""
    return f"no trace comes with --attempts {settings.attempts}: {told}{left_out}; {ADVICE[why.most_common(1)[0][0]]}"


def _why_none_of(name: str, summary: Summary) -> str:
    reasons = Counter({why: count for (of, why), count in summary.not_given.items() if of == name})
    told = ", ".join(f"{why} in {count:,}" for why, count in reasons.most_common())
    return f"{told} of {summary.questions:,} questions"


def notes_on_missing(summary: Summary, settings: SftSettings, made: Counter[tuple[str, str]]) -> list[str]:
    """Return notes on formats without any trace, and on a subsample larger than the number of traces `made`."""
    notes = []
    for name in (name for name in dict.fromkeys(settings.formats) if not any(of == name for of, _ in made)):
        if long := sum(count for (of, _), count in summary.too_long.items() if of == name):
            notes.append(f"no trace of {name} is kept: all {long:,} are longer than --max_trace_tokens")
        else:
            notes.append(f"no trace of {name}: {_why_none_of(name, summary)}")
    if settings.subsample is not None and settings.subsample > made.total():
        notes.append(f"--subsample {settings.subsample:,} is more than there are: all {made.total():,} traces are kept")
    return notes


class Coverage:
    """Counts usable attempts per question; rows may come in any order."""

    def __init__(self, settings: SftSettings) -> None:
        self.settings = settings
        # By question: its task, and its numbers of attempts that are right, wrong, and right but only usable for star.
        self._found: dict[str, tuple[str, list[int]]] = {}
        # How many questions there are of each task and such numbers: what is told of a run while it runs has no time
        # to go through all of them.
        self._alike = Counter[tuple[str, tuple[int, ...]]]()
        # Right samples that are usable only for star, or not at all, by reason.
        self.right_left_out = Counter[str]()
        # By question with retries: its task, and how many traces these give, whole and cut.
        self._retried: dict[str, tuple[str, list[int]]] = {}

    def add(self, rows: pa.Table) -> None:
        """Count rows of schema ROWS."""
        columns = ["question_key", "task", "correct", "left_out"]
        pool = choose(rows, self.settings)
        self._add_retries(pool.filter(pool["is_retry"]))
        samples = pool.filter(pc.invert(pool["is_retry"]))
        counts = samples.group_by(columns, use_threads=False).aggregate([([], "count_all")])
        for key, task, right, why, count in zip(*(column.to_pylist() for column in counts.columns), strict=True):
            if key not in self._found:
                self._found[key] = (task, [0, 0, 0])
                self._alike[task, (0, 0, 0)] += 1
            of, found = self._found[key]
            self._alike[of, tuple(found)] -= 1
            if not why:
                found[0 if right else 1] += count
            elif right:
                self.right_left_out[why] += count
                found[2] += count * (why in UNREFLECTED)
            self._alike[of, tuple(found)] += 1

    def _add_retries(self, pool: pa.Table) -> None:
        places = pc.struct_field(pool["first"].combine_chunks(), "cut_place").to_pylist()
        told = (pool[name].to_pylist() for name in ("question_key", "task"))
        for key, task, mends, place in zip(*told, pool["first"].is_valid().to_pylist(), places, strict=True):
            found = self._retried.setdefault(key, (task, [0, 0]))[1]
            found[0] += mends
            found[1] += bool(place)

    @property
    def has_retries(self) -> bool:
        return bool(self._retried)

    def retried(self, format_: Format, task: str | None = None) -> dict[str, int]:
        """Return how many traces of a format with retries each question with retries gives, of one task or all."""
        place = 0 if format_.lengths == "retried" else 1
        return {key: found[place] for key, (of, found) in self._retried.items() if task in (None, of)}

    def by_question(self) -> dict[str, tuple[int, ...]]:
        """Return the attempts of each question, as `usable` counts them."""
        return {key: tuple(found) for key, (_, found) in self._found.items()}

    def usable(self, task: str | None = None) -> Counter[tuple[int, ...]]:
        """Count questions, of one task or all, by their attempts: right, wrong, right but only usable for star."""
        usable = Counter[tuple[int, ...]]()
        for (of, found), count in self._alike.items():
            if count and task in (None, of):
                usable[found] += count
        return usable

    def served(self, task: str | None = None) -> dict[str, int]:
        """Count the questions, of one task or all, that give traces, by format, those with retries if there are any."""
        usable, bounds = self.usable(task), self.settings.bounds
        known = self.settings.words.formats.items()
        counts = {name: count_served(one, usable, bounds) for name, one in known if not one.retried}
        with_retries = [one for _, one in known if one.retried and (self._retried or one in self.settings.chosen)]
        return counts | {one.name: sum(map(bool, self.retried(one, task).values())) for one in with_retries}

    def markdown(self, tasks: Sequence[str]) -> str:
        """Return the card's table of questions that give traces, by format, and by task if there are several."""
        several = tasks if len(tasks) > 1 else []
        of_task = [self.served(task) for task in several]
        rows = [(name, count, *(one[name] for one in of_task)) for name, count in self.served().items()]
        table = Table(("format", "questions", *(code(task or NONE) for task in several)), rows)
        head = f"Questions that can serve a trace format, with up to {self.settings.attempts} attempts a trace:"
        return f"{head}\n\n{table.markdown(1)}"


def count_served(format_: Format, usable: Mapping[tuple[int, ...], int], bounds: Attempts) -> int:
    """Return how many of the questions give a trace of the format."""
    if format_.lengths == "alone":
        return sum(count for (right, _, alone), count in usable.items() if right + alone)
    return sum(count for (right, wrong, _), count in usable.items() if not format_.shortage(right, wrong, bounds))
