"""What `--task` may say: the table of the tasks that ship, by name, and others; one, or several with their counts."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from generation.tasks import countdown, custom_file, gym, hub, made
from generation.tasks.task import MOST, Task

TASKS: Mapping[str, Task] = MappingProxyType(
    {task.name: task for task in (*countdown.TASKS, *made.LETTERS, *made.LONGMULT, *hub.LOADED)}
)
_PART = re.compile(r"(?P<name>[^:,]+)(?::(?P<count>[0-9]{1,8}))?")


class Named(NamedTuple):
    """One task of a mixture, as given."""

    name: str
    questions: int | None
    """Questions for SFT; None where the mixture does not say."""


def parse(text: str) -> tuple[Named, ...]:
    """Read NAME, NAME,NAME or NAME:COUNT,NAME:COUNT; the names are not looked up. Raises ValueError."""
    parts = []
    for piece in text.split(","):
        found = _PART.fullmatch(piece.strip())
        if found is None:
            raise ValueError(
                f"--task {text!r} is no task, and no mixture such as countdown_3arg:2000,longmult_2dig:1000"
            )
        count = None if found["count"] is None else int(found["count"])
        if count is not None and not 1 <= count <= MOST:
            raise ValueError(f"--task {piece.strip()}: the count must be between 1 and {MOST:,}")
        parts.append(Named(found["name"].strip(), count))
    names = [part.name for part in parts]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"--task names {name} twice: name each task once")
    if 0 < sum(part.questions is not None for part in parts) < len(parts):
        raise ValueError(f"--task {text!r} gives some tasks a count and others none: give all of them one, or none")
    return tuple(parts)


def check_name(name: str) -> None:
    """Raise ValueError for a name that no task can have; what it needs is not looked at yet."""
    if name.startswith(gym.PREFIX):
        gym.check_name(name)
    elif name not in TASKS and not name.endswith(custom_file.SUFFIX):
        raise ValueError(
            f"--task {name!r} is unknown: take one of {', '.join(TASKS)} (--list_tasks shows them), or the path of a"
            f" {custom_file.SUFFIX} file of your own"
        )


def find(name: str, ranges: countdown.Ranges) -> Task:
    """Return the task of this name; `ranges` are of the countdown tasks alone. Raises ValueError."""
    check_name(name)
    if name in countdown.NAMES:
        return countdown.task(name, ranges)
    if name.startswith(gym.PREFIX):
        return gym.find(name)
    return TASKS[name] if name in TASKS else custom_file.find(name, TASKS)


def listing() -> str:
    """Show each task in a block as wide as a terminal: what it asks and its grader, then an example question."""
    blocks = []
    for task in TASKS.values():
        question = task.example()
        blocks.append(f"{task.name}: {task.line}; grader {task.grader}")
        for label, text in (("Q", question.text.rpartition("# Problem\n")[2]), ("A", question.answer)):
            for number, line in enumerate(text.splitlines()):
                indent = " " * 7 if number else f"    {label}: "
                blocks += textwrap.wrap(line, 80, initial_indent=indent, subsequent_indent=" " * 7)
        blocks.append("")
    if gym.installed():
        blocks.append(f"{gym.PREFIX}NAME: a generator of reasoning-gym; grader {gym.GRADER}, its own scoring")
    blocks.append(f"path/to/my_task{custom_file.SUFFIX}: a task of your own, see examples/my_task.py")
    return "\n".join(blocks)
