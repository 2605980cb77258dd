"""The mutated reflection prompts, and the one that asks for a retry. The wording is data, in `reflections.toml`."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from cluster.inference.engine import Message
from cluster.text_tables import open_table
from cluster.texts import fill, nearest

_OF_SAMPLE = ("question", "sample")
_OF_RETRY = (*_OF_SAMPLE, "reflection")
VERDICT = "<verdict>Correct</verdict>"  # what each prompt asks for at the end, with this word or Incorrect


class Reflections(NamedTuple):
    """The contents of a reflections.toml."""

    groups: Mapping[str, Mapping[str, str]]
    """Templates by group and name; {question} and {sample} come before anything that differs, for a shared prefix."""
    retry: str  # "" if there is none

    @property
    def all(self) -> dict[str, str]:
        """Return every template by its name."""
        return {name: text for group in self.groups.values() for name, text in group.items()}

    def choose(self, names: Sequence[str] = ()) -> dict[str, str]:
        """Return the templates of these names, which may be those of groups; without any, of the first group.

        Raises ValueError for one that is unknown or chosen twice.
        """
        every = self.all
        chosen = [name for given in names or [*self.groups][:1] for name in self.groups.get(given, (given,))]
        for name in chosen:
            if name not in every:
                meant = "".join(f"; did you mean {one}?" for one in nearest(name, [*every, *self.groups]))
                known = "; ".join(f"{group} ({', '.join(of)})" for group, of in self.groups.items())
                raise ValueError(f"reflection prompt {name!r} is unknown: there are {known}{meant}")
        if len(set(chosen)) < len(chosen):
            raise ValueError(f"a reflection prompt is named twice in {','.join(names)}: name each once")
        return {name: every[name] for name in chosen}


def read_reflections(folder: Path | None = None) -> Reflections:
    """Return the prompts of a folder's reflections.toml, or ours. Raises ValueError, with file and line."""
    file = open_table("reflection", "reflections.toml", folder)
    groups, taken = dict[str, dict[str, str]](), set[str]()
    retry = ""
    if "retry" in file.table:
        retry = file.text(["retry"], known=(*_OF_RETRY, "answer_type_str"), needed=_OF_RETRY)
    for group in (name for name in file.table if name != "retry"):
        texts = file.check_keys([group], ("head", "tail", "prompts"), ("prompts",))
        file.check_name([group], taken)
        taken.add(group)
        head, tail = (
            file.text([group, part], known=_OF_SAMPLE, blank=True) if part in texts else "" for part in ("head", "tail")
        )
        prompts = texts["prompts"]
        if not isinstance(prompts, Mapping) or not prompts:
            raise file.fault([group, "prompts"], f'{group}.prompts must be a table of prompts, NAME = "..."')
        groups[group] = {}
        for name in prompts:
            keys = [group, "prompts", name]
            taken.add(file.check_name(keys, taken))
            whole = head + file.text(keys, known=_OF_SAMPLE) + tail
            file.check_placeholders(keys, whole, _OF_SAMPLE, _OF_SAMPLE)
            if "<verdict>" not in whole:
                raise file.fault(keys, f"the prompt does not ask for a verdict, such as {VERDICT}")
            groups[group][name] = whole
    if not groups:
        raise file.fault((), "there is no group of prompts: give one, [NAME] with head, tail and [NAME.prompts]")
    return Reflections(groups, retry)


OURS = read_reflections()
ALL = OURS.all
PROMPTS = OURS.choose()
"""Ours that are asked unless others are chosen."""
CHOICE = f"comma list of names, or of groups: {', '.join(OURS.groups)} (default: the first group)"  # for --help


def messages(name: str, question: str, sample: str, among: Mapping[str, str] = ALL) -> tuple[Message, ...]:
    """Return the chat that asks for a reflection on one sample."""
    return (Message(role="user", content=fill(among[name], {"question": question, "sample": sample})),)


def retry_messages(
    question: str, sample: str, reflection: str, answer_type: str, template: str = OURS.retry
) -> tuple[Message, ...]:
    """Return the chat that asks for another answer after a reflection that found the first one wrong."""
    values = {"question": question, "sample": sample, "reflection": reflection, "answer_type_str": answer_type}
    return (Message(role="user", content=fill(template, values)),)


def draw(
    count: int, rng: random.Random, used: Sequence[str] = (), among: Mapping[str, str] = PROMPTS
) -> tuple[str, ...]:
    """Draw the names of `count` prompts at random, each time one of those used least often so far."""
    asked, drawn = Counter(used), list[str]()
    order = rng.sample(list(among), len(among))
    for _ in range(count):
        drawn.append(min(order, key=lambda name: asked[name]))
        asked[drawn[-1]] += 1
    return tuple(drawn)
