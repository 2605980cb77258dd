"""Reflections that the built-in model learns: one manner for each reflection prompt.

Each walks through the answer, with true arithmetic, before it gives the verdict.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from examples.builtin_model.styles import Try, names
from generation.records import Question

_VERBS = {"+": "adds", "-": "takes", "*": "multiplies", "/": "divides"}


def reflect(name: str, question: Question, attempt: Try, rng: random.Random) -> str:
    """A reflection in the manner of the named prompt, ending in the true verdict."""
    body = _MANNERS[name](question, attempt, rng)
    return f"{body}\n<verdict>{'Correct' if _is_right(question, attempt) else 'Incorrect'}</verdict>"


def _walk(attempt: Try) -> str:
    return ", ".join(map(str, attempt.operations))


def reached(value: int, target: int) -> str:
    """Whether the value is the target, told by a subtraction: a small model can subtract, not compare."""
    high, low = max(value, target), min(value, target)
    return f"{value}; {high} - {low} = {high - low}, so it {'fits' if value == target else 'does not fit'}"


def _reached(question: Question, attempt: Try) -> str:
    return reached(attempt.value, question.facts["target"])


def _numbers(question: Question, attempt: Try) -> str:
    misused = attempt.misused(question.facts["numbers"])
    if misused is None:
        return "each was given"
    number, twice = misused
    return f"{number} was used too often" if twice else f"{number} was not given"


def _is_right(question: Question, attempt: Try) -> bool:
    return attempt.value == question.facts["target"] and attempt.misused(question.facts["numbers"]) is None


def _work_again(question: Question, attempt: Try, rng: random.Random) -> str:
    opening = rng.choice(("Let me work it out again.", "I do the steps once more.", "Let me check the steps."))
    return (
        f"{opening} My answer is {attempt.expression}.\n{_walk(attempt)}.\nThat is {_reached(question, attempt)}."
        f"\nI used {names(attempt.numbers)}: {_numbers(question, attempt)}."
    )


def _check_demands(question: Question, attempt: Try, rng: random.Random) -> str:
    given = names(question.facts["numbers"])
    return (
        f"I may use only {given}, each at most once. I used {names(attempt.numbers)}, and"
        f" {_numbers(question, attempt)}.\nI must reach {question.facts['target']}. {_walk(attempt)}, so I reach"
        f" {_reached(question, attempt)}."
    )


def _look_for_mistake(question: Question, attempt: Try, rng: random.Random) -> str:
    found = []
    if attempt.misused(question.facts["numbers"]) is not None:
        found.append(_numbers(question, attempt))
    if attempt.value != question.facts["target"]:
        found.append(f"{attempt.value} is not {question.facts['target']}")
    end = f"There is my mistake: {', and '.join(found)}." if found else "I cannot find a mistake."
    return (
        f"Did I make a mistake in {attempt.expression}? The numbers {names(attempt.numbers)}:"
        f" {_numbers(question, attempt)}. The steps: {_walk(attempt)}, so I get {_reached(question, attempt)}."
        f"\n{end}"
    )


def _retrace(question: Question, attempt: Try, rng: random.Random) -> str:
    opening = rng.choice(("I ended on", "In the end I had"))
    return (
        f"{opening} {attempt.expression}. Its steps were {_walk(attempt)}.\nSo it comes to"
        f" {_reached(question, attempt)}. It needs {names(attempt.numbers)}, and {_numbers(question, attempt)}."
    )


def _doubt(question: Question, attempt: Try, rng: random.Random) -> str:
    end = "I keep it." if _is_right(question, attempt) else "I drop it."
    return (
        f"What speaks against {attempt.expression}? I used {names(attempt.numbers)}, and"
        f" {_numbers(question, attempt)}. I get {_walk(attempt)}, so it is {_reached(question, attempt)}.\n{end}"
    )


def retried(question: Question, attempt: Try, rng: random.Random) -> str:
    """Another attempt after a wrong one: backwards from the target, which finds more than any other style."""
    target = question.facts["target"]
    opening = rng.choice(
        (
            f"Let me try another way, backwards from {target}.",
            f"I start from {target} this time.",
            f"So I need something else for {target}.",
        )
    )
    lines = [f"{step.result} is {step.left} {step.op} {step.right}." for step in reversed(attempt.stated)]
    return "\n".join([opening, *lines])


def _recompute(question: Question, attempt: Try, rng: random.Random) -> str:
    opening = rng.choice(("Let me work it out again.", "I do the operations once more."))
    return (
        f"{opening} The answer is {attempt.expression}.\n{_walk(attempt)}.\nThat is {_reached(question, attempt)}."
        f"\nIt uses {names(attempt.numbers)}: {_numbers(question, attempt)}."
    )


def _check_rules(question: Question, attempt: Try, rng: random.Random) -> str:
    given = names(question.facts["numbers"])
    return (
        f"1. Only the numbers {given}, each at most once: it uses {names(attempt.numbers)}, so"
        f" {_numbers(question, attempt)}.\n2. It must equal {question.facts['target']}: {_walk(attempt)}, so it is"
        f" {_reached(question, attempt)}."
    )


def _find_mistake(question: Question, attempt: Try, rng: random.Random) -> str:
    found = []
    if attempt.misused(question.facts["numbers"]) is not None:
        found.append(_numbers(question, attempt))
    if attempt.value != question.facts["target"]:
        found.append(f"{attempt.value} is not {question.facts['target']}")
    end = f"Here is the mistake: {', and '.join(found)}." if found else "I find no mistake."
    return (
        f"I look for a mistake in {attempt.expression}. Numbers {names(attempt.numbers)}:"
        f" {_numbers(question, attempt)}. Operations: {_walk(attempt)}, so the value is {_reached(question, attempt)}."
        f"\n{end}"
    )


def _explain(question: Question, attempt: Try, rng: random.Random) -> str:
    told = [f"it {_VERBS[step.op]} {step.left} and {step.right}, {step}" for step in attempt.operations]
    return (
        f"My friend, look at {attempt.expression}: {'; then '.join(told)}."
        f"\nSo it gets to {_reached(question, attempt)}. As for the numbers {names(attempt.numbers)},"
        f" {_numbers(question, attempt)}."
    )


def _second_opinion(question: Question, attempt: Try, rng: random.Random) -> str:
    opening = "Here is what I think." if rng.random() < 0.5 else "My honest opinion:"
    return (
        f"{opening} The response answers {attempt.expression}. It uses {names(attempt.numbers)}, and"
        f" {_numbers(question, attempt)}. I get {_walk(attempt)}, so it is {_reached(question, attempt)}."
        f"\nI am {'convinced' if _is_right(question, attempt) else 'not convinced'}."
    )


_MANNERS: dict[str, Callable[[Question, Try, random.Random], str]] = {
    "work_again": _work_again,
    "check_demands": _check_demands,
    "look_for_mistake": _look_for_mistake,
    "retrace": _retrace,
    "doubt": _doubt,
    "recompute": _recompute,
    "check_rules": _check_rules,
    "find_mistake": _find_mistake,
    "explain": _explain,
    "second_opinion": _second_opinion,
}
