"""The flags of the whole job, checked once, on construction."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cluster.flags import flag
from cluster.inference.sampling import read_sampling
from cluster.inference.values import read_shares
from cluster.paths import folder, local
from generation.question_settings import QuestionSettings
from generation.records import RlLayoutName
from generation.tasks import custom, registry
from generation.tasks.registry import Part
from generation.tasks.task import Wanted
from generation.text_files import PROMPTS_HELP, WRITE_HELP, check_prompts
from generation.variants import VARIANTS, Variant, parse_names, read_variants
from reflection.prompts import CHOICE, read_reflections

FORMATS = (
    "0C",
    "*C",
    "*C_full",
    "I*C",
    "*C*IC",
    "*CC",
    "random",
    "no_reflection",
    "algorithm1",
    "star",
    "retry",
    "cut",
)
"""Trace formats, listed here only for --help: assembly defines and checks them."""


@dataclass(frozen=True, kw_only=True)
class Settings(QuestionSettings):
    """Sample a base model on verifiable questions, grade, reflect, and make RAW_DATA and SkillFactory traces.

    With no flag at all: the built-in model on a small countdown set, on this machine's CPU.
    """

    rl_questions: int | None = flag(
        None, "held out for RL, never in SFT (default: a quarter as many)", bounds=(0, 10**7), group="questions"
    )
    rl_samples: int | None = flag(
        None, "of each of these, as the plain question: its pass rate (default: none)", bounds=(1, 1_000)
    )
    variants: tuple[str, ...] = flag(
        ("plain",), f"plain (4), all (8), or a comma list of {', '.join(VARIANTS)}", group="sampling", often=True
    )
    samples: int | None = flag(
        None, "per question and variant (default: 16; built-in model 2)", bounds=(1, 10_000), often=True
    )
    reflections: int | None = flag(None, "per sample (default: 4; built-in model 2)", bounds=(0, 1_000), often=True)
    reflection_prompts: tuple[str, ...] = flag((), CHOICE)
    retries: int = flag(
        0, "of a sample, each after one of its reflections that say Incorrect: docs/assembly.md", bounds=(0, 1_000)
    )
    prompts: str | None = flag(None, PROMPTS_HELP, local)
    write_prompts: str | None = flag(None, WRITE_HELP, folder, once=True)
    reflection_sampling: dict[str, Any] | None = flag(
        None, 'what differs for reflections, as JSON: {"temperature": 0.3}'
    )
    formats: tuple[str, ...] = flag(
        ("*C_full",), f"comma list of {', '.join(FORMATS)}; quote the stars", group="traces"
    )
    attempts: str = flag("5", "attempts a trace, N, or a range such as 2-5")
    enough: bool = flag(False, "end a question's sampling when it can serve the formats: docs/assembly.md")
    traces: int | None = flag(None, "end the run when the questions so far can give this many", bounds=(1, 10**9))
    export_traces: int | None = flag(
        None, "write so many of the traces as sessions for the hub's trace viewer", bounds=(1, 9_999)
    )
    rl_layout: RlLayoutName = flag("verl", "the columns of RL_DATA, by the trainer that reads them; docs/training.md")
    rl_pass_rate: str | None = flag(
        None, "LOW-HIGH, such as 0.05-0.95: only RL questions between these; with --rl_samples"
    )
    probe: bool = flag(
        False,
        "ask the engines for about a minute, print the plan with what that foretells, and stop",
        group="output",
        once=True,
    )
    like: str | None = flag(
        None, "print the plan with what an earlier run, this directory, foretells, and stop", local, once=True
    )
    preview: int | None = flag(
        None, "show this many questions whole, with what became of them, in OUT-preview", bounds=(1, 1_000), once=True
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        read_sampling(self.reflection_sampling or {}, "--reflection_sampling")
        self.asked_under()
        self.asked_to_reflect()
        self.asked_to_retry()
        if self.rl_samples is not None and self.rl_questions == 0:
            raise ValueError(
                f"--rl_samples {self.rl_samples} is for questions held out for RL: --rl_questions 0 has none"
            )
        if self.rl_pass_rate is not None and self.rl_samples is None:
            raise ValueError(f"--rl_pass_rate {self.rl_pass_rate} is of samples of the RL questions: give --rl_samples")
        read_shares("--rl_pass_rate", self.rl_pass_rate)
        self._check_plans()
        if self.probe and self.dry_run:
            # A dry run asks no server and needs no GPU; a probe does, and ends with the plan all the same.
            object.__setattr__(self, "dry_run", False)
        elif self.like is not None:
            object.__setattr__(self, "dry_run", True)

    def asked_under(self) -> tuple[Variant, ...]:
        """Return the prompt variants. Raises ValueError as read_variants and parse_names do."""
        return parse_names(self.variants, read_variants(check_prompts(self.prompts)))

    def asked_to_reflect(self) -> dict[str, str]:
        """Return the reflection prompts by name. Raises ValueError as read_reflections and choose do."""
        return read_reflections(check_prompts(self.prompts)).choose(self.reflection_prompts)

    def asked_to_retry(self) -> str:
        """Return the prompt of retries. Raises ValueError for retries without one, or without any reflection."""
        prompt = read_reflections(check_prompts(self.prompts)).retry
        if self.retries and self.reflections == 0:
            raise ValueError(f"--retries {self.retries} follow reflections: give --reflections 1 or more")
        if self.retries and not prompt:
            told = f"the reflections.toml of --prompts {self.prompts} has no retry prompt"
            raise ValueError(f'--retries {self.retries}: {told}: give one, retry = "..."')
        return prompt

    @property
    def only_planned(self) -> bool:
        """Return True if the command ends with the plan."""
        return self.dry_run or self.probe

    def _check_plans(self) -> None:
        """Raise ValueError for flags of which each says what to do instead of the run."""
        if self.probe and self.like is not None:
            raise ValueError("--probe and --like both say what the plan is foretold from: give one of them")
        if self.preview is None:
            return
        for name in ("dry_run", "probe", "like"):
            if getattr(self, name):
                told = f"--preview makes rows and --{name} only a plan: give one of them"
                raise ValueError(told)
        if self.push_to is not None:
            raise ValueError("--preview makes rows to look at, and pushes none: leave --push_to out")

    def parts(self, *, small: bool) -> list[Part]:
        """Decide which tasks supply how many questions, without generating or loading any. Raises ValueError.

        A total is split evenly, RL questions in proportion to the others. `small` means the built-in model's defaults.
        """
        if isinstance(self.questions, str):
            return [Part(custom.task(self.questions, self.reading), Wanted(None, self.rl_questions, self.seed))]
        named = self.named()
        tasks = self.tasks(named, small=small)
        counts = self.counts(named, small=small)
        held: Sequence[int | None] = [None] * len(named)
        if self.rl_questions is not None:
            held = registry.share(self.rl_questions, [count or 1 for count in counts])
        return [Part(task, Wanted(sft, rl, self.seed)) for task, sft, rl in zip(tasks, counts, held, strict=True)]
