"""What a user may set for the whole job, checked once when built."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from cluster.flags import flag
from cluster.jobs.card import UNKNOWN, check_license
from cluster.paths import dataset_folder, each_part, local_or_name
from generation import builtin, variants
from generation.tasks import countdown, custom, registry
from generation.tasks.countdown import Ranges
from generation.tasks.custom_facts import GraderName
from generation.tasks.registry import Part
from generation.tasks.task import Wanted

DEFAULT_TASK = "countdown_3arg"
DRAWING: dict[str, tuple[float, float]] = {
    "temperature": (0, 2),
    "top_p": (1e-9, 1),
    "top_k": (0, 10**6),
    "repetition_penalty": (0.01, 100),
}
"""How tokens are drawn, and between what bounds; vLLM takes no more."""
_COLDEST = 0.01
"""Above 0, vLLM draws at no lower temperature than this, whatever it is told."""
FORMATS = ("0C", "*C", "*C_full", "*C*IC", "*CC", "random", "no_reflection", "algorithm1", "star")
"""Of traces, as the assembly makes them: named here for --help alone."""
_SMALL = 32
"""Questions of each task where the built-in model is asked and nobody says how many."""
_RANGE = re.compile(r"(\d{1,6})-(\d{1,6})")


@dataclass(frozen=True)
class Settings:
    """Sample a base model on verifiable questions, grade, reflect, and make RAW_DATA and SkillFactory traces.

    With no flag at all: the built-in model on a small countdown set, on this machine's CPU.
    """

    model: str | None = flag(
        None, "hub id, also @COMMIT, local folder, or well-known name (default: the built-in one)", local_or_name
    )
    task: str | None = flag(
        None,
        f"a name, NAME:COUNT,NAME:COUNT, or your my_task.py; see --list_tasks (default: {DEFAULT_TASK})",
        each_part,
    )
    list_tasks: bool = flag(False, "print every task with an example and its grader, and stop")
    questions: int | str | None = flag(
        None,
        "how many, or your own: FILE.jsonl, FILE.parquet or hub dataset owner/name:configuration@revision, with :COUNT"
        " behind it for so many of them, drawn by --seed (default: 4000; built-in model 32; of your own all)",
        local_or_name,
    )
    grader: GraderName | None = flag(  # noqa: RUF009  it makes a field
        None, "of your own questions (default: countdown by the wording, else number, math or text by the gold answer)"
    )
    question_column: str | None = flag(None, "of your own questions (default: question)")
    answer_column: str | None = flag(None, "of your own questions (default: answer)")
    split: str | None = flag(None, "of the hub dataset with your questions (default: train)")
    rl_questions: int | None = flag(None, "held out for RL, never in SFT (default: a quarter as many)")
    inputs: str | None = flag(None, "countdown inputs, LOW-HIGH (default: 1-99; built-in model 1-10)")
    targets: str | None = flag(None, "countdown targets, LOW-HIGH (default: 100-200; built-in model 10-50)")
    variants: tuple[str, ...] = flag(
        ("plain",), f"plain (4), all (8), or a comma list of {', '.join(variants.VARIANTS)}"
    )
    samples: int | None = flag(None, "per question and variant (default: 16; built-in model 2)")
    reflections: int | None = flag(None, "per sample (default: 4; built-in model 2)")
    temperature: float | None = flag(None, "default: the model's generation_config.json")
    top_p: float | None = flag(None, "default: the model's generation_config.json")
    top_k: int | None = flag(None, "0 keeps all; default: the model's generation_config.json")
    repetition_penalty: float | None = flag(None, "default: the model's generation_config.json")
    max_tokens: int | None = flag(None, "longest sample (default: 4096 within the context; built-in 256)")
    seed: int = flag(0, "of questions, requests and traces")
    formats: tuple[str, ...] = flag(("*C_full",), f"comma list of {', '.join(FORMATS)}; quote the stars")
    attempts: str = flag("5", "attempts a trace, N, or a range such as 2-5")
    engines: int | None = flag(None, "how many engines (default: all there is room for; CPU 1)")
    tensor_parallel: int = flag(1, "GPUs for each engine")
    silence: float | None = flag(None, "seconds without an answer until an engine is replaced (default: 300 or more)")
    retry_failed: bool = flag(False, "try the questions again that failed before")
    address: str | None = flag(None, "a running Ray cluster (default: a Ray of its own)")
    grace_s: int = flag(20, "when told to stop, the longest wait for questions in flight")
    out: str | None = flag(None, "the run directory (default: runs/<task>-<model>)", dataset_folder)
    push_to: str | None = flag(None, "a hub namespace to push the datasets to, private")
    public: bool = flag(False, "push them for everyone to see")
    license: str = flag(UNKNOWN, "of the cards, in the hub's words, such as apache-2.0 or cc-by-4.0")
    dry_run: bool = flag(False, "print the plan and stop")

    def __post_init__(self) -> None:
        self._check_task()
        if self.public and self.push_to is None:
            raise ValueError("--public is for what --push_to pushes: give both or neither")
        check_license(self.license)
        variants.parse_names(self.variants)
        _check_range("--questions", self.questions if isinstance(self.questions, int) else None, 1, 10**7)
        _check_range("--rl_questions", self.rl_questions, 0, 10**7)
        _check_range("--samples", self.samples, 1, 10_000)
        _check_range("--reflections", self.reflections, 0, 1_000)
        for name in DRAWING:
            check_drawing(name, getattr(self, name), f"--{name}")
        _check_range("--max_tokens", self.max_tokens, 1, 10**7)
        _check_range("--seed", self.seed, 0, 2**63 - 1)
        _check_range("--engines", self.engines, 1, 10_000)
        _check_range("--silence", self.silence, 1, 10**6)
        _check_range("--tensor_parallel", self.tensor_parallel, 1, 64)
        _check_range("--grace_s", self.grace_s, 0, 10**6)
        read_range("--inputs", self.inputs, (1, 99))
        read_range("--targets", self.targets, (100, 200))

    def _check_task(self) -> None:
        """What goes with --task and what with --questions of one's own."""
        named = registry.parse(DEFAULT_TASK if self.task is None else self.task)
        made = [("--task", self.task), ("--inputs", self.inputs), ("--targets", self.targets)]
        if isinstance(self.questions, str):
            for name, value in made:
                if value is not None:
                    raise ValueError(f"{name} {value} is for questions made here: leave it out with --questions FILE")
            if self.reading.question_column == self.reading.answer_column:
                told = f"--question_column and --answer_column both name {self.reading.answer_column!r}"
                raise ValueError(f"{told}: give the column of the gold answers with --answer_column")
            custom.parse(self.questions)
            return
        for name in named:
            registry.check_name(name)
        if self.questions is not None and any(named.values()):
            raise ValueError(f"--questions {self.questions} and the counts in --task {self.task}: give one of them")
        if not any(name in countdown.NAMES for name in named):
            for name, value in made[1:]:
                if value is not None:
                    raise ValueError(f"{name} {value} is for countdown tasks: leave it out with --task {self.task}")
        for name in custom.Reading._fields:
            if getattr(self, name) is not None:
                raise ValueError(f"--{name} is for questions of your own: give --questions FILE or a hub dataset")

    @property
    def reading(self) -> custom.Reading:
        """Return how the user's own questions are read."""
        given = {name: getattr(self, name) for name in custom.Reading._fields}
        return custom.Reading(**{name: value for name, value in given.items() if value is not None})

    def ranges(self, default: Ranges) -> Ranges:
        return Ranges(
            read_range("--inputs", self.inputs, default.inputs),
            read_range("--targets", self.targets, default.targets),
        )

    def parts(self, *, small: bool) -> list[Part]:
        """Decide whose questions and how many of each; nothing is made or loaded yet. Raises ValueError.

        A total is dealt out evenly, the RL questions in proportion to the others. `small` for the built-in model.
        """
        if isinstance(self.questions, str):
            return [Part(custom.task(self.questions, self.reading), Wanted(None, self.rl_questions, self.seed))]
        named = registry.parse(self.task or DEFAULT_TASK)
        ranges = self.ranges(builtin.RANGES if small else Ranges())
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
    """Read both ends of LOW-HIGH. Raises ValueError for any other text."""
    if text is None:
        return default
    found = _RANGE.fullmatch(text)
    if found is None or int(found.group(1)) > int(found.group(2)):
        raise ValueError(f"{flag} must be LOW-HIGH in whole numbers, such as {default[0]}-{default[1]}, not {text!r}")
    return int(found.group(1)), int(found.group(2))


def check_drawing(name: str, value: float | None, shown: str) -> None:
    """Raise ValueError, naming it as `shown`, where engines would refuse the value or draw by another one."""
    _check_range(shown, value, *DRAWING[name])
    if name == "temperature" and value is not None and 0 < value < _COLDEST:
        raise ValueError(f"{shown} must be 0, or between {_COLDEST:g} and 2, not {value}: engines draw no colder")
    if name == "top_k" and value is not None and value != int(value):
        raise ValueError(f"{shown} must be a whole number, not {value}")


def _check_range(flag: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not low <= value <= high:
        raise ValueError(f"{flag} must be between {_number(low)} and {_number(high)}, not {value}")


def _number(bound: float) -> str:
    return f"{bound:,}" if isinstance(bound, int) else f"{bound:g}"
