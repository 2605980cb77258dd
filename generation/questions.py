"""From settings to the questions of a run: of one task, of a mixture, or a user's own.

Each task gives its own SFT and RL questions; here they are put together and held apart once more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from generation import builtin
from generation.records import Question, same_text
from generation.settings import DEFAULT_TASK, Settings
from generation.tasks import countdown, mixture, own, registry
from generation.tasks.task import Supplied, Task, Wanted

_SMALL = 32
"""Questions of each task where the built-in model is asked and nobody says how many."""


class Asked(NamedTuple):
    """The questions of a run."""

    sft: tuple[Question, ...]
    rl: tuple[Question, ...]
    name: str
    """As `name_of` says."""
    config: str
    """JSON: whatever the questions depend on."""
    notes: tuple[str, ...] = ()
    """What a person should know about them."""


class Part(NamedTuple):
    """One task of the run, and how many questions of it."""

    task: Task
    wanted: Wanted


def decide_questions(settings: Settings, *, small: bool) -> Asked:
    """Make or load them. Raises ValueError where there are not that many, or they cannot be had."""
    return supply(decide_tasks(settings, small=small))


def decide_tasks(settings: Settings, *, small: bool) -> list[Part]:
    """Whose questions and how many of each; nothing is made or loaded yet. Raises ValueError."""
    if isinstance(settings.questions, str):
        return [Part(own.task(settings.questions, settings.reading), _wanted(settings, None))]
    parts = mixture.parse(settings.task or DEFAULT_TASK)
    ranges = settings.ranges(builtin.RANGES if small else countdown.Ranges())
    tasks = [registry.find(part.name, ranges) for part in parts]
    return list(map(Part, tasks, _shares(settings, parts, small=small)))


def name_of(parts: Sequence[Part]) -> str:
    """Name the task or mixture for folders and repositories."""
    return mixture.run_name([part.task.name for part in parts])


def supply(parts: Sequence[Part]) -> Asked:
    """Make or load the questions. Raises ValueError if there are too few, or they cannot be had."""
    tasks = [part.task for part in parts]
    supplied = [part.task.supply(part.wanted) for part in parts]
    _check_apart(tasks, supplied)
    return Asked(
        sum((one.sft for one in supplied), ()),
        sum((one.rl for one in supplied), ()),
        name_of(parts),
        json.dumps(_config(tasks, supplied), sort_keys=True),
        tuple(f"{task.name}: {note}" for task, one in zip(tasks, supplied, strict=True) for note in one.notes),
    )


def _shares(settings: Settings, parts: Sequence[mixture.Part], *, small: bool) -> list[Wanted]:
    """What is asked of each part; a total is dealt out evenly, the RL questions in proportion to the others."""
    counts = [part.questions for part in parts]
    if isinstance(settings.questions, int):
        counts = list(mixture.share(settings.questions, [1] * len(parts)))
    elif small:
        counts = [_SMALL if count is None else count for count in counts]
    held: Sequence[int | None] = [None] * len(parts)
    if settings.rl_questions is not None:
        held = mixture.share(settings.rl_questions, [count or 1 for count in counts])
    return [Wanted(count, rl, settings.seed) for count, rl in zip(counts, held, strict=True)]


def _wanted(settings: Settings, count: int | None) -> Wanted:
    return Wanted(count, settings.rl_questions, settings.seed)


def _check_apart(tasks: Sequence[Task], supplied: Sequence[Supplied]) -> None:
    """Tasks of a mixture may ask the same; not one for SFT and another for RL, nor under one name."""
    names = [task.name for task in tasks]
    if len(set(names)) < len(names):
        raise ValueError(f"two tasks of the mixture are called {max(names, key=names.count)}: rename one")
    named = list(zip(tasks, supplied, strict=True))
    owner = {same_text(question.text): task.name for task, one in named for question in one.sft}
    for task, one in named:
        for question in one.rl:
            other = owner.get(same_text(question.text))
            if other is not None:
                remedy = "ask for them in two runs" if other != task.name else "give its TASK a `family` without spaces"
                raise ValueError(f"{task.name} holds a question out for RL that {other} has for SFT: {remedy}")


def _config(tasks: Sequence[Task], supplied: Sequence[Supplied]) -> Mapping[str, Any]:
    if len(tasks) == 1:
        return supplied[0].config
    return {
        "tasks": {
            task.name: {**one.config, "questions": len(one.sft), "rl_questions": len(one.rl)}
            for task, one in zip(tasks, supplied, strict=True)
        }
    }
