"""The mutated reflection prompts. The wording is data, in `reflections.toml`."""

import random
from collections import Counter
from collections.abc import Sequence

from cluster.inference.engine import Message
from cluster.texts import fill, load_table

_TABLE = load_table("reflection", "reflections.toml")
RETRY: str = _TABLE.pop("retry")
ALL: dict[str, str] = {
    name: group["head"] + text + group["tail"] for group in _TABLE.values() for name, text in group["prompts"].items()
}
PROMPTS: dict[str, str] = {name: ALL[name] for name in next(iter(_TABLE.values()))["prompts"]}
"""Templates by name; {question} and {sample} come before anything that differs, so that they share a prefix."""
VERDICT = "<verdict>Correct</verdict>"  # what each prompt asks for at the end, with this word or Incorrect


def messages(name: str, question: str, sample: str) -> tuple[Message, ...]:
    """Return the chat that asks for a reflection on one sample."""
    return (Message(role="user", content=fill(ALL[name], {"question": question, "sample": sample})),)


def retry_messages(question: str, sample: str, reflection: str, answer_type: str) -> tuple[Message, ...]:
    """Return the chat that asks for another answer after a reflection that found the first one wrong."""
    values = {"question": question, "sample": sample, "reflection": reflection, "answer_type_str": answer_type}
    return (Message(role="user", content=fill(RETRY, values)),)


def draw(count: int, rng: random.Random, used: Sequence[str] = ()) -> tuple[str, ...]:
    """Draw the names of `count` prompts at random, each time one of those used least often so far."""
    asked, drawn = Counter(used), list[str]()
    order = rng.sample(list(PROMPTS), len(PROMPTS))
    for _ in range(count):
        drawn.append(min(order, key=lambda name: asked[name]))
        asked[drawn[-1]] += 1
    return tuple(drawn)
