"""The one English dictionary, for making word questions and for grading answers to them.

It is the English list of pyspellchecker: 160,000 words with their plurals and other inflected forms, each
with how often it is said, kept by its maintainers in lists of what to add and take out. It is MIT, pure
Python, and is read without a network. All is in lower case, so names such as "john" count as words.
"""

from __future__ import annotations

from functools import cache

_SAID_OFTEN = 300
"""How often the list's texts must say a word for a question to be built on it; 20,000 of four to eight letters are."""


@cache
def words() -> frozenset[str]:
    """Every word there is, in lower case, of the letters a to z alone."""
    return frozenset(word for word, _ in _counted())


@cache
def common_words() -> tuple[str, ...]:
    """The words that people know, sorted: no question depends on one that a model can hardly have seen."""
    return tuple(sorted(word for word, count in _counted() if count > _SAID_OFTEN))


@cache
def _counted() -> tuple[tuple[str, int], ...]:
    # Only the word tasks need it, and reading it takes a tenth of a second.
    from spellchecker import SpellChecker

    listed = SpellChecker(language="en").word_frequency.dictionary
    return tuple((word, int(count)) for word, count in listed.items() if word.isascii() and word.isalpha())
