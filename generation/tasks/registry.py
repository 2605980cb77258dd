"""The table of tasks, what else `--task` may name, and the questions of a run, from one task or a mixture.

A user's own file defines `TASK`, a Drawn or a Loaded, as our tasks are. It is executed here, before any engine starts;
answers are judged by one of our graders, or by the file's own `grade`, which runs in the graders' processes alone.
"""

import hashlib
import json
import re
import sys
import textwrap
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, NamedTuple

from cluster.texts import first_line
from generation.grading import own
from generation.grading.own import OwnGrader
from generation.records import Question, collapse_spaces, stable_hash
from generation.tasks import countdown, gym, made
from generation.tasks.custom_facts import ANSWER_TYPES
from generation.tasks.gold import check_gold, find_faults
from generation.tasks.loaded import HUB_TASKS, Loaded
from generation.tasks.task import MOST, Drawn, Dropped, Problem, Supplied, Task, Wanted

TASKS: Mapping[str, Task] = MappingProxyType(
    {task.name: task for task in (*countdown.TASKS, *made.LETTERS, *made.LONGMULT, *HUB_TASKS)}
)
_OWN = "grade"  # the grader of a TASK that is a function of its file
_NAME_OF_FILE = re.compile(r"[A-Za-z0-9][\w.-]{0,59}")
_PART = re.compile(r"(?P<name>[^:,]+)(?::(?P<count>[0-9]{1,8}))?")


class Part(NamedTuple):
    """One task of a run and its number of questions."""

    task: Task
    wanted: Wanted


def parse(text: str) -> dict[str, int | None]:
    """Parse NAME,NAME or NAME:COUNT,NAME:COUNT into counts by name, None without a count. Raises ValueError."""
    counts: dict[str, int | None] = {}
    for piece in text.split(","):
        found = _PART.fullmatch(piece.strip())
        if found is None:
            mixture = "countdown_3arg:2000,longmult_2dig:1000"
            raise ValueError(f"--task {text!r} is no task, and no mixture such as {mixture}")
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
    """Raise ValueError if no task can have this name; does not open a file."""
    if name.startswith(gym.PREFIX):
        gym.check_name(name)
    elif name not in TASKS and not name.endswith(".py"):
        known = f"{', '.join(TASKS)} (--list_tasks shows them)"
        raise ValueError(f"--task {name!r} is unknown: take one of {known}, or the path of a .py file of your own")


def find(name: str, ranges: countdown.Ranges) -> Task:
    """Return the task with this name; only countdown tasks use `ranges`. Raises ValueError."""
    check_name(name)
    if name in countdown.NAMES:
        return countdown.task(name, ranges)
    if name.startswith(gym.PREFIX):
        return gym.task(name)
    return TASKS[name] if name in TASKS else _of_file(name)


def own_grader(task: Task) -> OwnGrader | None:
    """Return the grader that a task of the user's own brings."""
    return task.own if isinstance(task, _OfFile) else None


def listing() -> str:
    """Describe each task for a terminal: what it asks, its grader and an example question."""
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
    blocks.append("path/to/my_task.py: a task of your own, see examples/my_task.py")
    return "\n".join(blocks)


