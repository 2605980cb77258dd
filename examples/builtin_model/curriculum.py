"""What the built-in model is trained on: attempts in eight styles, reflections on attempts, and retries after them.

Made from the countdown task's own generator, whose values are exact; prompts are the very messages
the pipeline sends. Attempts are single: no style checks itself or retries, the method adds that.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from cluster.inference.engine import Message
from examples.builtin_model.reflections import reached, reflect, retried
from examples.builtin_model.styles import Try, answer_block, names, write
from generation import variants
from generation.builtin import RANGES
from generation.records import Question
from generation.tasks import countdown
from reflection import prompts

_SIZES = {2: 0.10, 3: 0.85, 4: 0.05}
_REFLECTIONS = 0.33
_RETRIES = 0.09
_FORMER_PROMPTS = 0.12
_RATIONALIZED = 0.25
_MISSES = 0.08
_HINT_IGNORED = 0.25
_DRILL_LINES = 24


@dataclass(frozen=True)
class Example:
    """One training pair: the chat as the pipeline sends it, and what the model should say."""

    messages: tuple[Message, ...]
    completion: str


def example(rng: random.Random, excluded: frozenset[tuple[object, ...]]) -> Example:
    """One example on a question outside `excluded` (identities of the evaluation questions)."""
    question, right = _question(rng, excluded)
    kind = rng.random()
    if kind < _REFLECTIONS:
        return _reflection(question, right, rng)
    if kind < _REFLECTIONS + _RETRIES:
        return _retry(question, right, rng)
    return _attempt(question, right, rng)


def drill(rng: random.Random, excluded: frozenset[tuple[object, ...]]) -> str:
    """Bare arithmetic and searches, a line each: what the styles need, at a tenth of their tokens."""
    return "\n".join(_drill_line(rng, excluded) for _ in range(_DRILL_LINES))


def _drill_line(rng: random.Random, excluded: frozenset[tuple[object, ...]]) -> str:
    question, right = _question(rng, excluded)
    kind = rng.random()
    if kind < 0.3:
        value = right.value if rng.random() < 0.5 else _other(question, rng).value
        return f"{question.facts['target']} to {reached(value, question.facts['target'])}."
    if kind < 0.5:
        other = _other(question, rng)
        return f"{other.expression}: {', '.join(map(str, other.operations))}."
    attempt = right.tidied()
    asked = f"{names(question.facts['numbers'])} to {question.facts['target']}: "
    if kind < 0.65:
        backwards = (f"{step.result} is {step.left} {step.op} {step.right}" for step in reversed(attempt.operations))
        return f"{asked}{'. '.join(backwards)}."
    return f"{asked}{', '.join(map(str, attempt.operations))}. {attempt.expression}."


def _question(rng: random.Random, excluded: frozenset[tuple[object, ...]]) -> tuple[Question, Try]:
    size = rng.choices(list(_SIZES), list(_SIZES.values()))[0]
    while True:
        numbers = [rng.randint(*RANGES.inputs) for _ in range(size)]
        found = whole_solution(numbers, rng)
        if found is None or not RANGES.targets[0] <= found.value <= RANGES.targets[1]:
            continue
        target = int(found.value)
        asked = countdown.problem(numbers, target, found.expression)
        question = countdown.task(f"countdown_{size}arg", RANGES).question(asked, "")
        if target not in numbers and countdown.identity(question) not in excluded:
            return question, Try.of(found)


def whole_solution(numbers: list[int], rng: random.Random) -> countdown.Solution | None:
    """A random expression whose every value is a whole number; None if a few tries give none."""
    for _ in range(10):
        found = countdown.solution(numbers, rng)
        if found and all(result.denominator == 1 and result >= 0 for *_, result in found.steps):
            return found
    return None


def _attempt(question: Question, right: Try, rng: random.Random) -> Example:
    rationalized = rng.random() < _RATIONALIZED
    names = [name for name, variant in variants.VARIANTS.items() if variant.rationalized == rationalized]
    variant = variants.VARIANTS[rng.choice(names)]
    miss = rng.random() < (_HINT_IGNORED if rationalized else _MISSES)
    attempt = _other(question, rng) if miss else right
    if not rationalized:
        attempt = attempt.tidied()
    text = write(variant.name, question, attempt, rng)
    return Example(variants.messages(variant, question), text)


def _reflection(question: Question, right: Try, rng: random.Random) -> Example:
    attempt = right if rng.random() < 0.5 else _wrong(question, right, rng)
    asked, _, said = _reflected(question, attempt, rng)
    return Example(asked, said)


def _reflected(question: Question, attempt: Try, rng: random.Random) -> tuple[tuple[Message, ...], str, str]:
    """Return the chat that asks for a reflection on the attempt, the attempt's text, and the reflection."""
    if attempt.claim is None and rng.random() < 0.7:
        attempt = attempt.tidied()
    sample = write(rng.choice(list(variants.VARIANTS)), question, attempt, rng)
    former = [name for name in prompts.ALL if name not in prompts.PROMPTS]
    name = rng.choice(former if rng.random() < _FORMER_PROMPTS else list(prompts.PROMPTS))
    return prompts.messages(name, question.text, sample), sample, reflect(name, question, attempt, rng)


def _retry(question: Question, right: Try, rng: random.Random) -> Example:
    """Another attempt with the first one and the reflection on it in view."""
    _, sample, said = _reflected(question, _wrong(question, right, rng), rng)
    attempt = (_other(question, rng) if rng.random() < _MISSES else right).tidied()
    asked = prompts.retry_messages(question.text, sample, said, question.answer_type)
    return Example(asked, f"{retried(question, attempt, rng)}\n{answer_block(attempt.expression, rng)}")


def _other(question: Question, rng: random.Random) -> Try:
    """An honest attempt over the same numbers; it may miss the target."""
    while True:
        found = whole_solution(rng.sample(question.facts["numbers"], len(question.facts["numbers"])), rng)
        if found is not None and found.value < 1000:
            return Try.of(found)


def _wrong(question: Question, right: Try, rng: random.Random) -> Try:
    """An attempt that does not solve the question: honest, or claiming that it does, or with a wrong number."""
    target = question.facts["target"]
    while True:
        attempt = _other(question, rng)
        kind = rng.random()
        if kind < 0.25:
            attempt = _with_number_changed(right, rng)
        if attempt.value == target and attempt.misused(question.facts["numbers"]) is None:
            continue
        return attempt if kind > 0.85 else attempt.claiming(target)


def _with_number_changed(attempt: Try, rng: random.Random) -> Try:
    numbers = list(attempt.numbers)
    position = rng.randrange(len(numbers))
    low, high = RANGES.inputs
    new = rng.choice(numbers) if rng.random() < 0.5 else rng.randint(low, high)
    return attempt.with_number(position, new)
