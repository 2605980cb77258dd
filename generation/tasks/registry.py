"""The table of tasks: every one that ships, by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from generation.tasks import countdown, letters, longmult
from generation.tasks.task import Task

TASKS: Mapping[str, Task] = MappingProxyType(
    {task.name: task for task in (*countdown.TASKS, *letters.TASKS, *longmult.TASKS)}
)


def find(name: str, ranges: countdown.Ranges) -> Task:
    """The task of this name; `ranges` are of the countdown tasks alone. Raises ValueError."""
    if name in countdown.NAMES:
        return countdown.task(name, ranges)
    if name not in TASKS:
        raise ValueError(f"--task {name!r} is unknown: take one of {', '.join(TASKS)}")
    return TASKS[name]


def listing() -> str:
    """One block a task: what it asks and how it is graded, then an example question."""
    blocks = []
    for task in TASKS.values():
        question = task.example()
        problem = " ".join(question.text.rpartition("# Problem\n")[2].split())
        blocks.append(f"{task.name}: {task.line} (grader {task.grader})\n    {problem}\n    e.g. {question.answer}")
    return "\n".join(blocks)
