"""Find the last `<name>…</name>` block of a text, an answer or a verdict, in time linear in any text."""

from typing import NamedTuple


class Block(NamedTuple):
    """The text between the last closed pair of tags, and the pair's place in the whole text.

    It is reopened if the tag is opened again after it and never closed, nested if another block of that name is open
    where it begins, fenced if it begins inside a Markdown code fence; earlier says that a closed one precedes it.
    """

    text: str
    reopened: bool
    nested: bool
    earlier: bool
    fenced: bool


def last_block(text: str, name: str) -> Block | None:
    """Return the last closed block, if any, the innermost of nested ones, ignoring case."""
    # Bytes, because bytes.lower() keeps every offset (str.lower() turns "İ" into two characters) and
    # is fast on any script; surrogatepass, because a lone surrogate is text like any other here.
    raw = text.encode("utf-8", "surrogatepass")
    lowered = raw.lower()
    opening, closing = f"<{name}>".encode(), f"</{name}>".encode()
    last_closing = lowered.rfind(closing)
    if (start := lowered.rfind(opening, 0, max(last_closing, 0))) < 0:
        return None
    closed_before = lowered.rfind(closing, 0, start)
    nested = lowered.rfind(opening, 0, start) > closed_before
    # A closing tag without an opening one closes nothing.
    earlier = lowered.find(opening, 0, max(closed_before, 0)) >= 0
    fenced = lowered.count(b"```", 0, start) % 2 == 1
    start += len(opening)
    end = lowered.find(closing, start)
    reopened = lowered.find(opening, end) >= 0
    # If each character is one byte, nothing need be decoded, which would be slowest.
    inside = text[start:end] if len(raw) == len(text) else raw[start:end].decode("utf-8", "surrogatepass")
    return Block(inside, reopened, nested, earlier, fenced)
