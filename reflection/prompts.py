"""The mutated reflection prompts. The wording is data, in `prompts.toml`."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from cluster.inference.engine import Message
from cluster.templates import fill, load_table

_TABLE = load_table("reflection", "prompts.toml")

PROMPTS: dict[str, str] = {name: _TABLE["head"] + text + _TABLE["tail"] for name, text in _TABLE["prompts"].items()}
"""Templates by name; {question} and {sample} come before anything that differs."""

VERDICT = "<verdict>Correct</verdict>"
"""What each of them asks for at the end, or the same with the other word."""


def messages(name: str, question: str, sample: str) -> tuple[Message, ...]:
    """The chat that asks for a reflection on one sample."""
    return (Message(role="user", content=fill(PROMPTS[name], {"question": question, "sample": sample})),)


def draw(count: int, rng: random.Random) -> tuple[str, ...]:
    """Names of `count` prompts: all different while they last, then round again in the same order."""
    order = rng.sample(list(PROMPTS), len(PROMPTS))
    return tuple(order[index % len(order)] for index in range(count))


def draw_more(count: int, used: Sequence[str], rng: random.Random) -> tuple[str, ...]:
    """As `draw`, but those asked before, and the more often the more so, come last."""
    asked = Counter(used)
    order = draw(len(PROMPTS), rng)
    drawn: list[str] = []
    for _ in range(count):
        drawn.append(min(order, key=lambda name: asked[name]))
        asked[drawn[-1]] += 1
    return tuple(drawn)
