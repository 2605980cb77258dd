"""The eight styles of a single attempt that the built-in model learns, one for each prompt variant."""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from generation.records import Question
from generation.tasks.countdown import Solution, apply

_OPS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
_NOUNS = {"+": "sum", "-": "difference", "*": "product", "/": "quotient"}
_WORDS = {"+": "plus", "-": "minus", "*": "times", "/": "divided by"}


@dataclass(frozen=True)
class Operation:
    """left op right = result, as an attempt states it; the stated result may be false."""

    left: int
    op: str
    right: int
    result: int

    def __str__(self) -> str:
        return f"{self.left} {self.op} {self.right} = {self.result}"


@dataclass(frozen=True)
class Try:
    """An attempt at a question: its expression, its operations in order, and what it claims to reach."""

    expression: str
    operations: tuple[Operation, ...]
    """True ones."""
    claim: int | None = None
    """What the last operation is said to give, where that is false."""

    @staticmethod
    def of(solution: Solution) -> Try:
        return Try(solution.expression, operations(solution.expression))

    @property
    def value(self) -> int:
        return self.operations[-1].result

    @property
    def stated(self) -> tuple[Operation, ...]:
        """The operations as the attempt writes them down."""
        if self.claim is None:
            return self.operations
        return (*self.operations[:-1], replace(self.operations[-1], result=self.claim))

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(int(number) for number in re.findall(r"\d+", self.expression))

    def misused(self, given: Sequence[int]) -> tuple[int, bool] | None:
        """The first number used without being given (False) or more often than given (True)."""
        left = list(given)
        for number in self.numbers:
            if number not in left:
                return number, number in given
            left.remove(number)
        return None

    def claiming(self, target: int) -> Try:
        return replace(self, claim=None if self.value == target else target)

    def tidied(self) -> Try:
        """The same value with the larger or compound operand of each sum and product first."""
        text, _ = _tidy(ast.parse(self.expression, mode="eval").body)
        return Try(text, operations(text))

    def with_number(self, position: int, new: int) -> Try:
        """The same expression with one number changed; unchanged where the values would not be whole."""
        pieces = re.split(r"(\d+)", self.expression)
        pieces[2 * position + 1] = str(new)
        expression = "".join(pieces)
        try:
            return Try(expression, operations(expression))
        except ValueError:
            return self


def operations(expression: str) -> tuple[Operation, ...]:
    """The operations of an expression of our own making, innermost first.

    Raises ValueError when a value on the way is no whole number in [0, 1000).
    """
    steps: list[Operation] = []
    _walk(ast.parse(expression, mode="eval").body, steps)
    return tuple(steps)


def _walk(node: ast.expr, steps: list[Operation]) -> int:
    if isinstance(node, ast.Constant):
        return int(str(node.value))
    assert isinstance(node, ast.BinOp)
    left, right = _walk(node.left, steps), _walk(node.right, steps)
    op = _OPS[type(node.op)]
    value = apply(op, Fraction(left), Fraction(right))
    if value is None or value.denominator != 1 or not 0 <= value < 1000:
        raise ValueError("not a whole number")
    steps.append(Operation(left, op, right, int(value)))
    return int(value)


def _tidy(node: ast.expr) -> tuple[str, tuple[int, int]]:
    """The tidied text, and what operands are ordered by: compound before plain, then the larger number."""
    if isinstance(node, ast.Constant):
        return str(node.value), (0, int(str(node.value)))
    assert isinstance(node, ast.BinOp)
    sides = [_tidy(node.left), _tidy(node.right)]
    if isinstance(node.op, ast.Add | ast.Mult):
        sides.sort(key=lambda side: side[1], reverse=True)
    texts = [f"({text})" if weight[0] else text for text, weight in sides]
    return f"{texts[0]} {_OPS[type(node.op)]} {texts[1]}", (1, 0)


def write(variant: str, question: Question, attempt: Try, rng: random.Random) -> str:
    """A response in the style of the variant."""
    body = _STYLES[variant](question, attempt, rng)
    return f"{body}\n{answer_block(attempt.expression, rng)}"


def answer_block(expression: str, rng: random.Random) -> str:
    return f"<answer>\n{expression}\n</answer>" if rng.random() < 0.7 else f"<answer>{expression}</answer>"


def names(numbers: Sequence[int]) -> str:
    """3, 7 and 4"""
    return f"{', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"


def _original(question: Question, attempt: Try, rng: random.Random) -> str:
    target, given = question.facts["target"], names(question.facts["numbers"])
    opening = rng.choice(
        (
            f"Let me think step by step. I have {given} and I need {target}.",
            f"Let's see. The target is {target} and the numbers are {given}.",
            f"I want to reach {target} with {given}.",
        )
    )
    starts = ("First, ", "Then, ", "Next, ", "After that, ", "Finally, ")
    lines = [f"{start}{step}." for start, step in zip(starts, attempt.stated, strict=False)]
    closing = rng.choice(("So the equation is", "This gives the equation", "Putting it together:"))
    return "\n".join([opening, *lines, f"{closing} {attempt.expression}."])


