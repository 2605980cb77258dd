"""The one English dictionary, for making word questions and for grading answers to them.

Two well-kept lists, both read without a network, neither a program or a pickle. pyspellchecker's (MIT) has
160,000 words with their inflected forms, and how often each is said; but all are in lower case, names too.
Which of them are names is known to Hunspell's en_US, made from SCOWL, as spylls (MPL 2.0, pure Python)
brings it.
"""

import warnings
from functools import cache
from typing import Any

_SAID_OFTEN = 300
"""How often the list's texts must say a word for a question to be built on it; 20,000 of four to eight letters are."""

_NOT_ASKED = ("cunt", "faggot", "fuck", "nazi", "nigg", "rape", "rapist", "shit", "slut", "whore")
"""Words that begin so are words, and right when given, but no question of ours is built on them or shows them."""


def is_word(word: str) -> bool:
    """Return True if it is one, in lower case, of the letters a to z alone. A name is none."""
    return word in _said() and not (_spelled(word.capitalize()) and not _spelled(word))


@cache
def common_words() -> tuple[str, ...]:
    """Return the words that people know, sorted: no question depends on one that a model can hardly have seen."""
    often = (word for word, count in _said().items() if count > _SAID_OFTEN)
    return tuple(sorted(word for word in often if not word.startswith(_NOT_ASKED) and _spelled(word)))


@cache
def _said() -> dict[str, int]:
    # Only the word tasks need it, and reading it takes a tenth of a second.
    from spellchecker import SpellChecker

    listed = SpellChecker(language="en").word_frequency.dictionary
    return {word: int(count) for word, count in listed.items() if word.isascii() and word.isalpha()}


def _spelled(word: str) -> bool:
    """Return True if Hunspell takes it, in just these cases."""
    return bool(_hunspell().lookup(word))


@cache
def _hunspell() -> Any:
    from spylls.hunspell import Dictionary

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves the closing of its files to Python
        return Dictionary.from_files("en_US")
