"""What is to be proven: the arms, the sizes, and the thresholds, fixed before the first run (2026-12-01)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from generation.builtin import EVALUATION_QUESTIONS
from generation.variants import BARE

TRAINED_TASK = "countdown_3arg"
"""The task of all questions for SFT and RL. The other tasks are asked only at the end."""
BASE = "base"
NEEDED = "C"
"""The arm that the others are compared with; whoever trains it samples the tokens that the others may sample."""
MAX_TOKENS = 900
"""Of a reply, in training and in evaluation; the context has 1,024."""


class Arm(NamedTuple):
    what: str
    assembled: tuple[str, ...] = ()
    """Flags of assembly.run; without any there is no SFT."""
    variant: str = BARE.name
    """How questions are asked in RL and in the evaluation."""


ARMS = {
    # SFT teaches the other arms to answer the question alone. The model without SFT knows the variants only, and is
    # asked under the one that adds least: the question alone would make a weaker opponent of it.
    "A": Arm("RL only", variant="original"),
    "B": Arm("STaR", ("--formats", "star")),
    "C": Arm("SkillFactory", ("--formats", "*C_full")),
    "D": Arm("traces without reflections", ("--formats", "no_reflection")),
    "E": Arm("attempts in random order", ("--formats", "random")),
    "F": Arm(
        "Algorithm 1, no faults, no question that is always or never right",
        (*("--formats", "algorithm1", "--true_arithmetic", "--drop_faults", "all"), *("--pass_rate", "0.01-0.99")),
    ),
    "G": Arm("traces that stop at the first correct attempt", ("--formats", "I*C")),
}


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    name: str
    sft_questions: int
    rl_questions: int
    samples: int
    """Of each SFT question under each of the four plain variants."""
    traces: int
    """Of each arm's SFT, at most."""
    epochs: int
    steps: int
    """Of RL, with 16 questions and 8 samples of each."""
    matched: bool
    """Whether each arm is trained once more, until it has sampled as many tokens as arm C in its steps."""
    fresh: Mapping[str, int] = field(hash=False)
    """Questions of the evaluation by task, at most."""
    reflections: int = 2
    repeats: int = 3
    """Traces of each question, format and length, before `traces` are drawn of them all."""
    replies: int = 4
    batch: int = 8
    """Traces of a step of SFT."""
    learning_rate: float = 1e-3
    rl_learning_rate: float = 1e-4


def _fresh(each: int) -> dict[str, int]:
    return dict.fromkeys(("countdown_3arg", "countdown_4arg", "countdown_2arg"), each)


FULL = Size("full", 500, 361, 4, traces=4000, epochs=1, steps=60, matched=True, fresh=_fresh(EVALUATION_QUESTIONS))
QUICK = Size("quick", 250, 250, 4, traces=3200, epochs=1, steps=20, matched=False, fresh=_fresh(100))
SMOKE = Size("smoke", 12, 16, 2, traces=16, epochs=1, steps=2, matched=True, fresh=_fresh(4), replies=2)


class Claim(NamedTuple):
    """That a figure is at least this; of a difference, also that its interval lies above zero."""

    what: str
    arm: str
    less: str = ""
    """The arm whose pass@1 is subtracted; "" for a figure of the arm itself."""
    figure: str = "pass@1"
    tasks: tuple[str, ...] = ("countdown_3arg", "countdown_4arg")
    least: float = 0.0


CLAIMS = (
    Claim("C - A >= 5 points, interval above zero", "C", "A", least=0.05),
    Claim("C - B >= 3 points, interval above zero", "C", "B", least=0.03),
    Claim("C - D >= 3 points, interval above zero", "C", "D", least=0.03),
    Claim("95% of C's replies parse as a trace", "C", figure="traces", least=0.95),
    Claim("F1 of C's verdict Incorrect >= 0.9", "C", figure="incorrect_f1", least=0.9),
)
