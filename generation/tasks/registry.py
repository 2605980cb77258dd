"""The table of tasks: every one that ships, by name; and what else `--task` may name."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from types import MappingProxyType

from generation.tasks import countdown, gym, hub, letters, longmult, own_file
from generation.tasks.task import Task

TASKS: Mapping[str, Task] = MappingProxyType(
    {task.name: task for task in (*countdown.TASKS, *letters.TASKS, *longmult.TASKS, *hub.TASKS)}
)
_WIDTH = 80
_INDENT = 4 * " "


def check_name(name: str) -> None:
    """Raise ValueError for a name that no task can have; what it needs is not looked at yet."""
    if name.startswith(gym.PREFIX):
        gym.check_name(name)
    elif name not in TASKS and not name.endswith(own_file.SUFFIX):
        raise ValueError(
            f"--task {name!r} is unknown: take one of {', '.join(TASKS)} (--list_tasks shows them), or the path of a"
            f" {own_file.SUFFIX} file of your own"
        )


def find(name: str, ranges: countdown.Ranges) -> Task:
    """The task of this name; `ranges` are of the countdown tasks alone. Raises ValueError."""
    check_name(name)
    if name in countdown.NAMES:
        return countdown.task(name, ranges)
    if name.startswith(gym.PREFIX):
        return gym.find(name)
    return TASKS[name] if name in TASKS else own_file.find(name, TASKS)


def listing() -> str:
    """One block a task, as wide as a terminal: what it asks and its grader, then an example question."""
    blocks = []
    for task in TASKS.values():
        question = task.example()
        blocks.append(f"{task.name}: {task.line}; grader {task.grader}")
        blocks += _shown("Q", question.text.rpartition("# Problem\n")[2])
        blocks += [*_shown("A", question.answer), ""]
    if gym.installed():
        blocks.append(f"{gym.PREFIX}NAME: a generator of reasoning-gym; grader {gym.GRADER}, its own scoring")
    blocks.append(f"path/to/my_task{own_file.SUFFIX}: a task of your own, see examples/my_task.py")
    return "\n".join(blocks)


def _shown(label: str, text: str) -> list[str]:
    first, *more = text.splitlines()
    lines = textwrap.wrap(first, _WIDTH, initial_indent=f"{_INDENT}{label}: ", subsequent_indent=_INDENT + "   ")
    for line in more:
        lines += textwrap.wrap(line, _WIDTH, initial_indent=_INDENT + "   ", subsequent_indent=_INDENT + "   ")
    return lines
