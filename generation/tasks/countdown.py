"""Countdown questions, made from a seed: reach a target with given numbers, each used at most once.

Wording, and inputs of 1 to 99 with targets of 100 to 200, after skillfactory.md §5.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import NamedTuple

from generation.records import Question
from generation.tasks.task import HEADER, Drawn, Problem, Task, held_out
from generation.tasks.task import make as make_drawn

NAMES = tuple(f"countdown_{count}arg" for count in range(2, 7))

_TEXT = """Using the numbers in the list [{numbers}], create an equation that equals {target}. You can use basic arithmetic operations (+, -, *, /) and each number can only be used once."""

_ASKED = re.compile(r"numbers in the list \[([\d, ]{1,200})\].{0,80}?equals (-?\d{1,9})", re.DOTALL)

_TRIES_FOR_EACH = 8
_EFFORT = 50_000


@dataclass(frozen=True)
class Ranges:
    """From which integers inputs and targets are drawn, both ends included."""

    inputs: tuple[int, int] = (1, 99)
    targets: tuple[int, int] = (100, 200)


@dataclass(frozen=True)
class Step:
    """One operation of a solution: left op right = result."""

    left: Fraction
    op: str
    right: Fraction
    result: Fraction


@dataclass(frozen=True)
class Solution:
    """An expression over all the numbers, its value, and its operations, innermost first."""

    expression: str
    value: Fraction
    steps: tuple[Step, ...]


def make(task: str, count: int, *, rl: bool, seed: int, ranges: Ranges) -> tuple[Question, ...]:
    """`count` different solvable questions; the same seed gives the same ones.

    A question belongs to RL or to SFT by a hash of its own content, so the two never meet, in one
    run or between runs. Raises ValueError when the ranges do not hold that many questions.
    """
    return make_drawn(_drawn(task, ranges), count, rl=rl, seed=seed)


def held_out_for_rl(question: Question) -> bool:
    """Whether a countdown question is kept for RL: by its numbers and target, whatever their order."""
    return held_out(*identity(question))


def identity(question: Question | Problem) -> tuple[Hashable, ...]:
    """What makes two countdown questions the same: the numbers, in any order, and the target."""
    return (*sorted(question.facts["numbers"]), "target", question.facts["target"])


def question_of(task: str, numbers: list[int], target: int, gold: str, *, source: str) -> Question:
    """The question that asks for `target` from `numbers`, in this order."""
    text, answer, facts = _problem(numbers, target, gold)
    return Question(text, answer, task, source, "countdown", "equation", facts)


def _problem(numbers: list[int], target: int, gold: str) -> Problem:
    text = _TEXT.replace("{numbers}", ", ".join(map(str, numbers))).replace("{target}", str(target))
    return Problem(HEADER + text, gold, {"numbers": numbers, "target": target})


def facts_of(text: str) -> dict[str, object] | None:
    """Numbers and target of a countdown question worded as here or as published; None for another text."""
    found = _ASKED.search(text)
    if found is None:
        return None
    numbers = [int(number) for number in re.findall(r"\d+", found.group(1))]
    return {"numbers": numbers, "target": int(found.group(2))} if numbers else None


def solution(numbers: list[int], rng: random.Random) -> Solution | None:
    """A random expression over all the numbers; None when it divides by zero."""
    walked = _walk(numbers, rng)
    if walked is None:
        return None
    steps = [Step(Fraction(left), op, Fraction(right), Fraction(result)) for left, op, right, result in walked.steps]
    return Solution(walked.expression, Fraction(walked.value), tuple(steps))


def apply(op: str, left: Fraction, right: Fraction) -> Fraction | None:
    """The exact value of `left op right`; None for a division by zero."""
    value = _apply(op, left, right)
    return None if value is None else Fraction(value)


def is_solvable(numbers: Sequence[int], target: int) -> bool:
    """Return True if an equation of some of the numbers, each used once at most, makes the target. Tries them all."""
    values: list[_Value] = list(numbers)
    return target in values or _reaches(values, target)


def _reaches(values: list[_Value], target: int) -> bool:
    for left, right in itertools.permutations(range(len(values)), 2):
        rest = [value for place, value in enumerate(values) if place not in (left, right)]
        for op in "+-*/":
            made = _apply(op, values[left], values[right]) if op in "-/" or left < right else None
            if made is not None and (made == target or _reaches([*rest, made], target)):
                return True
    return False


def task(name: str, ranges: Ranges) -> Task:
    """The row of the table of tasks, for these ranges."""
    return _drawn(name, ranges).task


def _drawn(name: str, ranges: Ranges) -> Drawn:
    size = _size(name)
    return Drawn(
        name,
        f"an equation with {size} numbers for a target",
        "countdown",
        "equation",
        partial(_draw, size, ranges),
        identity=identity,
        family=identity,
        config={"inputs": list(ranges.inputs), "targets": list(ranges.targets)},
        source="made by generation.tasks.countdown",
        within=f" with inputs {_range(ranges.inputs)} and targets {_range(ranges.targets)}",
        widen=", or widen --inputs or --targets",
        effort=_EFFORT // size**2,
    )


_Value = int | Fraction
"""An int wherever the value is whole: drawing millions of expressions in fractions alone takes minutes."""


class _Walk(NamedTuple):
    """A solution before it is put into words."""

    expression: str
    value: _Value
    steps: list[tuple[_Value, str, _Value, _Value]]


def _walk(numbers: list[int], rng: random.Random) -> _Walk | None:
    parts: list[tuple[str, _Value]] = [(str(number), number) for number in numbers]
    steps = []
    while len(parts) > 1:
        left, left_value = parts.pop(rng.randrange(len(parts)))
        right, right_value = parts.pop(rng.randrange(len(parts)))
        op = rng.choice("+-*/")
        value = _apply(op, left_value, right_value)
        if value is None:
            return None
        steps.append((left_value, op, right_value, value))
        parts.append((f"({left} {op} {right})", value))
    expression, value = parts[0]
    return _Walk(expression.removeprefix("(").removesuffix(")"), value, steps)


def _apply(op: str, left: _Value, right: _Value) -> _Value | None:
    if op == "+":
        return left + right
    if op == "-":
        return left - right
    if op == "*":
        return left * right
    if not right:
        return None
    value = Fraction(left) / right
    return value.numerator if value.denominator == 1 else value


def _draw(size: int, ranges: Ranges, rng: random.Random) -> Problem | None:
    numbers = [rng.randint(*ranges.inputs) for _ in range(size)]
    low, high = ranges.targets
    for _ in range(_TRIES_FOR_EACH * len(numbers)):
        candidate = _walk(numbers, rng)
        if candidate is None or not low <= candidate.value <= high or candidate.value in numbers:
            continue
        if all(isinstance(result, int) and result >= 0 for _, _, _, result in candidate.steps):
            return _problem(numbers, int(candidate.value), candidate.expression)
    return None


def _size(task: str) -> int:
    return int(task.removeprefix("countdown_").removesuffix("arg"))


def _range(ends: tuple[int, int]) -> str:
    return f"{ends[0]}-{ends[1]}"


TASKS = tuple(task(name, Ranges()) for name in NAMES)
