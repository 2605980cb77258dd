"""Judges an answer that is a text: the same one, whatever stands round it.

The same means: after Unicode's composition, in one case, with single spaces and none beside commas, colons,
brackets and equals signs, without what is put round it: LaTeX wrappers, labels, brackets, code fences and marks at
its end. "7.0" is not "7" here.
"""

from __future__ import annotations

import re
import unicodedata

from generation.grading.plain_answer import DIFFERS, bare, plain, reordered, seen, too_long
from generation.grading.typings import ascii_typing
from generation.records import UNREADABLE, Grade, Question

_BESIDE = re.compile(r" ?([,;:=()\[\]{}]) ?")
_GROUPED = re.compile(r"(?<![0-9])[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])")


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
    if _closed_up(answer) == _closed_up(question.answer):
        # "1, 234" may be a list, or the one number that "1,234" is.
        numbers = [_GROUPED.findall(normalised(text)) for text in (answer, question.answer)]
        return Grade("right", "", answer) if numbers[0] == numbers[1] else Grade("unknown", UNREADABLE, answer)
    return Grade("wrong", DIFFERS, answer)


def normalised(text: str) -> str:
    """What two answers share that say the same text."""
    composed = unicodedata.normalize("NFC", seen(text))
    return plain(ascii_typing(composed).casefold())


def _closed_up(text: str) -> str:
    """Without the spaces beside commas, brackets, colons and equals signs."""
    return _BESIDE.sub(r"\1", bare(normalised(text)))
