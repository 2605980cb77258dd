"""From settings to the questions of a run: of one task, of a mixture, or a user's own.

Each task gives its own SFT and RL questions; here they are put together and held apart once more.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import NamedTuple

from generation import builtin
from generation.records import Question, same_text, stable_hash
from generation.settings import DEFAULT_TASK, Settings
from generation.tasks import countdown, custom, registry
from generation.tasks.task import Supplied, Task, Wanted

_SMALL = 32
"""Questions of each task where the built-in model is asked and nobody says how many."""
_LONGEST_NAME = 60


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


def decide_tasks(settings: Settings, *, small: bool) -> list[Part]:
    """Decide whose questions and how many of each; nothing is made or loaded yet. Raises ValueError.

    A total is dealt out evenly, the RL questions in proportion to the others.
    """
    if isinstance(settings.questions, str):
        task = custom.task(settings.questions, settings.reading)
        return [Part(task, Wanted(None, settings.rl_questions, settings.seed))]
    named = registry.parse(settings.task or DEFAULT_TASK)
    ranges = settings.ranges(builtin.RANGES if small else countdown.Ranges())
    tasks = [registry.find(one.name, ranges) for one in named]
    counts = [one.questions for one in named]
    if settings.questions is not None:
        counts = list(share(settings.questions, [1] * len(named)))
    elif small:
        counts = [_SMALL if count is None else count for count in counts]
    held: Sequence[int | None] = [None] * len(named)
    if settings.rl_questions is not None:
        held = share(settings.rl_questions, [count or 1 for count in counts])
    return [Part(task, Wanted(sft, rl, settings.seed)) for task, sft, rl in zip(tasks, counts, held, strict=True)]


def share(total: int, weights: Sequence[int]) -> list[int]:
    """Deal out `total` in whole numbers in proportion to the weights, what is left to the largest remainders."""
    whole = sum(weights)
    parts = [total * weight // whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda place: (-(total * weights[place] % whole), place))
    for place in by_remainder[: total - sum(parts)]:
        parts[place] += 1
    return parts


def name_of(parts: Sequence[Part]) -> str:
    """Name the task or mixture for folders and repositories."""
    return run_name([part.task.name for part in parts])


def run_name(names: Sequence[str]) -> str:
    """Return what a run of these tasks is called, in folders and on the hub."""
    plain = [re.sub(r"[^\w.-]", "_", name) for name in names]
    if len(plain) == 1:
        return plain[0]
    joined = f"mix-{'-'.join(plain)}"
    return joined if len(joined) <= _LONGEST_NAME else f"mix-of-{len(plain)}-{stable_hash(*names)[:8]}"


def supply(parts: Sequence[Part]) -> Asked:
    """Make or load the questions. Raises ValueError if there are too few, or they cannot be had."""
    supplied = [(part.task.name, part.task.supply(part.wanted)) for part in parts]
    _check_apart(supplied)
    config = supplied[0][1].config
    if len(supplied) > 1:
        counted = {name: {"questions": len(one.sft), "rl_questions": len(one.rl)} for name, one in supplied}
        config = {"tasks": {name: {**one.config, **counted[name]} for name, one in supplied}}
    return Asked(
        sum((one.sft for _, one in supplied), ()),
        sum((one.rl for _, one in supplied), ()),
        name_of(parts),
        json.dumps(config, sort_keys=True),
        tuple(f"{name}: {note}" for name, one in supplied for note in one.notes),
    )


def _check_apart(supplied: Sequence[tuple[str, Supplied]]) -> None:
    """Tasks of a mixture may ask the same; not one for SFT and another for RL, nor under one name."""
    names = [name for name, _ in supplied]
    if len(set(names)) < len(names):
        raise ValueError(f"two tasks of the mixture are called {max(names, key=names.count)}: rename one")
    owner = {same_text(question.text): name for name, one in supplied for question in one.sft}
    for name, one in supplied:
        for question in one.rl:
            other = owner.get(same_text(question.text))
            if other is not None:
                remedy = "ask for them in two runs" if other != name else "give its TASK a `family` without spaces"
                raise ValueError(f"{name} holds a question out for RL that {other} has for SFT: {remedy}")
