"""reasoning-gym's generators as tasks named `reasoning_gym/NAME`, with their default settings; an optional extra.

A question's facts hold the whole entry, which the scoring needs. Run as a module with NAME SEED SIZE, this prints
entries as JSON lines, in a process with a fixed PYTHONHASHSEED, since some generators iterate over sets of strings.
No model output is ever evaluated as code, but scoring may not terminate: call `score` in a process that can be killed.
"""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

from cluster.texts import first_line, nearest
from generation.records import Question, request_seed
from generation.tasks.task import (
    HEADER,
    Problem,
    Splits,
    Supplied,
    Task,
    Wanted,
    as_evaluation,
    supply_made,
    take_distinct,
)

PREFIX = "reasoning_gym/"
GRADER = "gym"
SPARE, TIMES = 1000, 20  # a generator counts as exhausted after SPARE entries plus TIMES as many as are wanted
_WITHOUT_GOLD = 20  # if none of the first entries, this many, has a gold answer, none will
_GRIDS = frozenset({"arc_agi", "rearc"})  # generators whose scoring compares tuples, which JSON turned into lists
# The first four are what sympy's parser emits for names and numbers.
_CALLED = (
    *("Symbol", "Integer", "Float", "Rational", "sqrt", "exp", "log", "ln", "Abs"),
    *("sin", "cos", "tan", "cot", "sec", "csc", "asin", "acos", "atan", "sinh", "cosh", "tanh"),
)
_PARTS = (
    *(ast.Expression, ast.Constant, ast.Name, ast.Load, ast.Tuple, ast.List, ast.Set, ast.Dict),
    *(ast.UnaryOp, ast.unaryop, ast.BinOp, ast.operator, ast.Call),
)


class NotComputedError(ValueError):
    """The expression does more than compute."""


def installed() -> bool:
    return find_spec("reasoning_gym") is not None


def check_name(name: str) -> None:
    """Raise ValueError if there is no such generator."""
    if not installed():
        raise ValueError(f"--task {name} needs reasoning-gym: pip install -e '.[reasoning-gym]' in its checkout")
    # Slow to import, and only these tasks need it.
    from reasoning_gym.factory import DATASETS

    known = sorted(DATASETS)
    short = name.removeprefix(PREFIX)
    if short not in known:
        near = ", ".join(PREFIX + one for one in nearest(short, known, most=5, cutoff=0.3) or known[:5])
        raise ValueError(f"--task {name} is unknown: reasoning-gym has {len(known)} generators, such as {near}")


def task(name: str) -> Task:
    """Return the task of a generator, whose name check_name has accepted."""
    return _Gym(name, f"entries of reasoning-gym's {name.removeprefix(PREFIX)}", GRADER, "answer")


@dataclass(frozen=True)
class _Gym(Task):
    def supply(self, wanted: Wanted) -> Supplied:
        def make(sft: int, rl: int) -> Splits:
            return take_distinct(self._questions(wanted.seed, SPARE + TIMES * (sft + rl)), sft, rl)

        config = {"reasoning_gym": version("reasoning-gym")}
        return supply_made(f"{self.name} gave only {{found}} different", wanted, config, make)

    def evaluation(self, count: int | None, seed: int) -> Supplied:
        """As Drawn.evaluation."""
        return as_evaluation(self.supply, count, seed)

    def _questions(self, seed: int, size: int) -> Iterator[Question]:
        """Yield a question for each entry with a gold answer. Raises ValueError if the generator fails."""
        generator = self.name.removeprefix(PREFIX)
        numbers = map(str, (request_seed(seed, self.name) % 2**31, size))
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "0"}
        command = [sys.executable, "-m", "generation.tasks.gym", generator, *numbers]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as process:
            assert process.stdout is not None
            try:
                for said in map(json.loads, process.stdout):
                    if "failed" in said:
                        raise ValueError(f"{self.name} cannot be asked with its default settings: {said['failed']}")
                    facts = {"generator": generator, "entry": said}
                    problem = Problem(HEADER + said["question"].strip(), said["answer"], facts)
                    yield self.question(problem, "made by reasoning-gym")
            finally:
                process.kill()


def _print_entries(name: str, seed: int, size: int) -> None:
    """Print the entries that have a gold answer, or how the generator failed, and suppress its own output."""
    import reasoning_gym

    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    found = 0
    try:
        made = reasoning_gym.create_dataset(name, seed=seed, size=size)
        for index in range(size):
            entry = dict(made[index])
            if isinstance(entry.get("answer"), str) and entry["answer"].strip():
                found += 1
                print(json.dumps(entry), file=replies, flush=True)
            elif index > _WITHOUT_GOLD and not found:
                raise ValueError("its entries have no gold answer")
    except BrokenPipeError:
        os._exit(0)  # the reader has enough
    except Exception as error:
        # Generators raise anything, some an AssertionError.
        print(json.dumps({"failed": first_line(error)[:200]}), file=replies, flush=True)


def score(facts: Mapping[str, Any], answer: str) -> float:
    """Return reasoning-gym's score, 0 to 1, for an answer. Raises whatever its scoring function raises."""
    entry = dict(facts["entry"])
    if facts["generator"] in _GRIDS:
        entry["metadata"] = {**entry["metadata"], "output": tuple(map(tuple, entry["metadata"]["output"]))}
    return float(scoring(facts["generator"])(answer, entry))


@cache
def scoring(generator: str) -> Callable[[str, Mapping[str, Any]], float]:
    """Return the scoring function of a generator, prevented from evaluating code."""
    import reasoning_gym

    guard()
    found: Callable[[str, Mapping[str, Any]], float] = reasoning_gym.get_score_answer_fn(generator)
    return found


def guard() -> None:
    """Replace `eval`, which scoring functions call on answers, with `compute` in reasoning-gym and sympy's parser."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "reasoning_gym" or name == "sympy.parsing.sympy_parser":
            module.eval = compute  # type: ignore[attr-defined]


def compute(source: str, names: dict[str, Any] | None = None, local: dict[str, Any] | None = None, /) -> Any:
    """Evaluate an expression as `eval` does. Raises NotComputedError, or what `eval` raises.

    Allows literals, operators, names and calls of known functions by name; no attribute, subscript, lambda or builtin.
    """
    tree = ast.parse(source.strip(), mode="eval")
    for part in ast.walk(tree):
        known = isinstance(part, _PARTS)
        if isinstance(part, ast.Call):
            known = isinstance(part.func, ast.Name) and part.func.id in _CALLED and not part.keywords
        if not known:
            raise NotComputedError(f"{type(part).__name__} is not computed")
    return eval(compile(tree, "<answer>", "eval"), {"__builtins__": {}} if names is None else names, local)


if __name__ == "__main__":
    _print_entries(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
