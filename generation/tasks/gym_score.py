"""What reasoning-gym itself says of an answer: its score, from 0 to 1.

What a model wrote is nowhere evaluated (`gym_eval`); it may still take its scoring function for ever, so this belongs
into a process that can be killed, with a deadline. Knows neither processes nor grades.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from generation.tasks.gym_eval import guard

_GRIDS = frozenset({"arc_agi", "rearc"})
"""They compare tuples, which JSON turned into lists."""


def score(facts: Mapping[str, Any], answer: str) -> float:
    """The score of an answer to the question with these facts; raises whatever the scoring function raises."""
    entry = dict(facts["entry"])
    if facts["generator"] in _GRIDS:
        entry["metadata"] = {**entry["metadata"], "output": tuple(map(tuple, entry["metadata"]["output"]))}
    return float(scoring(facts["generator"])(answer, entry))


@cache
def scoring(generator: str) -> Callable[[str, Mapping[str, Any]], float]:
    """The scoring function of a generator."""
    # It takes a second to import, and only its own tasks need it.
    import reasoning_gym

    guard()
    found: Callable[[str, Mapping[str, Any]], float] = reasoning_gym.get_score_answer_fn(generator)
    return found