def share(total: int, weights: Sequence[int]) -> list[int]:
    """Split `total` in proportion to the weights, by the largest-remainder method; ties go to the first."""
    whole = sum(weights)
    parts = [total * weight // whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda place: (-(total * weights[place] % whole), place))
    for place in by_remainder[: total - sum(parts)]:
        parts[place] += 1
    return parts


def run_name(names: Sequence[str]) -> str:
    """Return the name of a run of these tasks, as used in folder and repository names."""
    plain = [re.sub(r"[^\w.-]", "_", name) for name in names]
    if len(plain) == 1:
        return plain[0]
    joined = f"mix-{'-'.join(plain)}"
    return joined if len(joined) <= 60 else f"mix-of-{len(plain)}-{stable_hash(*names)[:8]}"


def supply(parts: Sequence[Part]) -> Supplied:
    """Generate or load the questions of a run. Raises ValueError if there are too few or tasks conflict."""
    supplied = [(part.task.name, part.task.supply(part.wanted)) for part in parts]
    names = [name for name, _ in supplied]
    if len(set(names)) < len(names):
        raise ValueError(f"two tasks of the mixture are called {max(names, key=names.count)}: rename one")
    owner = {collapse_spaces(question.text): name for name, one in supplied for question in one.sft}
    for name, one in supplied:
        for question in one.rl:
            if other := owner.get(collapse_spaces(question.text)):
                remedy = "ask for them in two runs" if other != name else "give its TASK a `family` without spaces"
                raise ValueError(f"{name} holds a question out for RL that {other} has for SFT: {remedy}")
    config = supplied[0][1].config
    if len(supplied) > 1:
        counts = {name: {"questions": len(one.sft), "rl_questions": len(one.rl)} for name, one in supplied}
        config = {"tasks": {name: {**one.config, **counts[name]} for name, one in supplied}}
    sft = tuple(question for _, one in supplied for question in one.sft)
    rl = tuple(question for _, one in supplied for question in one.rl)
    return Supplied(sft, rl, config, tuple(f"{name}: {note}" for name, one in supplied for note in one.notes))


def _of_file(given: str) -> Task:
    told = f"--task file {given}"
    try:
        source = Path(given).read_bytes()
    except OSError as error:
        raise ValueError(f"{told} cannot be read: {error.strerror}") from error
    module = ModuleType(f"task_of_{Path(given).stem}")
    module.__file__ = given
    sys.modules[module.__name__] = module  # dataclasses look up their module there
    _run(given, lambda _: exec(compile(source, given, "exec"), module.__dict__), None)
    if not hasattr(module, "TASK"):
        raise ValueError(f"{told} has no TASK: give it one, as examples/my_task.py has")
    made = module.TASK
    if not isinstance(made, Drawn | Loaded):
        raise ValueError(f"{told}: TASK is a {type(made).__name__}, and must be a Drawn or a Loaded")
    if not isinstance(made.name, str) or not _NAME_OF_FILE.fullmatch(made.name) or made.name in TASKS:
        raise ValueError(f"{told}: {made.name!r} is no name, or one of ours; letters, digits, _ . - will do")
    if made.grader not in (*ANSWER_TYPES, _OWN):
        known = f"{', '.join(ANSWER_TYPES)}, or {_OWN!r} for the file's own function"
        raise ValueError(f"{told}: no grader is called {made.grader!r}; take one of {known}")
    if hasattr(module, _OWN) and made.grader != _OWN:
        raise ValueError(
            f"{told} has a function grade, and TASK says grader={made.grader!r}: say {_OWN!r}, or rename it"
        )
    grader = own.load(given, "--task") if made.grader == _OWN else None
    if isinstance(made, Drawn):
        made = replace(made, draw=partial(_made, given, made.draw))
    else:
        made = replace(made, read=partial(_made, given, made.read))
    sha256, name = hashlib.sha256(source).hexdigest(), grader.name if grader else made.grader
    return _OfFile(made.name, made.line, name, made.answer_type, made, given, sha256, grader)


@dataclass(frozen=True)
class _OfFile(Task):
    made: Drawn | Loaded
    given: str
    sha256: str
    own: OwnGrader | None

    def supply(self, wanted: Wanted) -> Supplied:
        return self._checked(self.made.supply(wanted))

    def evaluation(self, count: int | None, seed: int) -> Supplied:
        return self._checked(self.made.evaluation(count, seed))

    def _graded(self, question: Question) -> Question:
        if self.own is None:
            return question
        if "answer" in question.facts:
            told = f"--task file {self.given}: {question.text[-60:]!r}"
            raise ValueError(f"{told} has facts with 'answer', which stands for the gold answer: name that otherwise")
        return replace(question, grader=self.own.name, program=self.own.source)

    def _checked(self, supplied: Supplied) -> Supplied:
        sft, rl = (tuple(map(self._graded, of)) for of in (supplied.sft, supplied.rl))
        supplied = supplied._replace(sft=sft, rl=rl)
        asked = (*supplied.sft, *supplied.rl)
        faults = find_faults(asked)
        for question in asked:
            place = f"--task file {self.given}: {question.text[-60:]!r}"
            check_gold(place, question)
            if fault := faults.by_key.get(question.key):
                raise ValueError(f"{place}: {fault}")
        origin = {"file": Path(self.given).name, "file_sha256": self.sha256}
        notes = [f"graded by {self.own.name}: {self.own.line}"] if self.own else []
        return supplied._replace(config={**supplied.config, **origin}, notes=(*supplied.notes, *notes, *faults.notes))

    def example(self) -> Question:
        return self._graded(self.made.example())


def _made(given: str, make: Callable[[Any], Any], value: Any) -> Any:
    """Check and return what the user's `draw` or `read` returns; None for a failed draw."""
    problem = _run(given, make, value)
    if problem is None:
        return None
    told = f"--task file {given}: {getattr(make, '__name__', 'TASK')} gave"
    if not isinstance(problem, Problem):
        raise ValueError(f"{told} a {type(problem).__name__}, and must give a Problem or None")
    for name in ("text", "answer"):
        text = getattr(problem, name)
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"{told} a Problem whose {name} is {text!r:.60}, and not text")
    try:
        json.dumps(dict(problem.facts))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{told} facts that are no JSON: {error}") from error
    return problem


def _run(given: str, function: Callable[[Any], Any], value: Any) -> Any:
    """Run the user's code. Raises ValueError, with the line in the file, for whatever it raises except Dropped."""
    try:
        return function(value)
    except Dropped:
        raise
    except (Exception, SystemExit) as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == given]
        line = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else lines[-1] if lines else None
        where = f" line {line}" if line else ""
        reason = first_line(error, "no reason given")[:200]
        raise ValueError(f"--task file {given}{where}: {type(error).__name__}: {reason}") from error
