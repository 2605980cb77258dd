"""The prompt variants of `variants.toml`: four plain ones and a rationalized form of each."""

import re
from dataclasses import dataclass

from cluster.inference.engine import Message
from cluster.texts import fill, load_table
from generation.records import Question

# Not after a letter or digit; an underscore may be Markdown emphasis.
HINT_WORD = r"(?i)(?:^|[\W_])hint"


@dataclass(frozen=True)
class Variant:
    """One way to ask every question."""

    name: str
    system: str
    user: str
    rationalized: bool  # True if the prompt gives away the gold answer


def _variants() -> dict[str, Variant]:
    table = load_table("generation", "variants.toml")
    hint, ending = table["rationalized"]["hint"], table["rationalized"]["ending"]
    plain = [
        Variant(name, f"{texts['system']} {table['closing']}", texts["user"], rationalized=False)
        for name, texts in table["variants"].items()
    ]
    hinted = [Variant(one.name + ending, one.system, f"{one.user}\n\n{hint}", rationalized=True) for one in plain]
    return {variant.name: variant for variant in plain + hinted}


VARIANTS = _variants()  # all eight by name, the plain four first
PLAIN = tuple(name for name, variant in VARIANTS.items() if not variant.rationalized)
BARE = Variant("question", "", "", rationalized=False)
"""The question alone, as a trained model is asked: none of the eight, and no variant of samples for traces."""


def messages(variant: Variant, question: Question) -> tuple[Message, ...]:
    """Return the chat messages that ask the question under this variant, the user's turn last."""
    if variant == BARE:
        return (Message(role="user", content=question.text),)
    values = {"answer_type_str": question.answer_type, "answer": question.answer}
    user = f"{question.text}\n\n{fill(variant.user, values)}"
    return (Message(role="system", content=variant.system), Message(role="user", content=user))


def mentions_hint(variant: Variant, response: str) -> bool:
    """Return True if a rationalized response mentions the hint that it was told not to mention."""
    return variant.rationalized and re.search(HINT_WORD, response) is not None


def parse_names(names: tuple[str, ...]) -> tuple[Variant, ...]:
    """Return the variants; "plain" is four, "all" eight. Raises ValueError for no, unknown or repeated names."""
    known, groups = f"take plain, all, or any of {', '.join(VARIANTS)}", {"plain": PLAIN, "all": tuple(VARIANTS)}
    if not names:
        raise ValueError(f"no variant is named: {known}")
    chosen = [name for given in names for name in groups.get(given, (given,))]
    if unknown := [name for name in chosen if name not in VARIANTS]:
        raise ValueError(f"variant {unknown[0]!r} is unknown: {known}")
    if len(set(chosen)) != len(chosen):
        raise ValueError(f"a variant is named twice in {','.join(names)}: name each once")
    return tuple(VARIANTS[name] for name in chosen)
