"""The English dictionary, and the grader of answers that are one English word made of given letters.

Every dictionary word is right that is long enough and uses each of `facts["letters"]` at most as often as listed, in
that order if `facts["in_order"]`. Two words, or a word with an explanation, are unknown.
"""

import re
import warnings
from collections import Counter
from functools import cache
from typing import Any

from cluster.texts import load_table
from generation.grading.errors import SeveralError, UnreadableError
from generation.grading.text import IN_TEXT, normalised, plain
from generation.records import Question

_MIN_FREQUENCY = 300
"""Minimum corpus frequency of a word that a question may use; 20,000 words of four to eight letters pass."""
_BLOCKED_PREFIXES = ("cunt", "faggot", "fuck", "nazi", "nigg", "rape", "rapist", "shit", "slut", "whore")
"""Words with these prefixes are right as answers, but our questions never use or show them."""


def is_word(word: str) -> bool:
    """Return True if a lower-case word, of the letters a to z only, is in the dictionary; names are not words."""
    return word in _frequencies() and not (_is_spelled(word.capitalize()) and not _is_spelled(word))


@cache
def common_words() -> tuple[str, ...]:
    """Return well-known words, sorted: no question depends on one that a model has hardly ever seen."""
    often = (word for word, count in _frequencies().items() if count > _MIN_FREQUENCY)
    return tuple(sorted(word for word in often if not word.startswith(_BLOCKED_PREFIXES) and _is_spelled(word)))


@cache
def _frequencies() -> dict[str, int]:
    # Only the word tasks need it, and loading it takes a tenth of a second.
    from spellchecker import SpellChecker

    listed = SpellChecker(language="en").word_frequency.dictionary
    return {word: int(count) for word, count in listed.items() if word.isascii() and word.isalpha()}


def _is_spelled(word: str) -> bool:
    """Return True if Hunspell accepts the word with exactly this capitalization."""
    return bool(_hunspell().lookup(word))


@cache
def _hunspell() -> Any:
    from spylls.hunspell import Dictionary

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it never closes its files
        return Dictionary.from_files("en_US")


_WORDS = load_table("generation.grading", "words.toml")["word"]
_OPENS = frozenset(_WORDS["opens"].split())
_LABEL = _OPENS | frozenset(_WORDS["goes_on"].split())
_SPELLED = re.compile(r"[a-z](?:(?P<between>[ .,·–-]|, | - )[a-z])(?:(?P=between)[a-z])*[.]?")


def judge_word(answer: str, question: Question) -> str:
    """Return "" if the answer is any fitting word, not just `question.answer`, else what is wrong."""
    letters, least = str(question.facts["letters"]).lower(), int(question.facts["min_length"])
    in_order = bool(question.facts["in_order"])
    word = word_in(answer)
    if len(word) < least:
        return f"has fewer than {least} letters"
    if Counter(word) - Counter(letters):
        return "takes a letter that is not there"
    left = iter(letters)
    if in_order and not all(letter in left for letter in word):
        return "takes letters out of their order"
    return "" if is_word(word) else "is no word of the dictionary"


def word_in(answer: str) -> str:
    """Return the one word in an answer, in lower case. Raises UnreadableError or SeveralError."""
    text = IN_TEXT.sub(r"\1", normalised(answer)).replace("**", "").lstrip("-*#> ")
    # A label and a word: "I would choose the word star". "Found one" may be two words.
    words = text.split()
    is_labelled = bool(words) and words[0].strip(":") in _OPENS
    while len(words) > 1 and words[0].strip(":") in _LABEL:
        words.pop(0)
    # A word, perhaps spelled out: "star", "S-T-A-R".
    for said in (text, " ".join(words) if is_labelled else ""):
        stripped = plain(said).strip(" .,;!\"'()[]{}*_")
        if _SPELLED.fullmatch(stripped):
            return "".join(filter(str.isalpha, stripped))
        if stripped.isalpha():
            return stripped
    raise SeveralError("is several words") if len(words) > 1 else UnreadableError("is no word")
