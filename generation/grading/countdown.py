"""Judges countdown answers: an expression, or steps, over given numbers that must hit a target.

Knows the rules of the game; how things are typed and what they are worth is `arithmetic`.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from generation.grading.arithmetic import Expression, Value, operands, read, statements
from generation.grading.errors import OutOfBoundsError, UnreadableError
from generation.records import Question

MAX_STEPS = 16


class _Step(NamedTuple):
    """One statement, read."""

    worked: Expression
    """The first side that computes something; where none does, the first side."""
    values: list[Value]
    """Of all sides, in order: what the statement calls equal."""


def judge_countdown(answer: str, question: Question) -> str:
    """Return "" when the answer uses `facts["numbers"]`, each at most once, to make `facts["target"]`.

    In step form an operand may be the result of an earlier step, once. Every equality that is stated must hold. The
    last statement may also be the whole expression, on its own.
    """
    given = [_exact(number) for number in question.facts["numbers"]]
    target = _exact(question.facts["target"])
    stated = statements(answer)
    if not stated:
        raise UnreadableError("states nothing")
    if len(stated) > MAX_STEPS:
        raise OutOfBoundsError(f"more than {MAX_STEPS} statements")
    # All is read before any of it is judged: what is readable in part is not readable.
    sides = [[read(side) for side in statement.split("=")] for statement in stated]
    steps = [_step(statement) for statement in sides]
    if any(len(step.values) < len(statement) for step, statement in zip(steps, sides, strict=True)):
        return "divides by zero"
    for step in steps:
        for place, value in enumerate(step.values[1:]):
            if value != step.values[place]:
                return f"false equality: {_short(step.values[place])} = {_short(value)}"
    steps = _without_restatements(steps)
    fault = _shortcoming(steps, given, target)
    # Many a solution ends by writing its steps out as one expression: then that one alone will do.
    return fault if fault and _shortcoming(steps[-1:], given, target) else ""


def _exact(fact: Any) -> Value:
    return fact if type(fact) is int else Fraction(fact)


def _step(sides: Sequence[Expression]) -> _Step:
    worked = next((side for side in sides if not side.is_bare), sides[0])
    return _Step(worked, [side.value for side in sides if side.value is not None])


def _without_restatements(steps: Sequence[_Step]) -> list[_Step]:
    """Return the steps without those that only say the last result again.

    Another number alone among steps computes nothing: with it the answer is a list, not a solution.
    """
    worked = list(steps[:1])
    for step in steps[1:]:
        if not step.worked.is_bare:
            worked.append(step)
        elif step.values[0] != worked[-1].values[0]:
            raise UnreadableError("is a list of numbers")
    if len(steps) > 1 and steps[0].worked.is_bare:
        raise UnreadableError("is a list of numbers")
    return worked


def _shortcoming(steps: Sequence[_Step], given: Sequence[Value], target: Value) -> str:
    """Return the first rule of the game that true steps break, "" when they solve it."""
    there, left = list(given), list(given)
    for step in steps:
        for operand in operands(step.worked, left):
            if operand not in there:
                return f"uses {_short(operand)}, not given"
            if operand not in left:
                times = there.count(operand)
                return f"uses {_short(operand)} " + ("twice" if times == 1 else f"{times + 1} times")
            left.remove(operand)
        there.append(step.values[0])
        left.append(step.values[0])
    reached = steps[-1].values[0]
    return "" if reached == target else f"misses the target: {_short(reached)}"


def _short(number: Value) -> str:
    text = str(number)
    return text if len(text) <= 16 else f"a number of {len(text)} characters"
