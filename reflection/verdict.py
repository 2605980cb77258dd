"""From a reflection's text to its verdict: correct, incorrect, or none that can be told; and the last block of any tag.

Knows nothing of whether the verdict is true. No verdict is a value of its own, never "incorrect".
"""

import string
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


class Block(NamedTuple):
    """What the last closed pair of tags holds, and how it stands in the text."""

    text: str
    reopened: bool
    """The tag is opened once more behind the block, and never closed."""
    nested: bool
    """Another block of the name is still open where it begins."""
    earlier: bool
    """There is a closed one before it."""
    fenced: bool
    """It begins inside a Markdown code fence."""


def last_block(text: str, name: str) -> Block | None:
    """Return the last block that is closed, if any; case does not matter. Of nested ones it is the innermost."""
    # Bytes, because bytes.lower() keeps every offset (str.lower() turns "İ" into two characters) and
    # is fast on any script; surrogatepass, because a lone surrogate is text like any other here.
    raw = text.encode("utf-8", "surrogatepass")
    lowered = raw.lower()
    opening, closing = f"<{name}>".encode(), f"</{name}>".encode()
    last_closing = lowered.rfind(closing)
    start = lowered.rfind(opening, 0, max(last_closing, 0))
    if start < 0:
        return None
    closed_before = lowered.rfind(closing, 0, start)
    nested = lowered.rfind(opening, 0, start) > closed_before
    # A closing that was never opened closes nothing.
    earlier = lowered.find(opening, 0, max(closed_before, 0)) >= 0
    fenced = lowered.count(b"```", 0, start) % 2 == 1
    start += len(opening)
    end = lowered.find(closing, start)
    reopened = lowered.find(opening, end) >= 0
    # Where each character is one byte nothing need be decoded, which takes longest.
    inside = text[start:end] if len(raw) == len(text) else raw[start:end].decode("utf-8", "surrogatepass")
    return Block(inside, reopened, nested, earlier, fenced)


_VERDICTS = {"correct": True, "incorrect": False}
_ENDINGS = {f"<verdict>{word}</verdict>": int(value) for word, value in _VERDICTS.items()}
_LONGEST_ENDING = max(map(len, _ENDINGS))
_MARKS = string.whitespace + "*_`"
_PUNCTUATION = ".,;:!。！"


def parse_verdict(text: str) -> bool | None:
    """Return True for Correct, False for Incorrect, None without a verdict.

    Only the last block counts: when it reads as neither word there is no verdict, whatever stood in
    an earlier one, and none either when the tag is opened again behind it and left open.
    """
    block = last_block(text, "verdict")
    if block is None or block.reopened:
        return None
    word = block.text.lstrip(_MARKS).rstrip(_MARKS + _PUNCTUATION)
    return _VERDICTS.get(word.lower())


def parse_verdicts(texts: pa.Array) -> np.ndarray:
    """Return parse_verdict of each text as int8: 1, 0, or -1 for none. Most are told by how they end."""
    # Of a text that ends with a whole block this is the last one, whatever stands before it.
    tails = pc.ascii_lower(pc.binary_slice(texts.cast(pa.binary()), -_LONGEST_ENDING).view(pa.string()))
    ends = [pc.ends_with(tails, ending).to_numpy(zero_copy_only=False) for ending in _ENDINGS]
    verdicts = np.select(ends, [*_ENDINGS.values()], default=-2).astype(np.int8)
    for place in np.flatnonzero(verdicts == -2):
        found = parse_verdict(texts[place].as_py())
        verdicts[place] = -1 if found is None else found
    return verdicts
