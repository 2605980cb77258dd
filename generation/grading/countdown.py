"""Judges countdown answers: an expression, or steps, over given numbers that must hit a target.

Knows the rules of the game; how things are typed is `typings`, what they are worth is `arithmetic`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from generation.grading.arithmetic import (
    MAX_CHARS,
    Expression,
    is_bare,
    operands,
    read,
    value_of,
)
from generation.grading.quick_countdown import quick_fault
from generation.grading.refusals import OutOfBoundsError, RefusedError, UnreadableError, refused
from generation.grading.typings import statements
from generation.records import Grade, Question

MAX_STEPS = 16


class _Step(NamedTuple):
    """One statement, read: what it computes, and the worth of everything it calls equal."""

    worked: Expression
    """The first side that computes something; where none does, the first side."""
    values: tuple[Fraction, ...]
    """Of all sides, in order."""


def grade_countdown(answer: str, question: Question) -> Grade:
    """Right when the answer uses `facts["numbers"]`, each at most once, to make `facts["target"]`.

    In step form an operand may be the result of an earlier step, once. Every equality that is stated
    must hold. The last statement may also be the whole expression, on its own.
    """
    numbers: Sequence[int] = question.facts["numbers"]
    if (quick := quick_fault(answer, numbers, question.facts["target"])) is not None:
        return Grade("wrong", quick, answer) if quick else Grade("right", "", answer)
    return grade_the_long_way(answer, question)


def grade_the_long_way(answer: str, question: Question) -> Grade:
    """As grade_countdown, for any typing."""
    numbers: Sequence[int] = question.facts["numbers"]
    try:
        fault = _fault(answer, numbers, Fraction(question.facts["target"]))
    except RefusedError as error:
        return refused(error, answer)
    return Grade("wrong", fault, answer) if fault else Grade("right", "", answer)


def _fault(answer: str, numbers: Iterable[int], target: Fraction) -> str:
    """What is wrong with an answer, in one line; "" when nothing is."""
    if len(answer) > MAX_CHARS:
        raise OutOfBoundsError(f"more than {MAX_CHARS} characters")
    stated = statements(answer)
    if not stated:
        raise UnreadableError("states nothing")
    if len(stated) > MAX_STEPS:
        raise OutOfBoundsError(f"more than {MAX_STEPS} statements")
    # All is read before any of it is judged: what is readable in part is not readable.
    sides = [[read(side) for side in statement.split("=")] for statement in stated]
    try:
        steps = [_step(expressions) for expressions in sides]
    except ZeroDivisionError:
        return "divides by zero"
    for left, right in (pair for step in steps for pair in pairwise(step.values)):
        if left != right:
            return f"false equality: {_short(left)} = {_short(right)}"
    steps, given = _without_restatements(steps), Counter(map(Fraction, numbers))
    fault = _shortcoming(steps, given, target)
    # Many a solution ends by writing its steps out as one expression: then that one alone will do.
    return fault if _shortcoming(steps[-1:], given, target) else ""


def _step(sides: Sequence[Expression]) -> _Step:
    worked = next((side for side in sides if not is_bare(side)), sides[0])
    return _Step(worked, tuple(map(value_of, sides)))


def _without_restatements(steps: Sequence[_Step]) -> list[_Step]:
    """Without the steps that only say the last result again.

    Another number alone among steps computes nothing: with it the answer is a list, not a solution.
    """
    worked = list(steps[:1])
    for step in steps[1:]:
        if not is_bare(step.worked):
            worked.append(step)
        elif step.values[0] != worked[-1].values[0]:
            raise UnreadableError("is a list of numbers")
    if len(steps) > 1 and is_bare(steps[0].worked):
        raise UnreadableError("is a list of numbers")
    return worked


def _shortcoming(steps: Sequence[_Step], given: Counter[Fraction], target: Fraction) -> str:
    """The first rule of the game that true steps break, "" when they solve it."""
    reached = steps[-1].values[0]
    return _misuse(steps, given) or ("" if reached == target else f"misses the target: {_short(reached)}")


def _misuse(steps: Sequence[_Step], given: Counter[Fraction]) -> str:
    """Which number is taken that is not there, or not there any more; "" when none is."""
    there, left = given.copy(), given.copy()
    for step in steps:
        for operand in operands(step.worked, left):
            if not there[operand]:
                return f"uses {_short(operand)}, not given"
            if not left[operand]:
                times = "twice" if there[operand] == 1 else f"{there[operand] + 1} times"
                return f"uses {_short(operand)} {times}"
            left[operand] -= 1
        there[step.values[0]] += 1
        left[step.values[0]] += 1
    return ""


def _short(number: Fraction) -> str:
    text = str(number)
    return text if len(text) <= 16 else f"a number of {len(text)} characters"
