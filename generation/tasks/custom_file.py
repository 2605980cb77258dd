"""A task of the user's own: one Python file, named by its path on the command line and loaded from nowhere else.

The file holds `TASK`, a Drawn or a Loaded, made as ours are. Its questions are made here, before any engine
starts, so its code runs on this machine alone; the answers are judged by one of our graders.
"""

import hashlib
import importlib.util
import json
import re
import sys
import traceback
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from cluster.texts import first_line
from generation.records import Question
from generation.tasks.custom_facts import ANSWER_TYPES
from generation.tasks.gold import check_gold, find_faults
from generation.tasks.loaded import Loaded
from generation.tasks.task import Drawn, Dropped, Problem, Supplied, Task, Wanted

SUFFIX = ".py"
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,59}")
_T = TypeVar("_T")


def find(given: str, taken: Collection[str]) -> Task:
    """Return the task of this file; none may be called as one of those `taken`. Raises ValueError."""
    told = f"--task file {given}"
    try:
        source = Path(given).read_bytes()
    except OSError as error:
        raise ValueError(f"{told} cannot be read: {error.strerror}") from error
    # By this name, so that its classes find their module.
    name = f"task_of_{Path(given).stem}"
    spec = importlib.util.spec_from_file_location(name, given)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    _run(given, lambda _: exec(compile(source, given, "exec"), module.__dict__), None)
    if not hasattr(module, "TASK"):
        raise ValueError(f"{told} has no TASK: give it one, as examples/my_task.py has")
    made = module.TASK
    if not isinstance(made, Drawn | Loaded):
        raise ValueError(f"{told}: TASK is a {type(made).__name__}, and must be a Drawn or a Loaded")
    if not isinstance(made.name, str) or not _NAME.fullmatch(made.name) or made.name in taken:
        raise ValueError(f"{told}: {made.name!r} is no name, or one of ours; letters, digits, _ . - will do")
    if made.grader not in ANSWER_TYPES:
        known = ", ".join(ANSWER_TYPES)
        raise ValueError(f"{told}: no grader is called {made.grader!r}; take one of {known}")
    if isinstance(made, Drawn):
        made = replace(made, draw=partial(_made, given, made.draw))
    else:
        made = replace(made, read=partial(_made, given, made.read))
    return _OfFile(made.name, made.line, made.grader, made.answer_type, made, given, hashlib.sha256(source).hexdigest())


@dataclass(frozen=True)
class _OfFile(Task):
    made: Drawn | Loaded
    given: str
    sha256: str

    def supply(self, wanted: Wanted) -> Supplied:
        supplied = self.made.supply(wanted)
        asked = (*supplied.sft, *supplied.rl)
        faults = find_faults(asked)
        for question in asked:
            place = f"--task file {self.given}: {question.text[-60:]!r}"
            check_gold(place, question)
            if fault := faults.by_key.get(question.key):
                raise ValueError(f"{place}: {fault}")
        origin = {"file": Path(self.given).name, "file_sha256": self.sha256}
        return supplied._replace(config={**supplied.config, **origin}, notes=(*supplied.notes, *faults.notes))

    def example(self) -> Question:
        return self.made.example()


def _made(given: str, make: Callable[[Any], Any], value: Any) -> Any:
    """Return the problem that the user's draw or read gives; None for a draw that came to nothing."""
    problem = _run(given, make, value)
    told = f"--task file {given}: {getattr(make, '__name__', 'TASK')} gave"
    if problem is None:
        return None
    if not isinstance(problem, Problem):
        raise ValueError(f"{told} a {type(problem).__name__}, and must give a Problem or None")
    for name, text in (("text", problem.text), ("answer", problem.answer)):
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"{told} a Problem whose {name} is {text!r:.60}, and not text")
    try:
        json.dumps(dict(problem.facts))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{told} facts that are no JSON: {error}") from error
    return problem


def _run(given: str, function: Callable[[Any], _T], value: Any) -> _T:
    """Run the user's code. Whatever it raises becomes one line that says where."""
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
