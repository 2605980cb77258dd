"""The flags of the whole job, checked once, on construction."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cluster.flags import flag
from cluster.inference.sampling import read_sampling
from generation.question_settings import QuestionSettings
from generation.records import RlLayoutName
from generation.tasks import custom, registry
from generation.tasks.registry import Part
from generation.tasks.task import Wanted
from generation.variants import VARIANTS, parse_names

FORMATS = ("0C", "*C", "*C_full", "*C*IC", "*CC", "random", "no_reflection", "algorithm1", "star")
"""Trace formats, listed here only for --help: assembly defines and checks them."""
_SMALL = 32  # default number of questions per task for the built-in model


@dataclass(frozen=True, kw_only=True)
class Settings(QuestionSettings):
    """Sample a base model on verifiable questions, grade, reflect, and make RAW_DATA and SkillFactory traces.

    With no flag at all: the built-in model on a small countdown set, on this machine's CPU.
    """

    rl_questions: int | None = flag(
        None, "held out for RL, never in SFT (default: a quarter as many)", bounds=(0, 10**7)
    )
    variants: tuple[str, ...] = flag(("plain",), f"plain (4), all (8), or a comma list of {', '.join(VARIANTS)}")
    samples: int | None = flag(None, "per question and variant (default: 16; built-in model 2)", bounds=(1, 10_000))
    reflections: int | None = flag(None, "per sample (default: 4; built-in model 2)", bounds=(0, 1_000))
    reflection_sampling: dict[str, Any] | None = flag(
        None, 'what differs for reflections, as JSON: {"temperature": 0.3}'
    )
    formats: tuple[str, ...] = flag(("*C_full",), f"comma list of {', '.join(FORMATS)}; quote the stars")
    attempts: str = flag("5", "attempts a trace, N, or a range such as 2-5")
    rl_layout: RlLayoutName = flag("verl", "the columns of RL_DATA, by the trainer that reads them; docs/training.md")

    def __post_init__(self) -> None:
        super().__post_init__()
        read_sampling(self.reflection_sampling or {}, "--reflection_sampling")
        parse_names(self.variants)

    def parts(self, *, small: bool) -> list[Part]:
        """Decide which tasks supply how many questions, without generating or loading any. Raises ValueError.

        A total is split evenly, RL questions in proportion to the others. `small` means the built-in model's defaults.
        """
        if isinstance(self.questions, str):
            return [Part(custom.task(self.questions, self.reading), Wanted(None, self.rl_questions, self.seed))]
        named = self.named()
        tasks = self.tasks(named, small=small)
        counts = list(named.values())
        if self.questions is not None:
            counts = list(registry.share(self.questions, [1] * len(named)))
        elif small:
            counts = [_SMALL if count is None else count for count in counts]
        held: Sequence[int | None] = [None] * len(named)
        if self.rl_questions is not None:
            held = registry.share(self.rl_questions, [count or 1 for count in counts])
        return [Part(task, Wanted(sft, rl, self.seed)) for task, sft, rl in zip(tasks, counts, held, strict=True)]
