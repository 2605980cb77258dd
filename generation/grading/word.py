"""Judges an answer that is one English word made of given letters.

Right is every word of the dictionary that is long enough and whose letters are among `facts["letters"]`,
each as often as it is there, in their order where `facts["in_order"]`.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

from generation.grading.plain_answer import plain, reordered, seen, too_long
from generation.grading.typings import ascii_typing
from generation.records import SEVERAL, UNREADABLE, Grade, Question
from generation.words import is_word

MAX_CHARS = 1000

_LABEL = re.compile(
    r"(?:(?:so|thus|therefore),? )?(?:(?:the|my|a|one)(?: \w{1,12})? )?(?:word|acronym|anagram)"
    r"(?: (?:is|spells|formed|could be)){0,3}:? ?",
    re.IGNORECASE,
)
_LATEX = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|boxed) ?\{([^{}]*)\}")
_ARROW = re.compile(r"->|=>|[=→⇒:]")
_SPELLED = re.compile(r"[a-z](?:(?P<between>[ .,·–-]|, | - )[a-z])(?:(?P=between)[a-z])*[.]?")
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")


def grade_word(answer: str, question: Question) -> Grade:
    """Right when the answer is such a word; which one is in `question.answer` does not matter."""
    letters, least = str(question.facts["letters"]).lower(), int(question.facts["min_length"])
    in_order = bool(question.facts["in_order"])
    if long := too_long(answer, MAX_CHARS):
        return long
    word = _word(answer)
    if word is None:
        several = len(_WORD.findall(answer)) > 1 and not reordered(answer)
        return Grade("unknown", SEVERAL if several else UNREADABLE, answer)
    fault = _fault(word, letters, least, in_order=in_order)
    return Grade("wrong", fault, answer) if fault else Grade("right", "", answer)


def _fault(word: str, letters: str, least: int, *, in_order: bool) -> str:
    """What is wrong with a word, "" when nothing is."""
    if len(word) < least:
        return f"has fewer than {least} letters"
    if Counter(word) - Counter(letters):
        return "takes a letter that is not there"
    if in_order and not _is_within(word, letters):
        return "takes letters out of their order"
    return "" if is_word(word) else "is no word of the dictionary"


def _is_within(word: str, letters: str) -> bool:
    left = iter(letters)
    return all(letter in left for letter in word)


def _word(answer: str) -> str | None:
    """The one word that an answer says, in lower case, or None."""
    if reordered(answer):
        return None
    text = plain(ascii_typing(unicodedata.normalize("NFC", seen(answer))).casefold())
    text = _LATEX.sub(r"\1", text).replace("**", "")
    label = _LABEL.match(text)
    for candidate in (text, text[label.end() :] if label else text, _ARROW.split(text)[-1]):
        stripped = plain(candidate).strip(" .,;!\"'()[]{}*_")
        if _SPELLED.fullmatch(stripped):
            return "".join(filter(str.isalpha, stripped))
        if stripped.isalpha():
            return stripped
    return None
