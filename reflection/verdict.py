"""From a reflection's text to its verdict: correct, incorrect, or none that can be told.

Knows nothing of whether the verdict is true. No verdict is a value of its own, never "incorrect".
"""

from __future__ import annotations

import string

from reflection.tags import last_block

_VERDICTS = {"correct": True, "incorrect": False}
_MARKS = string.whitespace + "*_`"
_PUNCTUATION = ".,;:!。！"


def parse_verdict(text: str) -> bool | None:
    """True for Correct, False for Incorrect, None without a verdict.

    Only the last block counts: when it reads as neither word there is no verdict, whatever stood in
    an earlier one, and none either when the tag is opened again behind it and left open.
    """
    block = last_block(text, "verdict")
    if block is None or block.reopened:
        return None
    word = block.text.lstrip(_MARKS).rstrip(_MARKS + _PUNCTUATION)
    return _VERDICTS.get(word.lower())
