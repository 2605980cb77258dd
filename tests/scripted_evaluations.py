"""A scripted model that answers countdown questions asked by themselves: plainly, after a thought, or by a trace.

All that it says is a function of the request, and each of its kinds of reply goes on when it was begun.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from cluster.inference.engine import Completion, Request
from examples.builtin_model.curriculum import whole_solution
from generation.tasks import countdown

REFUSED = "no answer to this one"


def reply(request: Request) -> str | Completion:
    """Return a reply; those of a seed are of one kind."""
    said = request.messages[-1]["content"]
    facts = countdown.facts_of(said)
    assert facts is not None
    rng = random.Random(request.seed)
    numbers, target = _facts(facts)
    if target % 17 == 0 and not request.begun:
        return Completion("", "error", 7, error=REFUSED, final=True)
    if request.begun.endswith("<answer>\n"):
        return f"{_expression(numbers, target, rng)}\n</answer>"
    if request.begun.endswith("<sample>\n"):
        return f"{_attempt(numbers, target, rng)}\n</think>\n\n<answer>\n{numbers[0]} + {numbers[1]}\n</answer>"
    if request.begun:
        return f", once more.\n</think>\n\n<answer>\n{_expression(numbers, target, rng)}\n</answer>"
    kind = rng.choice(("plain", "thought", "trace", "unanswered"))
    if kind == "unanswered":
        return "Let me check this. I do not know."
    answer = _expression(numbers, target, rng)
    if kind == "plain":
        return f"Wait, I see it.\n<answer>\n{answer}\n</answer>"
    if kind == "thought":
        return f"<think>\nIt may be {answer}.\n</think>\n\n<answer>\n{answer}\n</answer>"
    tried = "\n".join(f"<sample>\n{_attempt(numbers, target, rng)}" for _ in range(rng.randint(1, 3)))
    return f"<think>\n{tried}\n</think>\n\n<answer>\n{answer}\n</answer>"


def _facts(facts: Mapping[str, Any]) -> tuple[list[int], int]:
    return [*facts["numbers"]], int(facts["target"])


def _attempt(numbers: list[int], target: int, rng: random.Random) -> str:
    answer = _expression(numbers, target, rng)
    verdict = rng.choice(("Correct", "Incorrect"))
    told = f"I looked again.\n<verdict>{verdict}</verdict>"
    return f"I try.\n<answer>\n{answer}\n</answer>\n</sample>\n<reflect>\n{told}\n</reflect>"


def _expression(numbers: list[int], target: int, rng: random.Random) -> str:
    """Return an expression that is right about half of the time, if one is found at all."""
    for _ in range(200 if rng.random() < 0.6 else 0):
        found = whole_solution(rng.sample(numbers, len(numbers)), rng)
        if found is not None and found.value == target:
            return found.expression
    return f"{numbers[0]} + {numbers[-1]}"
