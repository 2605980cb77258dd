"""The mutated reflection prompts. The wording is data, in `prompts.toml`."""

import random
from collections import Counter
from collections.abc import Sequence

from cluster.inference.engine import Message
from cluster.texts import fill, load_table

_TABLE = load_table("reflection", "prompts.toml")

PROMPTS: dict[str, str] = {name: _TABLE["head"] + text + _TABLE["tail"] for name, text in _TABLE["prompts"].items()}
"""Templates by name; {question} and {sample} come before anything that differs, so that they share a prefix."""
VERDICT = "<verdict>Correct</verdict>"  # what each prompt asks for at the end, with this word or Incorrect


def messages(name: str, question: str, sample: str) -> tuple[Message, ...]:
    """Return the chat that asks for a reflection on one sample."""
    return (Message(role="user", content=fill(PROMPTS[name], {"question": question, "sample": sample})),)


def draw(count: int, rng: random.Random, used: Sequence[str] = ()) -> tuple[str, ...]:
    """Draw the names of `count` prompts at random, each time one of those used least often so far."""
    asked, drawn = Counter(used), list[str]()
    order = rng.sample(list(PROMPTS), len(PROMPTS))
    for _ in range(count):
        drawn.append(min(order, key=lambda name: asked[name]))
        asked[drawn[-1]] += 1
    return tuple(drawn)
