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
from generation.tasks.dictionary import is_word

MAX_CHARS = 1000

# Words that may stand before the one that is meant: "So I would choose the valid English word". None denies it.
_SOME = r"(?!(?:not|no|non|wrong|incorrect|invalid|false|fake|impossible|nonexistent|misspelled|excluded|unreal)\b)"
_NOUN = rf"(?:{_SOME}\w{{1,12}} ){{0,3}}(?:word|acronym|anagram|answer|solution)"
_WHO = r"(?:i|we)(?: can| could| would| will|['’]d|['’]ll)?"
_TOOK = r"(?:choose|chose|pick|picked|select|say|think|believe|found|find|form|formed|make|made|get|got|spelled)"
_LABEL = re.compile(
    rf"(?:(?:so|thus|hence|therefore),? )?(?:{_WHO} {_TOOK}:? )?(?:(?:it is|it['’]s|that is|that['’]s):? )?"
    rf"(?:(?:(?:the|my|our|a|an|one|this) )?{_NOUN}(?: {_WHO} {_TOOK})?(?: (?:that |which )?(?:can|could) be)?"
    r"(?: (?:formed|made|found))?(?: (?:is|spells|could be|would be|must be)){0,2}:? )?(?:(?:the|an?) )?",
    re.IGNORECASE,
)
_CALLED_ONE = re.compile(
    r"(\S+) is (?:an?|the|my)(?: (?:valid|real|english|common|correct|final|possible|good|proper|best|longest)){0,3}"
    r" (?:word|acronym|anagram|answer|solution)"
)
_EXPLAINED = re.compile(r"([^\s(\[]+)(?: ?\(([^()]+)\)| ?\[([^\[\]]+)\]| [-=] (.+))", re.DOTALL)
_DENIED = re.compile(r"\b(?:not|no|nor|or|never|wrong|incorrect|invalid|instead|if)\b|n['’]t\b|\?")
_KINDS = frozenset({"noun", "verb", "adjective", "adverb"})
_LABELS = frozenset({"word", "acronym", "anagram", "answer", "solution"})
_LEAST_RIVAL = 3
"""Letters of a word that might be meant instead of another one."""
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
    word = _word(answer, letters)
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


def _word(answer: str, letters: str) -> str | None:
    """The one word that an answer says, in lower case, or None."""
    if reordered(answer):
        return None
    text = plain(ascii_typing(unicodedata.normalize("NFC", seen(answer))).casefold())
    text = _LATEX.sub(r"\1", text).replace("**", "").lstrip("-*#> ")
    if one := _single(text):
        return one
    label = _LABEL.match(text)
    text = text[label.end() :] if label else text
    if called := _CALLED_ONE.fullmatch(text):
        return _single(called[1])
    *before, last = _ARROW.split(text)
    one = _single(text) or (None if _DENIED.search(" ".join(before)) else _single(last))
    return one or _explained(text, letters)


def _single(text: str) -> str | None:
    """The word that is all of a text, its letters perhaps spelled out."""
    stripped = plain(text).strip(" .,;!\"'()[]{}*_")
    if _SPELLED.fullmatch(stripped):
        return "".join(filter(str.isalpha, stripped))
    return stripped if stripped.isalpha() else None


def _explained(text: str, letters: str) -> str | None:
    """The word that the rest of a text explains; None where the rest takes it back, or holds another such word."""
    found = _EXPLAINED.fullmatch(text)
    if found is None:
        return None
    word, why = _single(found[1]), next(filter(None, found.groups()[1:]))
    if _single(why) == word:
        return word
    others = {other for other in _WORD.findall(why) if other != word}
    rivals = (other for other in others if len(other) >= _LEAST_RIVAL and not Counter(other) - Counter(letters))
    if word in _LABELS or _DENIED.search(why) or any(map(is_word, rivals)):
        return None
    return word if len(others) != 1 or others & _KINDS or any(map(str.isdigit, why)) else None
