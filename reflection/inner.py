"""Takes apart a thought that is laid out as our traces are: attempts, each followed by what the model said of it.

The inverse of `assembly.rendering.render`, for the text of any model: linear, and what is not whole is left out.
"""

import itertools
import re
from typing import NamedTuple

_TAG = re.compile(r"<(?P<ends>/?)(?P<name>sample|reflect)>", re.IGNORECASE)


class InnerText(NamedTuple):
    text: str
    reflections: tuple[str, ...]


def after_last(text: str) -> int:
    """Return the place behind the last tag that closes a block; 0 if there is none."""
    return max((tag.end() for tag in _TAG.finditer(text) if tag["ends"]), default=0)


def attempts_in(thought: str) -> tuple[InnerText, ...]:
    """Return the attempts in order; () if the text is no trace.

    A block counts if the next tag after its opening one closes it. A reflection is about the sample before it, and
    about none if that one's block does not count.
    """
    found = list[tuple[str, list[str]]]()
    about: list[str] | None = None
    for tag, after in itertools.pairwise(_TAG.finditer(thought)):
        name = tag["name"].lower()
        if tag["ends"]:
            continue
        if name == "sample":
            about = None
        if after["ends"] and after["name"].lower() == name:
            text = thought[tag.end() : after.start()].removeprefix("\n").removesuffix("\n")
            if name == "sample":
                found.append((text, about := []))
            elif about is not None:
                about.append(text)
    return tuple(InnerText(text, tuple(reflections)) for text, reflections in found)
