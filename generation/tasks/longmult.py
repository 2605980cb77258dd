"""Long multiplication: the product of two numbers of N digits each, N from 2 to 5 (skillfactory.md §5)."""

from __future__ import annotations

import random
from collections.abc import Hashable
from functools import partial

from generation.tasks.task import HEADER, Drawn, Problem


def factors(problem: Problem) -> tuple[Hashable, ...]:
    """Both factors, whatever their order: who knows 12 * 34 knows 34 * 12, so both are for SFT or both for RL."""
    return tuple(sorted(problem.facts["factors"]))


def _draw(digits: int, rng: random.Random) -> Problem:
    left, right = (rng.randrange(10 ** (digits - 1), 10**digits) for _ in range(2))
    text = f"{HEADER}Multiply {left} by {right}. Give the exact product as a whole number."
    return Problem(text, str(left * right), {"factors": [left, right]})


TASKS = tuple(
    Drawn(
        f"longmult_{digits}dig",
        f"the product of two numbers of {digits} digits",
        "number",
        "product",
        partial(_draw, digits),
        family=factors,
        source="made by generation.tasks.longmult",
    ).task
    for digits in range(2, 6)
)
