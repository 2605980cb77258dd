"""Countdown questions, generated from a seed: reach a target with given numbers, each used at most once.

The wording and default ranges are those of arXiv 2512.04072.
"""

import itertools
import operator
import random
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from fractions import Fraction
from functools import partial
from typing import NamedTuple

from generation.records import Question
from generation.tasks.task import HEADER, Drawn, Problem

NAMES = tuple(f"countdown_{count}arg" for count in range(2, 7))
_TEXT = """Using the numbers in the list [{numbers}], create an equation that equals {target}. You can use basic arithmetic operations (+, -, *, /) and each number can only be used once."""
_ASKED = re.compile(r"numbers in the list \[([\d, ]{1,200})\].{0,80}?equals (-?\d{1,9})", re.DOTALL)

Value = int | Fraction
"""Exact. Whole quotients are ints, since drawing millions of expressions with fractions alone takes minutes."""
_OPERATIONS: Mapping[str, Callable[[Value, Value], Value]] = {"+": operator.add, "-": operator.sub, "*": operator.mul}


class Ranges(NamedTuple):
    """Inclusive ranges that inputs and targets are drawn from."""

    inputs: tuple[int, int] = (1, 99)
    targets: tuple[int, int] = (100, 200)


class Solution(NamedTuple):
    """An expression that uses all the numbers, its value, and its operations, innermost first."""

    expression: str
    value: Value
    steps: list[tuple[Value, str, Value, Value]]  # (left, operator, right, result) each


def task(name: str, ranges: Ranges) -> Drawn:
    """Return the task with this name and these ranges."""
    size = int(name.removeprefix("countdown_").removesuffix("arg"))
    return Drawn(
        name,
        f"an equation with {size} numbers for a target",
        "countdown",
        "equation",
        partial(_draw, size, ranges),
        identity=identity,
        family=identity,
        ranges=ranges._asdict(),
        source="made by generation.tasks.countdown",
        effort=50_000 // size**2,
    )


def identity(question: Question | Problem) -> tuple[Hashable, ...]:
    """Return the sorted numbers and the target; questions that agree in them are duplicates."""
    return (*sorted(question.facts["numbers"]), "target", question.facts["target"])


def problem(numbers: list[int], target: int, gold: str) -> Problem:
    """Return the problem that asks for `target` from `numbers`, listed in this order."""
    text = _TEXT.replace("{numbers}", ", ".join(map(str, numbers))).replace("{target}", str(target))
    return Problem(HEADER + text, gold, {"numbers": numbers, "target": target})


def facts_of(text: str) -> dict[str, object] | None:
    """Parse numbers and target of a countdown question worded as here or as published; None for any other text."""
    found = _ASKED.search(text)
    numbers = [int(number) for number in re.findall(r"\d+", found[1])] if found else []
    return {"numbers": numbers, "target": int(found[2])} if found and numbers else None


def solution(numbers: list[int], rng: random.Random) -> Solution | None:
    """Draw a random expression that uses all the numbers; None if it divides by zero."""
    parts: list[tuple[str, Value]] = [(str(number), number) for number in numbers]
    steps = []
    while len(parts) > 1:
        left, left_value = parts.pop(rng.randrange(len(parts)))
        right, right_value = parts.pop(rng.randrange(len(parts)))
        op = rng.choice("+-*/")
        if (value := apply(op, left_value, right_value)) is None:
            return None
        steps.append((left_value, op, right_value, value))
        parts.append((f"({left} {op} {right})", value))
    expression, value = parts[0]
    return Solution(expression.removeprefix("(").removesuffix(")"), value, steps)


def apply(op: str, left: Value, right: Value) -> Value | None:
    """Return the exact value of `left op right`; None for division by zero."""
    if op in _OPERATIONS:
        return _OPERATIONS[op](left, right)
    if not right:
        return None
    value = Fraction(left) / right
    return value.numerator if value.denominator == 1 else value


def is_solvable(values: Sequence[Value], target: int) -> bool:
    """Return True if values, each used at most once, can reach the target; an exhaustive search."""
    if target in values:
        return True
    for left, right in itertools.permutations(range(len(values)), 2):
        rest = [value for place, value in enumerate(values) if place not in (left, right)]
        for op in "+-*/":
            made = apply(op, values[left], values[right]) if op in "-/" or left < right else None
            if made is not None and is_solvable([*rest, made], target):
                return True
    return False


def _draw(size: int, ranges: Ranges, rng: random.Random) -> Problem | None:
    numbers = [rng.randint(*ranges.inputs) for _ in range(size)]
    low, high = ranges.targets
    for _ in range(8 * len(numbers)):
        found = solution(numbers, rng)
        if found is None or not low <= found.value <= high or found.value in numbers:
            continue
        if all(isinstance(result, int) and result >= 0 for *_, result in found.steps):
            return problem(numbers, int(found.value), found.expression)
    return None


TASKS = tuple(task(name, Ranges()) for name in NAMES)
