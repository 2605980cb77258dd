"""The flags of the whole job, checked once, on construction."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cluster.flags import flag
from cluster.inference.sampling import read_sampling
from cluster.jobs.plan import JobSettings
from cluster.paths import each_part, local_or_name
from generation import builtin
from generation.grading.answers import read_answer_in
from generation.records import RlLayoutName
from generation.tasks import countdown, custom, registry
from generation.tasks.countdown import Ranges
from generation.tasks.custom_facts import GraderName, Reading
from generation.tasks.registry import Part
from generation.tasks.task import Wanted
from generation.variants import VARIANTS, parse_names

DEFAULT_TASK = "countdown_3arg"
FORMATS = ("0C", "*C", "*C_full", "*C*IC", "*CC", "random", "no_reflection", "algorithm1", "star")
"""Trace formats, listed here only for --help: assembly defines and checks them."""
_SMALL = 32  # default number of questions per task for the built-in model
_RANGE = re.compile(r"(\d{1,6})-(\d{1,6})")


@dataclass(frozen=True, kw_only=True)
class Settings(JobSettings):
    """Sample a base model on verifiable questions, grade, reflect, and make RAW_DATA and SkillFactory traces.

    With no flag at all: the built-in model on a small countdown set, on this machine's CPU.
    """

    task: str | None = flag(
        None,
        f"a name, NAME:COUNT,NAME:COUNT, or your my_task.py; see --list_tasks (default: {DEFAULT_TASK})",
        each_part,
    )
    list_tasks: bool = flag(False, "print every task with an example and its grader, and stop")
    questions: int | str | None = flag(
        None,
        "how many, or your own: FILE.jsonl, FILE.parquet or hub dataset owner/name:configuration@revision, with :COUNT"
        " appended for that many of them, drawn by --seed (default: 4000; built-in model 32; of your own all)",
        local_or_name,
        (1, 10**7),
    )
    grader: GraderName | None = flag(
        None, "of your own questions (default: countdown by the wording, else number, math or text by the gold answer)"
    )
    question_column: str | None = flag(None, "of your own questions (default: question)")
    answer_column: str | None = flag(None, "of your own questions (default: answer)")
    split: str | None = flag(None, "of the hub dataset with your questions (default: train)")
    rl_questions: int | None = flag(
        None, "held out for RL, never in SFT (default: a quarter as many)", bounds=(0, 10**7)
    )
    inputs: str | None = flag(None, "countdown inputs, LOW-HIGH (default: 1-99; built-in model 1-10)")
    targets: str | None = flag(None, "countdown targets, LOW-HIGH (default: 100-200; built-in model 10-50)")
    variants: tuple[str, ...] = flag(("plain",), f"plain (4), all (8), or a comma list of {', '.join(VARIANTS)}")
    samples: int | None = flag(None, "per question and variant (default: 16; built-in model 2)", bounds=(1, 10_000))
    reflections: int | None = flag(None, "per sample (default: 4; built-in model 2)", bounds=(0, 1_000))
    reflection_sampling: dict[str, Any] | None = flag(
        None, 'what differs for reflections, as JSON: {"temperature": 0.3}'
    )
    answer_in: str | None = flag(
        None,
        "where answers stand, tried in order: tag, boxed, last_line, REGEX (default: tag; math, number: tag,boxed)",
    )
    formats: tuple[str, ...] = flag(("*C_full",), f"comma list of {', '.join(FORMATS)}; quote the stars")
    attempts: str = flag("5", "attempts a trace, N, or a range such as 2-5")
    rl_layout: RlLayoutName = flag("verl", "the columns of RL_DATA, by the trainer that reads them; docs/training.md")

    def __post_init__(self) -> None:
        self._check_task()
        super().__post_init__()
        read_sampling(self.reflection_sampling or {}, "--reflection_sampling")
        parse_names(self.variants)
        if self.answer_in is not None:
            read_answer_in(self.answer_in)
        read_range("--inputs", self.inputs, (1, 99))
        read_range("--targets", self.targets, (100, 200))

    def _check_task(self) -> None:
        """Raise ValueError for flags that conflict with --task or with the user's own questions."""
        named = registry.parse(DEFAULT_TASK if self.task is None else self.task)
        flags = (("--task", self.task), ("--inputs", self.inputs), ("--targets", self.targets))
        made = [f"{name} {value}" for name, value in flags if value is not None]
        if isinstance(self.questions, str):
            if made:
                raise ValueError(f"{made[0]} is for questions made here: leave it out with --questions FILE")
            if self.reading.question_column == self.reading.answer_column:
                told = f"--question_column and --answer_column both name {self.reading.answer_column!r}"
                raise ValueError(f"{told}: give the column of the gold answers with --answer_column")
            custom.parse(self.questions)
            return
        for name in named:
            registry.check_name(name)
        if self.questions is not None and any(named.values()):
            raise ValueError(f"--questions {self.questions} and the counts in --task {self.task}: give one of them")
        ranges = made if self.task is None else made[1:]
        if ranges and not any(name in countdown.NAMES for name in named):
            raise ValueError(f"{ranges[0]} is for countdown tasks: leave it out with --task {self.task}")
        for name in Reading._fields:
            if getattr(self, name) is not None:
                raise ValueError(f"--{name} is for questions of your own: give --questions FILE or a hub dataset")

    @property
    def reading(self) -> Reading:
        """Return how to read the user's own questions."""
        return Reading(**{name: value for name in Reading._fields if (value := getattr(self, name)) is not None})

    def parts(self, *, small: bool) -> list[Part]:
        """Decide which tasks supply how many questions, without generating or loading any. Raises ValueError.

        A total is split evenly, RL questions in proportion to the others. `small` means the built-in model's defaults.
        """
        if isinstance(self.questions, str):
            return [Part(custom.task(self.questions, self.reading), Wanted(None, self.rl_questions, self.seed))]
        named = registry.parse(self.task or DEFAULT_TASK)
        default = builtin.RANGES if small else Ranges()
        inputs = read_range("--inputs", self.inputs, default.inputs)
        ranges = Ranges(inputs, read_range("--targets", self.targets, default.targets))
        tasks = [registry.find(name, ranges) for name in named]
        counts = list(named.values())
        if self.questions is not None:
            counts = list(registry.share(self.questions, [1] * len(named)))
        elif small:
            counts = [_SMALL if count is None else count for count in counts]
        held: Sequence[int | None] = [None] * len(named)
        if self.rl_questions is not None:
            held = registry.share(self.rl_questions, [count or 1 for count in counts])
        return [Part(task, Wanted(sft, rl, self.seed)) for task, sft, rl in zip(tasks, counts, held, strict=True)]


def read_range(flag: str, text: str | None, default: tuple[int, int]) -> tuple[int, int]:
    """Parse LOW-HIGH into its two ends. Raises ValueError for any other text."""
    if text is None:
        return default
    found = _RANGE.fullmatch(text)
    if found is None or int(found[1]) > int(found[2]):
        raise ValueError(f"{flag} must be LOW-HIGH in whole numbers, such as {default[0]}-{default[1]}, not {text!r}")
    return int(found[1]), int(found[2])
