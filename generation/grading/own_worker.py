"""Runs a grader of the user's own in a process that can be killed: the text of its file is executed as the setup.

Whatever it raises is a reply, and so is what it returns that is no grade. Knows nothing of questions.
"""

import inspect
import random
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from generation.grading.workers import Request

MEMORY = 4 << 30  # bytes of address space: numpy alone reserves one gigabyte on many cores
_OUTCOMES = ("right", "wrong", "unknown")
_LONGEST = 200  # characters of a reason

_about: dict[str, Any] = {}
"""What the file says of itself, or how it `failed`."""
_grade: list[Callable[[str, Mapping[str, Any]], object]] = []


def prepare(request: Request) -> None:
    """Execute the file, if this is the setup: its `name` and `source`."""
    if "source" not in request:
        return
    name = request["name"]
    module = ModuleType(f"grader_of_{name.removesuffix('.py')}")
    module.__file__ = name
    sys.modules[module.__name__] = module  # dataclasses look up their module there
    try:
        exec(compile(request["source"], name, "exec"), module.__dict__)
        if not (fault := _fault(module)):
            _grade.append(module.grade)
        _about.update({"failed": fault} if fault else _described(module))
    except BaseException as error:  # a SystemExit of the user's, too
        said = "".join(str(error).splitlines()[:1])[:_LONGEST]
        _about["failed"] = f"{_raised(error, name)}: {said or 'no reason given'}"


def _fault(module: ModuleType) -> str:
    """Return why the file has no grader that can be called, "" if it has one."""
    names = module.__dict__
    grade, columns, kind = names.get("grade"), names.get("COLUMNS", ()), names.get("ANSWER_TYPE", "answer")
    if not callable(grade):
        return "has no function grade(answer, facts): docs/extending.md has one"
    if inspect.iscoroutinefunction(grade):
        return "grade is async, and must be an ordinary function"
    try:
        inspect.signature(grade).bind("", {})
    except TypeError:
        return f"grade takes {inspect.signature(grade)}, and must take (answer, facts)"
    if not (inspect.getdoc(grade) or "").strip():
        return "grade has no docstring: say in its first line which answers are right"
    if not isinstance(columns, tuple | list) or not all(isinstance(one, str) and one for one in columns):
        return f"COLUMNS is {columns!r:.40}, and must be a list of names, such as ['tests']"
    if "answer" in columns:
        return "COLUMNS names 'answer', which stands for the gold answer in every grader's facts: leave it out"
    if not isinstance(kind, str) or not kind.strip():
        return f"ANSWER_TYPE is {kind!r:.40}, and must be a text, such as 'equation'"
    return ""


def _described(module: ModuleType) -> dict[str, Any]:
    line = (inspect.getdoc(module.grade) or "").strip().partition("\n")[0][:_LONGEST]
    kind = getattr(module, "ANSWER_TYPE", "answer")
    return {"line": line, "columns": list(getattr(module, "COLUMNS", ())), "answer_type": kind}


def answer(request: Request) -> dict[str, Any]:
    """Return `outcome` and `reason` of an `answer` by its `facts`, or how it `failed`; without one, what it is."""
    if "answer" not in request or "failed" in _about:
        return _about
    # A grader that draws numbers gives the same grade wherever it runs.
    random.seed(0)
    try:
        return _read(_grade[0](request["answer"], request["facts"]))
    except BaseException as error:
        return {"outcome": "unknown", "reason": f"the grader raised {_raised(error, request['name'])}"}


def _read(given: object) -> dict[str, Any]:
    """Read True, False, or one of _OUTCOMES, alone or in a pair with a reason; all else leaves it unknown."""
    outcome, reason = given if isinstance(given, tuple) and len(given) == 2 else (given, "")
    if type(outcome).__name__ in ("bool", "bool_"):  # numpy's is called so, too
        outcome = "right" if outcome else "wrong"
    if not isinstance(outcome, str) or outcome not in _OUTCOMES or not isinstance(reason, str):
        told = f" {outcome[:20]!r}" if isinstance(outcome, str) else ""
        why = "" if isinstance(reason, str) else f" with a reason that is a {type(reason).__name__}"
        return {"outcome": "unknown", "reason": f"the grader returned a {type(outcome).__name__}{told}{why}"}
    return {"outcome": outcome, "reason": " ".join(reason.split())[:_LONGEST]}


def _raised(error: BaseException, name: str) -> str:
    """Return the type of an error, and the last line of the file that it went through."""
    trace, line = error.__traceback__, getattr(error, "lineno", None) if isinstance(error, SyntaxError) else None
    while trace is not None:
        line = trace.tb_lineno if trace.tb_frame.f_code.co_filename == name else line
        trace = trace.tb_next
    return f"{type(error).__name__[:60]}{f' in line {line} of {name}' if line else ''}"
