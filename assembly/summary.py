"""What an assembly made and what it could not: counted, as printed text, and in the README.md of SFT_DATA.

The traces are silver data, since no one wrote them on purpose: rules find faults in their texts, and are printed
with the figures; what a rule cannot see is not counted.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from operator import itemgetter
from typing import Any, Self

import pyarrow as pa

from assembly.candidates import false_equations
from assembly.settings import TOO_ALIKE, SftSettings
from assembly.traces import PHRASES, Made
from cluster.jobs import card
from cluster.jobs.card import NONE, Split, Table, code, counts_text
from cluster.jobs.progress import fitted
from generation.raw.files import RawSource
from generation.raw.schema import Column, columns_table

SFT_DATA = "SFT_DATA"
"""Its folder in a run directory, and how its repositories' names begin."""
MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
SFT_COLUMNS = (
    Column("conversations", MESSAGES, "the plain question (user) and the trace (assistant)"),
    Column("sft_template_type_idx", pa.string(), "the trace's label, as published"),
    Column("format", pa.string(), "the format it was made by"),
    Column("question_key", pa.string(), "the question's name in RAW_DATA"),
    Column("task", pa.string(), "the question's task"),
    Column("variants", pa.list_(pa.string()), "the prompt variant of each attempt, in order"),
    Column("faults", pa.list_(pa.string()), "what is wrong with the trace, as far as rules can tell"),
)
SFT_SCHEMA = pa.schema([(column.name, column.type) for column in SFT_COLUMNS])

_TAGS = ("skillfactory", "self-distillation", "reasoning", "sft")

EXAMPLES = 3
_LONGEST_EXAMPLE = 600
_END = 400
"""Characters of a sample's end that are searched for what it claims."""
_KINDS = ("label", "task", "variant")
_GIVES_UP = re.compile(
    r"\b(?:(?:is|are|was) (?:not (?:correct|right|possible)|incorrect)|does(?: not|n't) (?:work|equal|reach|fit)"
    r"|no solution|impossible|cannot be (?:done|made|reached)|(?:can't|cannot) find)\b",
    re.IGNORECASE | re.ASCII,
)
_CLAIMS = re.compile(
    r"\b(?:(?:is|are) (?:indeed )?(?:correct|right|the (?:correct|right) answer)|this works|which works|as required)\b",
    re.IGNORECASE | re.ASCII,
)
_NEEDED = {
    _GIVES_UP: ("not", "n't", "incorrect", "no solution", "impossible"),
    _CLAIMS: ("correct", "right", "works", "as required"),
}
"""A text that a pattern matches holds one of these; to look for them is many times as fast."""


def _says(pattern: re.Pattern[str], text: str) -> bool:
    """Whether the end of a sample says so."""
    end = text[-_END:].lower()
    needed = any(words in end for words in _NEEDED[pattern])
    return needed and pattern.search(text, max(0, len(text) - _END)) is not None


def sample_contradicts_verdict(made: Made) -> bool:
    """The end of a correct attempt says that it failed, or that of an incorrect one that it is right."""
    if made.trace is None or not any(step.reflection for step in made.trace.steps):
        return False
    return any(_says(_GIVES_UP if one.correct else _CLAIMS, one.response) for one in made.attempts)


def reflection_states_false_arithmetic(made: Made) -> bool:
    """A reflection states an equation between numbers that is false."""
    steps = made.trace.steps if made.trace is not None else ()
    return any(any(false_equations(step.reflection)) for step in steps if step.reflection is not None)


def repeats_an_attempt(made: Made) -> bool:
    """Two attempts are the same text, but for case and spacing."""
    return len({" ".join(one.response.lower().split()) for one in made.attempts}) < len(made.attempts)


def cut_at_the_length_limit(made: Made) -> bool:
    """An attempt was cut at the length limit."""
    return any(one.cut for one in made.attempts)


