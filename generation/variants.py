"""The prompt variants of `variants.toml`, ours or the user's: plain ones, and a rationalized form of each."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from cluster.inference.engine import Message
from cluster.text_tables import TextTable, open_table
from cluster.texts import fill
from generation.records import Question

HINT = "hint"  # the word that a response to a rationalized prompt must not hold
_RESERVED = ("question", "plain", "all", "retry")
_TYPE, _ANSWER, _QUESTION = "answer_type_str", "answer", "question"
_MOST_ANSWERS = 3  # in a prompt; what a prompt can be long is reckoned with it


@dataclass(frozen=True)
class Variant:
    """One way to ask every question."""

    name: str
    system: str  # "" for no system turn
    user: str  # follows the question, which stands at {question} if that is in it
    rationalized: bool  # True if the prompt gives away the gold answer
    hint_word: str = field(default=HINT, repr=False)  # what a rationalized response must not hold; ignoring case

    @property
    def template(self) -> str:
        """Return the user turn with its placeholders."""
        return self.user if f"{{{_QUESTION}}}" in self.user else f"{{{_QUESTION}}}\n\n{self.user}"


class Variants(NamedTuple):
    known: Mapping[str, Variant]
    plain: tuple[str, ...]  # the names that "plain" stands for
    notes: tuple[str, ...] = ()  # for the user


def read_variants(folder: Path | None = None) -> Variants:
    """Return the variants of a folder's variants.toml, or ours. Raises ValueError, with file and line."""
    file = open_table("generation", "variants.toml", folder)
    top = file.check_keys((), ("plain", "closing", "rationalized", "variants"), ("variants",))
    closing = file.text(["closing"], known=(_TYPE,), blank=True) if "closing" in top else ""
    named = file.check_keys(["variants"], [*top["variants"]] if isinstance(top["variants"], Mapping) else ())
    if not named:
        raise file.fault(["variants"], 'there is no variant: give one, [variants.NAME] with user = "..."')
    own = [_variant(file, name, closing) for name in named]
    hinted = _hinted(file, own) if "rationalized" in top else []
    known = {one.name: one for one in (*own, *hinted)}
    if len(known) < len(own) + len(hinted) or {*known} & {*_RESERVED}:
        raise file.fault(["rationalized", "ending"], "a rationalized form has the name of another variant")
    plain = tuple(one.name for one in own if not one.rationalized)
    notes = []
    if "plain" in top:
        listed = top["plain"]
        if not isinstance(listed, list) or not listed or any(name not in plain for name in listed):
            raise file.fault(["plain"], f"plain must list some of {', '.join(plain)}")
        if others := [name for name in plain if name not in listed]:
            notes.append(f"{file.path}: --variants plain leaves out {', '.join(others)}, which its list does not name")
        plain = tuple(dict.fromkeys(listed))
    return Variants(known, plain, tuple(notes))


def _variant(file: TextTable, name: str, closing: str) -> Variant:
    keys = ["variants", name]
    file.check_name(keys, _RESERVED)
    texts = file.check_keys(keys, ("system", "user"), ("user",))
    user = file.text([*keys, "user"], known=(_TYPE, _ANSWER, _QUESTION))
    _check_counts(file, [*keys, "user"], user)
    system = file.text([*keys, "system"], known=(_TYPE,), blank=True) if "system" in texts else ""
    system = f"{system} {closing}".strip() if system else ""
    return Variant(name, system, user, rationalized=f"{{{_ANSWER}}}" in user)


def _hinted(file: TextTable, own: Sequence[Variant]) -> list[Variant]:
    """Return the rationalized form of each plain variant."""
    texts = file.check_keys(["rationalized"], ("ending", "hint", "word"), ("ending", "hint"))
    hint = file.text(["rationalized", "hint"], known=(_TYPE, _ANSWER), needed=(_ANSWER,))
    _check_counts(file, ["rationalized", "hint"], hint)
    word = file.text(["rationalized", "word"]) if "word" in texts else HINT
    ending = file.text(["rationalized", "ending"])
    if not re.fullmatch("[a-z0-9_]{1,32}", ending):
        raise file.fault(["rationalized", "ending"], "ending must be small letters, digits and _")
    return [
        Variant(one.name + ending, one.system, f"{one.user}\n\n{hint}", rationalized=True, hint_word=word)
        for one in own
        if not one.rationalized
    ]


def _check_counts(file: TextTable, keys: Sequence[str], text: str) -> None:
    if text.count(f"{{{_QUESTION}}}") > 1:
        raise file.fault(keys, f"{{{_QUESTION}}} stands more than once")
    if text.count(f"{{{_ANSWER}}}") > _MOST_ANSWERS:
        raise file.fault(keys, f"{{{_ANSWER}}} stands more than {_MOST_ANSWERS} times")


OURS = read_variants()
VARIANTS = OURS.known  # all eight by name, the plain four first
PLAIN = OURS.plain
BARE = Variant("question", "", "", rationalized=False)
"""The question alone, as a trained model is asked: none of the eight, and no variant of samples for traces."""


def messages(variant: Variant, question: Question) -> tuple[Message, ...]:
    """Return the chat messages that ask the question under this variant, the user's turn last."""
    if variant == BARE:
        return (Message(role="user", content=question.text),)
    values = {_TYPE: question.answer_type, _ANSWER: question.answer, _QUESTION: question.text}
    system = (Message(role="system", content=fill(variant.system, values)),) if variant.system else ()
    return (*system, Message(role="user", content=fill(variant.template, values)))


def texts_of(asked: Sequence[Variant]) -> dict[str, dict[str, str]]:
    """Return the texts of variants by name and role, with their placeholders, for run.json and cards."""
    return {one.name: {"system": one.system, "user": one.template} for one in asked if one != BARE}


def hint_pattern(word: str) -> str:
    """Return the pattern of a hint word, not after a letter or digit; an underscore may be Markdown emphasis."""
    return rf"(?i)(?:^|[\W_]){re.escape(word)}"


def mentions_hint(variant: Variant, response: str) -> bool:
    """Return True if a rationalized response mentions the hint that it was told not to mention."""
    return variant.rationalized and re.search(hint_pattern(variant.hint_word), response) is not None


def parse_names(names: tuple[str, ...], among: Variants = OURS) -> tuple[Variant, ...]:
    """Return the variants; "plain" is all of `plain`, "all" every one. Raises ValueError for no, unknown, twice."""
    known = f"take plain, all, or any of {', '.join(among.known)}"
    groups = {"plain": among.plain, "all": tuple(among.known)}
    if not names:
        raise ValueError(f"no variant is named: {known}")
    chosen = [name for given in names for name in groups.get(given, (given,))]
    if unknown := [name for name in chosen if name not in among.known]:
        raise ValueError(f"variant {unknown[0]!r} is unknown: {known}")
    if len(set(chosen)) != len(chosen):
        raise ValueError(f"a variant is named twice in {','.join(names)}: name each once")
    return tuple(among.known[name] for name in chosen)
