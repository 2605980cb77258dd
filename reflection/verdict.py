"""Parse the verdict of a reflection: correct, incorrect, or none, which is a value of its own."""

import string

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reflection.tags import last_block

_VERDICTS = {"correct": True, "incorrect": False}
_ENDINGS = {f"<verdict>{word}</verdict>": int(value) for word, value in _VERDICTS.items()}
_LONGEST_ENDING = max(map(len, _ENDINGS))
_MARKS = string.whitespace + "*_`"
_PUNCTUATION = ".,;:!。！"


def parse_verdict(text: str) -> bool | None:
    """Return True for Correct, False for Incorrect, None if the last block has neither, or is opened again after it."""
    if (block := last_block(text, "verdict")) is None or block.reopened:
        return None
    return _VERDICTS.get(block.text.lstrip(_MARKS).rstrip(_MARKS + _PUNCTUATION).lower())


def parse_verdicts(texts: pa.Array) -> np.ndarray:
    """Return parse_verdict of each text as int8: 1, 0, or -1 for none."""
    # Fast for most texts: a whole block at the end is the last one, whatever precedes it.
    tails = pc.ascii_lower(pc.binary_slice(texts.cast(pa.binary()), -_LONGEST_ENDING).view(pa.string()))
    ends = [pc.ends_with(tails, ending).to_numpy(zero_copy_only=False) for ending in _ENDINGS]
    verdicts = np.select(ends, [*_ENDINGS.values()], default=-2).astype(np.int8)
    for place in np.flatnonzero(verdicts == -2):
        found = parse_verdict(texts[place].as_py())
        verdicts[place] = -1 if found is None else found
    return verdicts
