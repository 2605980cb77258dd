"""A task of the user's own: one Python file, named by its path on the command line and loaded from nowhere else.

The file holds `TASK`, a Drawn or a Loaded, made as ours are. Its questions are made here, before any engine
starts, so its code runs on this machine alone; the answers are judged by one of our graders.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import sys
import traceback
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from generation.tasks.gold import check_gold, find_faults
from generation.tasks.loaded import Dropped, Loaded
from generation.tasks.own_facts import ANSWER_TYPES
from generation.tasks.task import Drawn, Problem, Supplied, Task, Wanted

SUFFIX = ".py"
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,59}")
_T = TypeVar("_T")


def find(given: str, taken: Collection[str]) -> Task:
    """The task of this file; none may be called as one of those `taken`. Raises ValueError, also when asked."""
    try:
        source = Path(given).read_bytes()
    except OSError as error:
        raise ValueError(f"--task file {given} cannot be read: {error.strerror}") from error
    made = _checked(_load(given, source), given, taken)
    if isinstance(made, Drawn):
        made = replace(made, draw=partial(_made, given, made.draw))
    else:
        made = replace(made, read=partial(_made, given, made.read))
    origin = {"file": Path(given).name, "file_sha256": hashlib.sha256(source).hexdigest()}

    def supply(wanted: Wanted) -> Supplied:
        supplied = made.task.supply(wanted)
        asked = (*supplied.sft, *supplied.rl)
        faults = find_faults(asked)
        for question in asked:
            place = f"--task file {given}: {question.text[-60:]!r}"
            check_gold(place, question)
            if fault := faults.by_key.get(question.key):
                raise ValueError(f"{place}: {fault.told}")
        return supplied._replace(config={**supplied.config, **origin}, notes=(*supplied.notes, *faults.notes))

    return replace(made.task, supply=supply)


def _load(given: str, source: bytes) -> object:
    """What the file calls TASK."""
    # By this name, so that its classes find their module.
    name = f"task_of_{Path(given).stem}"
    spec = importlib.util.spec_from_file_location(name, given)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    _run(given, lambda _: exec(compile(source, given, "exec"), module.__dict__), None)
    if not hasattr(module, "TASK"):
        raise ValueError(f"--task file {given} has no TASK: give it one, as examples/my_task.py has")
    return module.TASK


def _checked(made: object, given: str, taken: Collection[str]) -> Drawn | Loaded:
    if not isinstance(made, Drawn | Loaded):
        raise ValueError(f"--task file {given}: TASK is a {type(made).__name__}, and must be a Drawn or a Loaded")
    if not isinstance(made.name, str) or not _NAME.fullmatch(made.name) or made.name in taken:
        raise ValueError(
            f"--task file {given}: {made.name!r} is no name, or one of ours; letters, digits, _ . - will do"
        )
    if made.grader not in ANSWER_TYPES:
        known = ", ".join(ANSWER_TYPES)
        raise ValueError(f"--task file {given}: no grader is called {made.grader!r}; take one of {known}")
    return made


def _made(given: str, make: Callable[[Any], Any], value: Any) -> Any:
    """The problem that the user's draw or read gives, when it can be asked; None for a draw that came to nothing."""
    problem = _run(given, make, value)
    maker = getattr(make, "__name__", "TASK")
    if problem is None:
        return None
    if not isinstance(problem, Problem):
        raise ValueError(
            f"--task file {given}: {maker} gave a {type(problem).__name__}, and must give a Problem or None"
        )
    for name, text in (("text", problem.text), ("answer", problem.answer)):
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"--task file {given}: {maker} gave a Problem whose {name} is {text!r:.60}, and not text")
    try:
        json.dumps(dict(problem.facts))
    except (TypeError, ValueError) as error:
        raise ValueError(f"--task file {given}: {maker} gave facts that are no JSON: {error}") from error
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
        reason = (str(error).strip().splitlines() or ["no reason given"])[0][:200]
        raise ValueError(f"--task file {given}{where}: {type(error).__name__}: {reason}") from error
