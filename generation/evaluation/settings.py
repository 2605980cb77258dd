"""The flags of an evaluation, checked once, on construction."""

import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, Literal

from cluster.flags import flag
from cluster.paths import dataset_folder, each_part, local, local_or_name
from generation.evaluation.averages import PAPER_TASKS
from generation.question_settings import QuestionSettings
from generation.tasks import custom
from generation.tasks.task import Task
from generation.text_files import PROMPTS_HELP, check_prompts
from generation.variants import BARE, VARIANTS, Variant, parse_names, read_variants

PAPER = "paper"
SAMPLES = 4  # for each question, as in the paper
_MOST_SAMPLES = 10_000
_SAMPLES = re.compile(r"(?:(?P<task>[^=,]+)=)?(?P<count>[0-9]{1,6})")
_COMPARING = {"compare", "arm", "out", "seed"}


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings(QuestionSettings):
    """Evaluate a model on verifiable questions, and compare evaluations.

    Each question is asked by itself, as in training; figures come by task, each with its 95% interval over questions.
    """

    task: str | None = flag(
        None,
        "NAME:COUNT,NAME:COUNT, your my_task.py, or paper, its fifteen tasks and counts; see --list_tasks"
        " (default: countdown_3arg)",
        each_part,
    )
    questions: int | str | None = flag(
        None,
        "how many in all, or your own, as for generation.run (default: 250 a task that is drawn, 32 with the built-in"
        " model; of test sets and of your own all)",
        local_or_name,
        (1, 10**7),
    )
    samples: str = flag(str(SAMPLES), "replies to each question; tasks may have their own number: 4,gpqa=34")
    variants: tuple[str, ...] = flag(
        (BARE.name,), f"question, the question alone; plain (4), all (8), or a comma list of {', '.join(VARIANTS)}"
    )
    prompts: str | None = flag(None, PROMPTS_HELP, local)
    apart_from: tuple[str, ...] = flag((), "runs or dataset folders whose questions are not asked, by comma", local)
    force_to: int | None = flag(
        None, "budget forcing: go on with each reply to this many tokens in all, beside a control", bounds=(2, 10**7)
    )
    force_at: int | None = flag(
        None, "where the reply to be forced is stopped, in tokens (default: half of --force_to)", bounds=(1, 10**7)
    )
    trigger: str | None = flag(
        None, "what is appended to go on (default: <sample> in a trace, the model's mark of a thought, or Wait)"
    )
    out: str | None = flag(
        None, "the run directory (default: evals/<what is asked>-<model>); of --compare, its folder", dataset_folder
    )
    compare: tuple[str, ...] = flag(
        (),
        "evaluations to compare, A B C, the first with each other: runs, EVAL_DATA folders, hub datasets; with --out"
        " written as Markdown and JSON",
        local_or_name,
        words=True,
    )
    arm: Literal["stopped", "forced", "control"] | None = flag(
        None, "which to compare of evaluations with budget forcing (default: forced)"
    )

    def __post_init__(self) -> None:
        if self.compare:
            self._check_comparing()
            return
        super().__post_init__()
        if self.arm is not None:
            raise ValueError("--arm is one of evaluations to compare: give --compare A B too")
        self.asked_under()
        if self.trigger is not None and not self.trigger.strip():
            raise ValueError("--trigger is blank: give a text, or leave it out")
        if self.force_to is None:
            for name in ("force_at", "trigger"):
                if getattr(self, name) is not None:
                    raise ValueError(f"--{name} is for budget forcing: give --force_to too")
        else:
            self._check_forcing(self.force_to)
        self.samples_of([])

    def _check_forcing(self, force_to: int) -> None:
        if self.max_tokens is not None or "max_tokens" in (self.sampling or {}):
            raise ValueError("--max_tokens and --force_to both limit the replies: give --force_to and --force_at")
        if self.stop_at >= force_to:
            raise ValueError(f"--force_at {self.stop_at:,} must be less than --force_to {force_to:,}")
        if self.server:
            raise ValueError("--force_to needs engines of its own: servers are not asked to go on with a reply")

    def _check_comparing(self) -> None:
        """Raise ValueError for flags of an evaluation beside --compare, and unless there are two to compare."""
        for one in fields(self):
            default = None if one.default is MISSING else one.default
            if one.name not in _COMPARING and getattr(self, one.name) != default:
                raise ValueError(f"--{one.name} is of an evaluation, and --compare makes none: leave it out")
        if len(self.compare) < 2:
            raise ValueError("--compare takes two evaluations or more: --compare A B")
        if len(set(self.compare)) < len(self.compare):
            raise ValueError("--compare names an evaluation twice: name each once")

    @property
    def stop_at(self) -> int:
        """Return where replies are stopped that are to be forced, in tokens."""
        return self.force_at or (self.force_to or 0) // 2

    def given_sampling(self) -> dict[str, Any]:
        given = super().given_sampling()
        return given if self.force_to is None else given | {"max_tokens": self.force_to}

    def named(self) -> dict[str, int | None]:
        if self.task == PAPER:
            return dict(PAPER_TASKS)
        if PAPER in (named := super().named()):
            raise ValueError(f"--task {self.task}: {PAPER} stands alone, as it has its own tasks and counts")
        return named

    def asked_under(self) -> tuple[Variant, ...]:
        """Return the variants, the question alone among them if it is named. Raises as parse_names does."""
        others = tuple(name for name in self.variants if name != BARE.name)
        if len(others) < len(self.variants) - 1:
            raise ValueError(f"a variant is named twice in {','.join(self.variants)}: name each once")
        bare = (BARE,) if len(others) < len(self.variants) else ()
        known = read_variants(check_prompts(self.prompts))
        return (*bare, *(parse_names(others, known) if others or not bare else ()))

    def samples_of(self, names: list[str]) -> Mapping[str, int]:
        """Return the number of replies by task. Raises ValueError for other text, and for a task that is not asked."""
        usual, of_task = SAMPLES, dict[str, int]()
        for number, piece in enumerate(self.samples.split(",")):
            found = _SAMPLES.fullmatch(piece.strip())
            if found is None or (found["task"] is None and number) or not 1 <= int(found["count"]) <= _MOST_SAMPLES:
                told = f"a number from 1 to {_MOST_SAMPLES:,}, or one and those of tasks such as 4,gpqa=34"
                raise ValueError(f"--samples must be {told}, not {self.samples!r}")
            if found["task"] is None:
                usual = int(found["count"])
            elif found["task"].strip() in of_task:
                raise ValueError(f"--samples names {found['task'].strip()} twice: name each task once")
            else:
                of_task[found["task"].strip()] = int(found["count"])
        if names and (others := [name for name in of_task if name not in names]):
            raise ValueError(
                f"--samples {others[0]}={of_task[others[0]]}: no such task is asked; {', '.join(names)} are"
            )
        return {name: of_task.get(name, usual) for name in names}

    def parts(self, *, small: bool) -> list[tuple[Task, int | None]]:
        """Decide which tasks supply how many questions, None for each task's own number. Raises ValueError."""
        if isinstance(self.questions, str):
            return [(custom.task(self.questions, self.reading), None)]
        named = self.named()
        tasks, counts = self.tasks(named, small=small), self.counts(named, small=small)
        return list(zip(tasks, counts, strict=True))
