"""The phrases of a trace, between attempts and before its answer. They are data, lists in `phrases.toml`."""

import re
from collections.abc import Mapping
from pathlib import Path

from cluster.text_tables import open_table

KINDS = ("generic", "correct", "incorrect", "ending", "backtrack", "confirm")
_TAG = re.compile(r"<[\s/]*[A-Za-z][^<>]*>")
Phrases = Mapping[str, tuple[str, ...]]
"""Phrases by kind, each one line of plain text; phrases.toml says where each is used."""


def read_phrases(folder: Path | None = None) -> Phrases:
    """Return the phrases of a folder's phrases.toml, or ours. Raises ValueError, with file and line."""
    file = open_table("assembly", "phrases.toml", folder)
    found = file.check_keys((), KINDS, KINDS)
    for kind in KINDS:
        texts = found[kind]
        if not isinstance(texts, list) or not texts:
            raise file.fault([kind], f"{kind} must be a list of phrases, one at least")
        for text in texts:
            if not isinstance(text, str) or not text.strip():
                raise file.fault([kind], f"{kind} holds {text!r}, which is no phrase", str(text))
            near = text.splitlines()[0].strip()
            if text != text.strip() or len(text.splitlines()) > 1:
                raise file.fault([kind], f"the phrase {text[:60]!r} must be one line without space around it", near)
            if _TAG.search(text):
                raise file.fault([kind], f"the phrase {text[:60]!r} holds a tag", near)
        if len(set(texts)) < len(texts):
            twice = next(text for text in texts if texts.count(text) > 1)
            raise file.fault([kind], f"the phrase {twice[:60]!r} stands twice in {kind}", twice)
    return {kind: tuple(found[kind]) for kind in KINDS}


PHRASES = read_phrases()


def glue_after(was_correct: bool | None, phrases: Phrases = PHRASES) -> tuple[str, ...]:
    """Return the phrases that may follow an attempt; None if its correctness is not shown."""
    return {None: (), True: phrases["correct"], False: phrases["incorrect"]}[was_correct] + phrases["generic"]
