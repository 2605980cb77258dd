"""Judges an answer that is a text: the same one, whatever stands round it.

The same means: after Unicode's composition, in one case, with single spaces, without what is put round it: LaTeX
wrappers, labels, brackets, code fences and marks at its end. "7.0" is not "7" here.
"""

from __future__ import annotations

import unicodedata

from generation.grading.plain_answer import DIFFERS, bare, plain, reordered, seen, too_long
from generation.grading.typings import ascii_typing
from generation.records import UNREADABLE, Grade, Question


def grade_exact(answer: str, question: Question) -> Grade:
    """Right when the answer says the same text as `question.answer`."""
    gold = normalised(question.answer)
    if long := too_long(answer):
        return long
    if reordered(answer) and not reordered(question.answer):
        return Grade("unknown", UNREADABLE, answer)
    if (
        normalised(answer) == gold
        or bare(normalised(answer)) == bare(gold)
        or answer.strip() == question.answer.strip()
    ):
        return Grade("right", "", answer)
    return Grade("wrong", DIFFERS, answer)


def normalised(text: str) -> str:
    """What two answers share that say the same text."""
    composed = unicodedata.normalize("NFC", seen(text))
    return plain(ascii_typing(composed).casefold())
