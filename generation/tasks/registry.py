"""The table of tasks, what else `--task` may name, and the questions of a run: of one task or a mixture.

Each task gives its own SFT and RL questions; here they are put together and held apart once more.
"""

import re
import textwrap
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from generation.records import same_text, stable_hash
from generation.tasks import countdown, custom_file, gym, loaded, made
from generation.tasks.task import MOST, Supplied, Task, Wanted

TASKS: Mapping[str, Task] = MappingProxyType(
    {task.name: task for task in (*countdown.TASKS, *made.LETTERS, *made.LONGMULT, *loaded.HUB_TASKS)}
)
_LONGEST_NAME = 60
_PART = re.compile(r"(?P<name>[^:,]+)(?::(?P<count>[0-9]{1,8}))?")


class Part(NamedTuple):
    """One task of the run, and how many questions of it."""

    task: Task
    wanted: Wanted


def parse(text: str) -> dict[str, int | None]:
    """Read NAME, NAME,NAME or NAME:COUNT,NAME:COUNT into names, not looked up, with their counts, None without.

    Raises ValueError.
    """
    counts: dict[str, int | None] = {}
    for piece in text.split(","):
        found = _PART.fullmatch(piece.strip())
        if found is None:
            told = "is no task, and no mixture such as countdown_3arg:2000,longmult_2dig:1000"
            raise ValueError(f"--task {text!r} {told}")
        name, count = found["name"].strip(), None if found["count"] is None else int(found["count"])
        if count is not None and not 1 <= count <= MOST:
            raise ValueError(f"--task {piece.strip()}: the count must be between 1 and {MOST:,}")
        if name in counts:
            raise ValueError(f"--task names {name} twice: name each task once")
        counts[name] = count
    if None in counts.values() and any(counts.values()):
        raise ValueError(f"--task {text!r} gives some tasks a count and others none: give all of them one, or none")
    return counts


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
        return gym.task(name)
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


def share(total: int, weights: Sequence[int]) -> list[int]:
    """Deal out `total` in whole numbers in proportion to the weights, what is left to the largest remainders."""
    whole = sum(weights)
    parts = [total * weight // whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda place: (-(total * weights[place] % whole), place))
    for place in by_remainder[: total - sum(parts)]:
        parts[place] += 1
    return parts


def run_name(names: Sequence[str]) -> str:
    """Return what a run of these tasks is called, in folders and on the hub."""
    plain = [re.sub(r"[^\w.-]", "_", name) for name in names]
    if len(plain) == 1:
        return plain[0]
    joined = f"mix-{'-'.join(plain)}"
    return joined if len(joined) <= _LONGEST_NAME else f"mix-of-{len(plain)}-{stable_hash(*names)[:8]}"


def supply(parts: Sequence[Part]) -> Supplied:
    """Make or load the questions of a run. Raises ValueError if there are too few, or tasks do not go together."""
    supplied = [(part.task.name, part.task.supply(part.wanted)) for part in parts]
    names = [name for name, _ in supplied]
    if len(set(names)) < len(names):
        raise ValueError(f"two tasks of the mixture are called {max(names, key=names.count)}: rename one")
    owner = {same_text(question.text): name for name, one in supplied for question in one.sft}
    for name, one in supplied:
        for question in one.rl:
            if other := owner.get(same_text(question.text)):
                remedy = "ask for them in two runs" if other != name else "give its TASK a `family` without spaces"
                raise ValueError(f"{name} holds a question out for RL that {other} has for SFT: {remedy}")
    config = supplied[0][1].config
    if len(supplied) > 1:
        counts = {name: {"questions": len(one.sft), "rl_questions": len(one.rl)} for name, one in supplied}
        config = {"tasks": {name: {**one.config, **counts[name]} for name, one in supplied}}
    sft = tuple(question for _, one in supplied for question in one.sft)
    rl = tuple(question for _, one in supplied for question in one.rl)
    return Supplied(sft, rl, config, tuple(f"{name}: {note}" for name, one in supplied for note in one.notes))
