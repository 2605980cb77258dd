"""The flags that say which questions are asked, checked once, on construction."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from cluster.flags import flag
from cluster.jobs.plan import JobSettings
from cluster.paths import each_part, local, local_or_name
from cluster.texts import nearest
from generation import builtin
from generation.grading.answers import read_answer_in
from generation.grading.own import SUFFIX
from generation.tasks import countdown, custom, registry
from generation.tasks.countdown import Ranges
from generation.tasks.custom_facts import GraderName, Reading
from generation.tasks.task import Task

DEFAULT_TASK = "countdown_3arg"
_SMALL = 32  # default number of questions per task for the built-in model
_READING = ("grader", "question_column", "answer_column", "split")
_RANGE = re.compile(r"(\d{1,6})-(\d{1,6})")


@dataclass(frozen=True, kw_only=True)
class QuestionSettings(JobSettings):
    """Settings of every job that asks questions."""

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
    grader: GraderName | str | None = flag(
        None,
        "of your own questions; your my_grader.py, too"
        " (default: countdown by the wording, else number, math or text by the gold answer)",
        local,
    )
    question_column: str | None = flag(None, "of your own questions (default: question)")
    answer_column: str | None = flag(None, "of your own questions (default: answer)")
    split: str | None = flag(None, "of the hub dataset with your questions (default: train)")
    inputs: str | None = flag(None, "countdown inputs, LOW-HIGH (default: 1-99; built-in model 1-10)")
    targets: str | None = flag(None, "countdown targets, LOW-HIGH (default: 100-200; built-in model 10-50)")
    answer_in: str | None = flag(
        None,
        "where answers stand, tried in order: tag, boxed, last_line, REGEX (default: tag; math, number: tag,boxed)",
    )

    def __post_init__(self) -> None:
        self._check_task()
        super().__post_init__()
        check_grader(self.grader)
        if self.answer_in is not None:
            read_answer_in(self.answer_in)
        read_range("--inputs", self.inputs, (1, 99))
        read_range("--targets", self.targets, (100, 200))

    def _check_task(self) -> None:
        """Raise ValueError for flags that conflict with --task or with the user's own questions."""
        named = self.named()
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
        for name in _READING:
            if getattr(self, name) is not None:
                raise ValueError(f"--{name} is for questions of your own: give --questions FILE or a hub dataset")

    def named(self) -> dict[str, int | None]:
        """Return the tasks of --task with their counts, None without one. Raises ValueError."""
        return registry.parse(DEFAULT_TASK if self.task is None else self.task)

    @property
    def reading(self) -> Reading:
        """Return how to read the user's own questions."""
        given: dict[str, Any] = {name: value for name in _READING if (value := getattr(self, name)) is not None}
        return Reading(**given)

    def tasks(self, named: Mapping[str, int | None], *, small: bool) -> list[Task]:
        """Return the tasks of these names. Raises ValueError. `small` means the built-in model's defaults."""
        default = builtin.RANGES if small else Ranges()
        inputs = read_range("--inputs", self.inputs, default.inputs)
        ranges = Ranges(inputs, read_range("--targets", self.targets, default.targets))
        return [registry.find(name, ranges) for name in named]

    def counts(self, named: Mapping[str, int | None], *, small: bool) -> list[int | None]:
        """Return how many questions each of these tasks supplies, None for its own number; a total is split evenly."""
        if isinstance(self.questions, int):
            return [*registry.share(self.questions, [1] * len(named))]
        return [_SMALL if small and count is None else count for count in named.values()]


def check_grader(grader: str | None) -> None:
    """Raise ValueError if this is no grader of ours and no Python file."""
    ours = get_args(GraderName)
    if grader is not None and grader not in ours and not grader.endswith(SUFFIX):
        meant = "".join(f"; did you mean {near}?" for near in nearest(grader, ours))
        known = f"one of {', '.join(ours)}, or the path of a .py file of your own"
        raise ValueError(f"--grader wants {known}, not {grader[:60]!r}{meant}")


def read_range(flag: str, text: str | None, default: tuple[int, int]) -> tuple[int, int]:
    """Parse LOW-HIGH into its two ends. Raises ValueError for any other text."""
    if text is None:
        return default
    found = _RANGE.fullmatch(text)
    if found is None or int(found[1]) > int(found[2]):
        raise ValueError(f"{flag} must be LOW-HIGH in whole numbers, such as {default[0]}-{default[1]}, not {text!r}")
    return int(found[1]), int(found[2])