def names_hint(made: Made) -> bool:
    """The word "hint" stands in it."""
    return "hint" in made.text.lower() and re.search(r"\bhint", made.text, re.IGNORECASE) is not None


_RULES = (
    sample_contradicts_verdict,
    reflection_states_false_arithmetic,
    repeats_an_attempt,
    cut_at_the_length_limit,
    names_hint,
)
FAULTS = {rule.__name__: rule for rule in _RULES}
"""What may be wrong with a trace, by name; the docstring of each is printed as its rule."""


@dataclass
class Summary:
    """Counts over part of an assembly, or all of it."""

    notes: list[str] = field(default_factory=list)
    """What is odd in the RAW_DATA, and what was asked for and did not come."""
    samples: int = 0
    variants: Counter[str] = field(default_factory=Counter)
    """Samples by prompt variant; "" where a row names none."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Samples that may stand in no trace, by reason."""
    questions: int = 0
    most_samples: int = 0
    """Of any one question, under the variants asked for."""
    not_given: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Questions that could not give a format, by (format, reason)."""
    too_long: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Traces left out for their length in tokens, by (format, label)."""
    shortest: int = 0
    """Tokens of the shortest of those; 0 where there is none."""
    traces: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By (format, label)."""
    faults: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """Traces by (fault, "format" or one of _KINDS, its name); the fault "" stands for all traces."""
    examples: dict[str, list[str]] = field(default_factory=dict)
    """Beginnings of the first EXAMPLES traces with a fault."""
    shown: tuple[tuple[bool, bool, int], str] | None = None
    """The trace with the smallest rank: one with a retry, without a fault, and short, if there is one."""

    def add(self, row: Mapping[str, Any], text: str) -> None:
        """Count a trace, given its columns; once under each prompt variant among its attempts."""
        label = row["sft_template_type_idx"]
        self.traces[row["format"], label] += 1
        groups = [("format", row["format"]), ("label", label), ("task", row["task"])]
        groups += [("variant", name) for name in set(row["variants"])]
        for fault in ("", *row["faults"]):
            self.faults.update((fault, *group) for group in groups)
            if fault and len(examples := self.examples.setdefault(fault, [])) < EXAMPLES:
                examples.append(text[:_LONGEST_EXAMPLE])
        rank = (len(row["variants"]) < 2, bool(row["faults"]), len(text))
        if self.shown is None or rank < self.shown[0]:
            self.shown = (rank, text)

    def extend(self, later: Self) -> None:
        """Add the counts of a later part."""
        self.samples += later.samples
        self.questions += later.questions
        self.most_samples = max(self.most_samples, later.most_samples)
        self.shortest = min(filter(None, (self.shortest, later.shortest)), default=0)
        self.shown = min(filter(None, (self.shown, later.shown)), key=itemgetter(0), default=None)
        for name in ("variants", "left_out", "not_given", "too_long", "traces", "faults"):
            getattr(self, name).update(getattr(later, name))
        for fault, examples in later.examples.items():
            self.examples[fault] = [*self.examples.get(fault, ()), *examples][:EXAMPLES]

    def counts(self, kind: str) -> dict[str, int]:
        """Return the traces by format, label, task or variant, in order of name."""
        return {name: count for (fault, of, name), count in sorted(self.faults.items()) if (fault, of) == ("", kind)}

    def as_json(self) -> dict[str, Any]:
        """Return what analysis.json holds of each fault: the rule, shares by label, task and variant, and examples."""
        found: dict[str, Any] = {}
        for fault, rule in FAULTS.items():
            found[fault] = {"rule": rule.__doc__}
            for kind in _KINDS:
                found[fault][f"by_{kind}"] = {
                    name or NONE: {"traces": count, "share": round(self.faults[fault, kind, name] / count, 6)}
                    for name, count in self.counts(kind).items()
                }
            found[fault]["examples"] = self.examples.get(fault, [])
        return found


def summary_text(summary: Summary) -> str:
    """Return the summary for a person, in a few lines."""
    traces = [
        (label if label == name else f"{label} of {name}", n) for (name, label), n in sorted(summary.traces.items())
    ]
    lines = [f"{summary.questions:,} questions with {summary.samples:,} samples in all"]
    lines += [f"{summary.traces.total():,} traces", *counts_text(traces)]
    if len(tasks := summary.counts("task")) > 1:
        lines += ["traces by task", *counts_text((name or NONE, count) for name, count in tasks.items())]
    if summary.not_given:
        some = ", or not all of it" if any(why == TOO_ALIKE for _, why in summary.not_given) else ""
        not_given = sorted(summary.not_given.items())
        lines.append(f"questions that could not give a format{some}")
        lines += counts_text((f"{name}: {why}", count) for (name, why), count in not_given)
    if summary.left_out:
        lines += ["samples that no trace may use", *counts_text(sorted(summary.left_out.items()))]
    if summary.too_long:
        lines.append(f"{summary.too_long.total():,} traces left out: longer than --max_trace_tokens")
    return "\n".join([*lines, *(fitted(f"note        {note}") for note in summary.notes)])


def sft_card(
    summary: Summary,
    settings: SftSettings,
    split: Split,
    source: RawSource,
    *,
    license: str,
    starts: Sequence[Mapping[str, Any]],
) -> str:
    """Return the README.md of SFT_DATA, whose files are `split`, made from `source` by the `starts` of a run."""
    missing = summary.too_long or summary.not_given or summary.left_out
    rules = [(name, rule.__doc__) for name, rule in FAULTS.items()]
    shares = [
        (kind, code(name or NONE), count, *(summary.faults[fault, kind, name] / count for fault in FAULTS))
        for kind in _KINDS
        for name, count in summary.counts(kind).items()
    ]
    drawn = "What is said between attempts and before the answer is drawn from these, a line each."
    values = {
        "header": card.header(
            SFT_SCHEMA, [split], tags=_TAGS, license=license, models=source.models, sources=[source.repository]
        ),
        "traces": f"{split.rows:,}",
        "questions": f"{summary.questions:,}",
        "samples": f"{summary.samples:,}",
        "formats": _table(("format", "traces"), summary.counts("format"), 1),
        "labels": _table(("label", "traces"), summary.counts("label"), 1),
        "tasks": _table(("task", "traces"), summary.counts("task"), 1),
        "too_long": _table(("format", "label", "traces longer than asked for"), summary.too_long, 2),
        "not_given": _table(("format", "why a question could not give it", "questions"), summary.not_given, 1),
        "left_out": _table(("why a sample stands in no trace", "samples"), summary.left_out, 0),
        "nothing": "" if missing else "Nothing: every question gave every format, and every sample could be used.",
        "shown": card.fenced(summary.shown[1], "text") if summary.shown else "There is none.",
        "rules": Table(("fault", "a trace shows it when"), rules).markdown(1),
        "shares": Table(("by", "", "traces", *map(code, FAULTS)), shares).markdown(),
        "columns": columns_table(SFT_COLUMNS),
        "source": code(source.name),
        "commit": f", at commit {code(source.revision)}" if source.revision else "",
        "digest": code(source.digest),
        "written": f"; its samples are by {', '.join(map(code, source.models))}" if source.models else "",
        "configuration": card.json_block(asdict(settings), sort_keys=False),
        "run": card.run_section(starts),
        "phrases": card.texts_section("The phrases", {"phrases": PHRASES}, drawn),
    }
    return card.fill_card("assembly", values, "sft_card.md")


def _table(head: tuple[str, ...], counts: Mapping[Any, int], names: int) -> str:
    rows = [(*((key,) if isinstance(key, str) else key), count) for key, count in sorted(counts.items())]
    return Table(head, rows).markdown(names) if rows else ""
