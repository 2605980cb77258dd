"""What is wrong with the traces that were made: silver data, since no one wrote them on purpose.

For each label, task and prompt variant, how many traces show each fault, with a few examples. A fault is
told from the text by rules that are printed with the figures; what a rule cannot see is not counted.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Self

from assembly.candidates import states_false_arithmetic
from assembly.question_traces import Made

EXAMPLES = 3
KINDS = ("label", "task", "variant")
"""What traces are counted by."""
_LONGEST_EXAMPLE = 600
_END = 400
"""Characters of a sample's end that are asked what it claims."""

_GIVES_UP = re.compile(
    r"\b(?:(?:is|are|was) (?:not (?:correct|right|possible)|incorrect)|does(?: not|n't) (?:work|equal|reach|fit)"
    r"|no solution|impossible|cannot be (?:done|made|reached)|(?:can't|cannot) find)\b",
    re.IGNORECASE | re.ASCII,
)
_CLAIMS = re.compile(
    r"\b(?:(?:is|are) (?:indeed )?(?:correct|right|the (?:correct|right) answer)|this works|which works|as required)\b",
    re.IGNORECASE | re.ASCII,
)
_HINT = re.compile(r"\bhint", re.IGNORECASE)


# The same samples and reflections stand in several traces.
_is_false = lru_cache(maxsize=4096)(states_false_arithmetic)


@lru_cache(maxsize=4096)
def _says(pattern: re.Pattern[str], text: str) -> bool:
    """Whether the end of a sample says so."""
    return pattern.search(text, max(0, len(text) - _END)) is not None


def contradicts_verdict(made: Made) -> bool:
    """The end of a correct attempt says that it failed, or that of an incorrect one that it is right."""
    if made.trace is None or not any(step.reflection for step in made.trace.steps):
        return False
    return any(_says(_GIVES_UP if one.correct else _CLAIMS, one.response) for one in made.attempts)


def false_reflection(made: Made) -> bool:
    """A reflection states an equation between numbers that is false."""
    steps = made.trace.steps if made.trace is not None else ()
    return any(step.reflection is not None and _is_false(step.reflection) for step in steps)


def repeats_attempt(made: Made) -> bool:
    """Two attempts are the same text, but for case and spacing."""
    return len({" ".join(one.response.lower().split()) for one in made.attempts}) < len(made.attempts)


def is_cut(made: Made) -> bool:
    """An attempt was cut at the length limit."""
    return any(one.cut for one in made.attempts)


def names_hint(made: Made) -> bool:
    """The word "hint" stands in it."""
    return "hint" in made.text.lower() and _HINT.search(made.text) is not None


FAULTS = {
    "sample_contradicts_verdict": contradicts_verdict,
    "reflection_states_false_arithmetic": false_reflection,
    "repeats_an_attempt": repeats_attempt,
    "cut_at_the_length_limit": is_cut,
    "names_hint": names_hint,
}
"""The docstring of each is printed as its rule."""


def faults_of(made: Made) -> list[str]:
    """Return the names of the faults that a trace shows."""
    return [fault for fault, shows in FAULTS.items() if shows(made)]


@dataclass
class Analysis:
    """What traces are: how many of which kind, their faults with the first examples, and one to be shown."""

    traces: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By (format, label)."""
    kinds: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Traces by (one of KINDS, its name)."""
    faults: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """By fault, and as above."""
    examples: dict[str, list[str]] = field(default_factory=dict)
    shown: tuple[tuple[bool, bool, int], str] | None = None
    """The text with the smallest rank; a card's reader wants one with a retry, without a fault, and short."""

    def add(self, row: Mapping[str, Any], text: str) -> None:
        """Add a trace, by its columns; it counts once under each variant that it has an attempt of."""
        self.traces[row["format"], row["sft_template_type_idx"]] += 1
        groups = [("label", row["sft_template_type_idx"]), ("task", row["task"])]
        groups += [("variant", name) for name in set(row["variants"])]
        self.kinds.update(groups)
        for fault in row["faults"]:
            self.faults.update((fault, *group) for group in groups)
            kept = self.examples.setdefault(fault, [])
            if len(kept) < EXAMPLES:
                kept.append(text[:_LONGEST_EXAMPLE])
        rank = (len(row["variants"]) < 2, bool(row["faults"]), len(text))
        if self.shown is None or rank < self.shown[0]:
            self.shown = (rank, text)

    def extend(self, later: Self) -> None:
        """Add traces that come behind these."""
        self.traces.update(later.traces)
        self.kinds.update(later.kinds)
        self.faults.update(later.faults)
        for fault, examples in later.examples.items():
            kept = self.examples.setdefault(fault, [])
            kept += examples[: EXAMPLES - len(kept)]
        if later.shown is not None and (self.shown is None or later.shown[0] < self.shown[0]):
            self.shown = later.shown

    def counts(self, kind: str) -> dict[str, int]:
        """Return the traces by each name of this kind, in order of name."""
        return {name: count for (of, name), count in sorted(self.kinds.items()) if of == kind}

    def share(self, fault: str, kind: str, name: str) -> float:
        """Return the part of these traces that shows the fault, between 0 and 1."""
        return self.faults[fault, kind, name] / self.kinds[kind, name]

    def as_json(self) -> dict[str, Any]:
        """Return what analysis.json holds of each fault: the rule, shares by each kind, and examples."""
        found: dict[str, Any] = {}
        for fault, shows in FAULTS.items():
            found[fault] = {"rule": shows.__doc__}
            for kind in KINDS:
                found[fault][f"by_{kind}"] = {
                    name or "(none)": {"traces": count, "share": round(self.share(fault, kind, name), 6)}
                    for name, count in self.counts(kind).items()
                }
            found[fault]["examples"] = self.examples.get(fault, [])
        return found
