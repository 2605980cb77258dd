"""Which formats can come, from how many questions, and why not: told before a rollout, while it goes on, and after it.

Told from settings and counts alone; what is usable, and what a format needs, is decided where the assembly decides it.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from assembly import candidates, formats
from assembly.candidates import NO_REFLECTION, UNREFLECTED, choose
from assembly.formats import FORMATS, Format, choose_formats
from assembly.settings import SftSettings
from assembly.summary import Summary
from cluster.texts import counted, nearest
from generation.raw.reader import as_rows, find_columns, open_parts, read_part
from generation.records import CUT, NO_ANSWER

FIRST = 32
"""Questions after which a warning is certain enough."""
_NO_THOUGHTS = "take a model, or a chat template, that does not think aloud"
_ADVICE = {
    candidates.UNDECIDED: "look at outcome_reason in RAW_DATA, then at the gold answers and their --grader",
    candidates.HINT: "ask under --variants plain",
    candidates.FRAME_TAG: _NO_THOUGHTS,
    candidates.FRAMED_REFLECTION: _NO_THOUGHTS,
    candidates.UNQUOTABLE: "look at the extracted answers in RAW_DATA",
    NO_REFLECTION: "add reflections with `python -m reflection.run`, or take --formats star, which needs none",
    candidates.FALSE_REFLECTION: "leave --true_arithmetic out",
    candidates.OTHER_VARIANT: "take other --variants",
    CUT: "take more --max_tokens",
    NO_ANSWER: "take a model that answers in <answer> tags, as the prompts ask",
    formats.TOO_FEW: "give fewer --attempts",
    formats.TOO_FEW_CORRECT: "take other --formats, fewer --attempts, or samples of an easier task or a stronger model",
    formats.TOO_FEW_INCORRECT: "take other --formats",
    formats.TOO_ALIKE: "leave --unique_variants or --max_similarity out, or give fewer --attempts",
}
"""What helps where this is why samples stand in no trace, or questions give none."""


class NothingMadeError(ValueError):
    """No trace comes of what was chosen; nothing was made of it and nothing replaced."""


class Supply(NamedTuple):
    """What a question has at most, and how a person can get more of it."""

    samples: int
    """Under the variants asked for."""
    variants: int
    """Under which there are any of those."""
    reflections: bool
    more_samples: str = ""
    """Behind "give --attempts 8 or fewer"."""
    more_reflections: str = "`python -m reflection.run` adds some; --formats star needs none"


def check_variants(wanted: Collection[str], there: Collection[str]) -> None:
    """Raise ValueError for a prompt variant that no sample of a RAW_DATA is of."""
    named = sorted(filter(None, there))
    for name in wanted:
        if name in there:
            continue
        if not named:
            raise ValueError(f"--variants {name}: this RAW_DATA names no prompt variants; leave --variants out")
        near = nearest(name, named)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"--variants {name}: the RAW_DATA has no sample under it, only under {', '.join(named)}{hint}")


def notes_on_supply(settings: SftSettings, supply: Supply) -> tuple[str, ...]:
    """Return a note for each format that no sample could give. Raises ValueError if that is so of all."""
    wanted = choose_formats(settings.formats, settings.bounds)
    lacking = {format_.name: lack for format_ in wanted if (lack := _lack(format_, settings, supply))}
    if len(lacking) < len(wanted):
        return tuple(f"no trace of {name} can come: {why}" for name, (why, _) in lacking.items())
    told = []
    for why, help in dict.fromkeys(lacking.values()):
        names = ", ".join(name for name, lack in lacking.items() if lack == (why, help))
        told.append(f"no trace of {names} can come: {why}; {help}")
    raise ValueError("; ".join(told))


def _lack(format_: Format, settings: SftSettings, supply: Supply) -> tuple[str, str] | None:
    """What keeps every question from giving a format, and what helps."""
    bounds, attempts = settings.bounds, f"--attempts {settings.attempts}"
    if format_.reflected and not supply.reflections:
        return "it takes samples that a reflection judged rightly, and none has any", supply.more_reflections
    wanted = max(format_.pool(bounds), format_.shortest)
    if wanted > supply.samples:
        too_long = format_.shortest > supply.samples
        help = "take another format" if too_long else f"give --attempts {supply.samples} or fewer"
        needs = f"{attempts if format_.whole_pool else 'it'} needs {wanted} samples of a question"
        return f"{needs}, and {_there(supply.samples)} at most", help + supply.more_samples
    # attempts of the shortest trace, each under another variant
    wanted = {"all": bounds.fewest, "each": bounds.least or 1}.get(format_.lengths, 1)
    if settings.unique_variants and wanted > supply.variants:
        needs = f"{attempts} with --unique_variants needs samples under {wanted} prompt variants"
        return f"{needs}, and {_there(supply.variants)}", "give fewer --attempts, or leave --unique_variants out"
    return None


def _there(count: int) -> str:
    return f"there {'is' if count == 1 else 'are'} {count}"


def _samples(count: int) -> str:
    return f"{count:,} sample{'s' * (count != 1)}"


def _why(left_out: Mapping[str, int], settings: SftSettings) -> str:
    """Why samples stand in no trace, and what helps against the most frequent reason."""
    most = max(sorted(left_out), key=lambda reason: left_out[reason])
    help = _ADVICE.get(most, "look at the samples in RAW_DATA")
    if most == CUT and settings.drop_cut:
        help = "leave --drop_cut out"
    return f"{counted(Counter(left_out))}; {help}"


class EarlyWarning:
    """Looks at finished questions of a rollout until one has a usable sample, or FIRST have none."""

    def __init__(self, settings: SftSettings) -> None:
        self._settings = settings
        alone = any(not FORMATS[name].reflected for name in settings.formats)
        self._usable = {"", *UNREFLECTED} if alone else {""}
        self._left_out = Counter[str]()
        self._questions = 0

    def __call__(self, table: pa.Table) -> str:
        """Look at the rows of one more question of RAW_DATA; return a warning once FIRST questions had none usable."""
        self._questions += 1
        if self._questions > FIRST:
            return ""
        here = Path("rollout")
        columns = find_columns(table.schema, here)
        for batch in table.to_batches():
            pool = choose(as_rows(batch, columns, here, 0), self._settings)
            self._left_out.update(pool["left_out"].to_pylist())
        if not self._usable.isdisjoint(self._left_out):
            self._questions = FIRST
        elif self._questions == FIRST:
            samples = f"{_samples(self._left_out.total())} of the first {FIRST} questions"
            return f"no trace can come of the {samples}: {_why(self._left_out, self._settings)}. Ctrl-C stops the run"
        return ""


def why_unusable(files: Iterable[Path], settings: SftSettings) -> str:
    """Say why no sample of a RAW_DATA can stand in a trace, whatever reflections are added; "" if one can.

    Reads as far as the first sample that can. Raises ValueError for rows that cannot be read.
    """
    left_out = Counter[str]()
    for part in (part for file in files for part in open_parts(file)):
        for rows in read_part(part):
            left_out.update(choose(rows, settings)["left_out"].to_pylist())
            if not {"", *UNREFLECTED}.isdisjoint(left_out):
                return ""
    told = f"no trace can come of these {_samples(left_out.total())}, whatever reflections they get"
    return f"{told}: {_why(left_out, settings)}"


def why_nothing(summary: Summary, settings: SftSettings) -> str:
    """Say why no question gave any trace, and what helps."""
    if summary.too_long:
        words = f"all {summary.too_long.total():,} are longer than --max_trace_tokens {settings.max_trace_tokens}"
        return f"no trace comes: {words}; the shortest has {summary.shortest:,} tokens"
    samples = _samples(summary.samples)
    if summary.left_out.total() == summary.samples:
        return f"no trace comes: of {samples} none may stand in one: {_why(summary.left_out, settings)}"
    why = Counter[str]()
    for (_, reason), count in summary.not_given.items():
        why[reason] = max(why[reason], count)
    told = ", ".join(f"{name}: {_why_none_of(name, summary)}" for name in dict.fromkeys(settings.formats))
    left_out = f"; of {samples} no trace may use {counted(summary.left_out)}" if summary.left_out else ""
    return f"no trace comes with --attempts {settings.attempts}: {told}{left_out}; {_ADVICE[why.most_common(1)[0][0]]}"


def _why_none_of(name: str, summary: Summary) -> str:
    """What kept questions from the format, the most frequent first."""
    reasons = Counter({why: count for (of, why), count in summary.not_given.items() if of == name})
    told = ", ".join(f"{why} in {count:,}" for why, count in reasons.most_common())
    return f"{told} of {summary.questions:,} questions"


def notes_on_missing(summary: Summary, settings: SftSettings, made: Counter[tuple[str, str]]) -> list[str]:
    """Return notes on formats of which nothing came, and on a subsample larger than the traces `made`, by label."""
    notes = []
    for name in dict.fromkeys(settings.formats):
        long = sum(count for (of, _), count in summary.too_long.items() if of == name)
        if any(of == name for of, _ in made):
            continue
        why = (
            f" is kept: all {long:,} are longer than --max_trace_tokens" if long else f": {_why_none_of(name, summary)}"
        )
        notes.append(f"no trace of {name}{why}")
    if settings.subsample is not None and settings.subsample > made.total():
        notes.append(f"--subsample {settings.subsample:,} is more than there are: all {made.total():,} traces are kept")
    return notes