def _pairs(question: Question, rng: random.Random) -> str:
    given = question.facts["numbers"]
    couples = [(a, b) for i, a in enumerate(given) for b in given[i + 1 :]]
    facts = []
    for a, b in couples[:3]:
        facts += [f"{a} * {b} = {a * b}", f"{a} + {b} = {a + b}"]
        if rng.random() < 0.5:
            facts.append(f"{max(a, b)} - {min(a, b)} = {abs(a - b)}")
    return ", ".join(facts)


def _plan(question: Question, attempt: Try, rng: random.Random) -> str:
    first, *rest = attempt.stated
    then = ", ".join(map(str, rest))
    use = f"I use {first}, and then {then}." if rest else f"I use {first}."
    return (
        "First, I'll try to understand the problem better by writing out a plan and go really deep into detail"
        " about how I should solve this.\nPlan: see what two numbers make, take what leads to"
        f" {question.facts['target']}, and write the equation down.\nWhat two numbers make:"
        f" {_pairs(question, rng)}.\n{use}\nThe equation of this plan is {attempt.expression}."
    )


def _candidates(question: Question, attempt: Try, rng: random.Random) -> list[Try]:
    """One or two other expressions over the same numbers, for the styles that weigh several."""
    given = question.facts["numbers"]
    found: list[Try] = []
    for _ in range(12):
        numbers = rng.sample(given, len(given))
        expression = str(numbers[0])
        for number in numbers[1:]:
            inner = f"({expression})" if " " in expression else expression
            expression = f"{inner} {rng.choice('+-*')} {number}"
        try:
            other = Try(expression, operations(expression))
        except ValueError:
            continue
        if other.value != question.facts["target"] and expression != attempt.expression:
            found.append(other)
        if len(found) == 2:
            break
    return found[: rng.choice((1, 2))]


def _chain(steps: Sequence[Operation]) -> str:
    return " and ".join(map(str, steps))


def _alternatively(question: Question, attempt: Try, rng: random.Random) -> str:
    """The answer comes last, found backwards from the target: a model of this size sees no other way to it."""
    target = question.facts["target"]
    lines = [f"{other.expression}: {_chain(other.operations)}." for other in _candidates(question, attempt, rng)[:1]]
    backwards = " and ".join(f"{step.result} is {step.left} {step.op} {step.right}" for step in attempt.stated[::-1])
    lines.append(f"from {target}: {backwards}, which is {attempt.expression}.")
    text = "\nAlternatively, ".join(lines)
    return f"One potential answer is {text}\nOf these I take {attempt.expression}."


def _rephrase(question: Question, attempt: Try, rng: random.Random) -> str:
    target, given = question.facts["target"], names(question.facts["numbers"])
    lines = [f"{step.result} is {step.left} {step.op} {step.right}." for step in reversed(attempt.stated)]
    opening = rng.choice((f"Make {target} from {given}.", f"Reach {target} with the numbers {given}."))
    return f"Rewritten Question: {opening}\nI go backwards from the target.\n" + "\n".join(lines)


def _in_words(steps: Sequence[Operation]) -> list[str]:
    return [f"{step.left} {_WORDS[step.op]} {step.right} makes {step.result}" for step in steps]


def _hinted(rng: random.Random) -> str:
    """Now and then a model names the hint it was told not to mention."""
    return "As the hint says, " if rng.random() < 0.06 else ""


def _original_rationalized(question: Question, attempt: Try, rng: random.Random) -> str:
    told = ", and ".join(_in_words(attempt.stated))
    return f"We are looking for {question.facts['target']}. {_hinted(rng)}{told}. That is the way to go."


def _plan_rationalized(question: Question, attempt: Try, rng: random.Random) -> str:
    plan = ", then ".join(f"the {_NOUNS[step.op]} of {step.left} and {step.right}" for step in attempt.stated)
    steps = "\n".join(f"Step {number}: {step}" for number, step in enumerate(attempt.stated, 1))
    return (
        "First, I'll try to understand the problem better by writing out a plan and go really deep into detail"
        f" about how I should solve this.\nPlan: {_hinted(rng)}{plan}.\n{steps}"
    )


def _alternatively_rationalized(question: Question, attempt: Try, rng: random.Random) -> str:
    other = _candidates(question, attempt, rng)[:1]
    first = "".join(f"Someone may try {one.expression}, which is {one.value}. Alternatively, " for one in other)
    told = f"{attempt.expression} is {attempt.stated[-1].result}: {_chain(attempt.stated)}."
    return f"{first or 'Alternatively, '}{_hinted(rng)}{told}"


def _rephrase_rationalized(question: Question, attempt: Try, rng: random.Random) -> str:
    return (
        f"Rewritten Question: Which equation with {names(question.facts['numbers'])} equals"
        f" {question.facts['target']}?\n{_hinted(rng)}{attempt.expression} = {_last(attempt)}"
    )


def _last(attempt: Try) -> str:
    last = attempt.stated[-1]
    return f"{last.left} {last.op} {last.right} = {last.result}."


_STYLES: dict[str, Callable[[Question, Try, random.Random], str]] = {
    "original": _original,
    "plan_and_execute": _plan,
    "alternatively": _alternatively,
    "rephrase": _rephrase,
    "original_rationalized": _original_rationalized,
    "plan_and_execute_rationalized": _plan_rationalized,
    "alternatively_rationalized": _alternatively_rationalized,
    "rephrase_rationalized": _rephrase_rationalized,
}
