"""Asks the built-in model fresh questions through the real engine, and writes its card.

`python -m examples.builtin_model.measure` — 500 questions that training left out, under all eight
variants, at the default sampling; a few minutes on two cores.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from cluster.inference.pool import Done
from cluster.jobs.card import Table
from cluster.jobs.run_directory import versions
from cluster.texts import fill
from examples.builtin_model.train import evaluation_questions
from generation.builtin import EVALUATION_QUESTIONS, EVALUATION_SEED, MODEL, NAME, RANGES
from generation.placement import ray_fleet
from generation.plan import make_plan
from generation.records import WITHOUT_ANSWER, Attempt
from generation.settings import Settings
from generation.variants import VARIANTS

_CHECKS_ITSELF = re.compile(r"\b(wait|let me (check|verify)|try again|on second thought|mistake)\b", re.IGNORECASE)


@dataclass
class Tally:
    """Counts over the samples of one variant, or the reflections under one prompt."""

    total: int = 0
    right: int = 0
    answered: int = 0
    checking: int = 0
    """Samples that check themselves or start over."""
    tokens: int = 0

    def share(self, count: int) -> str:
        return f"{count / self.total:.1%}" if self.total else "none"


@dataclass
class Figures:
    samples: dict[str, Tally] = field(default_factory=dict)
    reflections: dict[str, Tally] = field(default_factory=dict)
    verdicts: Counter[tuple[bool, bool | None]] = field(default_factory=Counter)
    """By (the sample is right, the verdict)."""

    def add(self, attempt: Attempt) -> None:
        tally = self.samples.setdefault(attempt.variant, Tally())
        tally.total += 1
        tally.right += attempt.grade.outcome == "right"
        tally.answered += attempt.grade.reason not in WITHOUT_ANSWER
        tally.checking += _CHECKS_ITSELF.search(attempt.completion.text) is not None
        tally.tokens += attempt.completion.output_tokens
        for reflection in attempt.reflections:
            tally = self.reflections.setdefault(reflection.prompt_name, Tally())
            tally.total += 1
            tally.answered += reflection.verdict is not None
            tally.right += reflection.valid
            tally.tokens += reflection.completion.output_tokens
            self.verdicts[attempt.grade.outcome == "right", reflection.verdict] += 1


def add_up(tallies: Iterable[Tally]) -> Tally:
    total = Tally()
    for tally in tallies:
        for name in vars(total):
            setattr(total, name, getattr(total, name) + getattr(tally, name))
    return total


def measure(model: Path) -> Figures:
    """One sample under each variant for every evaluation question, one reflection for each sample."""
    settings = Settings(model=str(model), variants=("all",), samples=1, reflections=1, max_tokens=256, questions=2)
    plan = make_plan(settings)
    figures = Figures()
    with ray_fleet(plan, settings).open(plan.rollout) as pool:
        for event in pool.run(evaluation_questions()):
            if isinstance(event, Done):
                for attempt in event.result:
                    figures.add(attempt)
    return figures


def card(figures: Figures) -> str:
    """The model's README.md."""
    samples, reflections = figures.samples, figures.reflections
    plain = add_up(tally for name, tally in samples.items() if not VARIANTS[name].rationalized)
    every, looks = add_up(samples.values()), add_up(reflections.values())
    rows = [("plain variants", plain), ("all variants", every), *((f"`{name}`", samples[name]) for name in VARIANTS)]
    by_variant = Table(
        ("samples", "right", "with an answer tag", "checking themselves", "tokens each"),
        [
            (name, t.share(t.right), t.share(t.answered), t.share(t.checking), f"{t.tokens / t.total:.0f}")
            for name, t in rows
        ],
    )
    by_prompt = Table(
        ("reflections", "with a verdict", "verdict equal to correctness", "tokens each"),
        [
            (name, t.share(t.answered), t.share(t.right), f"{t.tokens / t.total:.0f}")
            for name, t in [("all", looks), *((f"`{name}`", reflections[name]) for name in sorted(reflections))]
        ],
    )
    verdicts = Table(
        ("", "Correct", "Incorrect", "no verdict"),
        [
            (
                f"sample {'right' if right else 'wrong'}",
                *(figures.verdicts[right, said] for said in (True, False, None)),
            )
            for right in (True, False)
        ],
    )
    told = {"inputs": RANGES.inputs, "targets": RANGES.targets}
    values = {
        "name": NAME,
        "inputs": "{} to {}".format(*told["inputs"]),
        "targets": "{} to {}".format(*told["targets"]),
        "questions": str(EVALUATION_QUESTIONS),
        "seed": str(EVALUATION_SEED),
        "date": datetime.date.today().isoformat(),
        "hardware": f"{os.cpu_count()} CPU cores ({platform.machine()})",
        "versions": ", ".join(f"{name} {version}" for name, version in versions().items()),
        "by_variant": by_variant.markdown(),
        "by_prompt": by_prompt.markdown(),
        "verdicts": verdicts.markdown(),
    }
    return fill(resources.files("generation.builtin").joinpath("card.md").read_text(encoding="utf-8"), values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL)
    given = parser.parse_args()
    text = card(measure(given.model))
    (given.model / "README.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
