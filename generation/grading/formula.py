r"""Converts a mathematical answer to LaTeX that math-verify parses correctly: one formula, without wrapping.

Handles what people type (Unicode, Markdown, code) and what math-verify was found to misparse. Anything in none of the
tables goes to math-verify unchanged. Knows nothing about equality.
"""

import re
from functools import lru_cache
from typing import NamedTuple

from cluster.texts import load_table
from generation.grading.errors import SeveralError, UnreadableError
from generation.grading.number import UNITS, is_noun
from generation.grading.text import IN_TEXT, READINGS, boxed, check_readable, plain, rewritten, to_latex

_DELIMITED = re.compile(r"\$\$([^$]+)\$\$|(?<!\\)\$([^$]+)(?<!\\)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_DELIMITERS = re.compile(r"(?<!\\)\$|\\[()\[\]]")
_ENVIRONMENT = re.compile(r"\\(?:begin|end) ?\{[a-z*]+\}|\\[A-Za-z]+")
_WORDS = re.compile(r"[^\W\d_]+(?:[ '-][^\W\d_]+)*")
_ARTICLE = re.compile(r"^(?:it is |it's )?(?:an? (?=[a-z]{3})|the )")
_TABLE = load_table("generation.grading", "words.toml")["formula"]
_NAMES: dict[str, str] = _TABLE["names"]
_GREEK, _COMMANDS = _TABLE["greek"].split(), _TABLE["commands"].split()
_FUNCTIONS = frozenset((*_COMMANDS, *_TABLE["functions"].split()))
_LETTERS = {letter: rf"\{name} " for letter, name in zip(_TABLE["greek_letters"].split(), _GREEK, strict=True)}
_CHARACTERS = str.maketrans(_LETTERS | _TABLE["characters"])
# LaTeX names without a backslash, as in code; not "mu", which may be a product.
_NAMED = re.compile(
    rf"({IN_TEXT.pattern})|(?<![A-Za-z\\])({'|'.join((*_GREEK, *_COMMANDS)).replace('mu|', '')})(?![A-Za-z]) ?"
)
_UNIT_NAMES = "|".join(sorted((name for name in UNITS if len(name) > 1 and name.isalpha()), reverse=True))
_POWER = r"(?: ?\^ ?\{?[23]\}?)?"
# After a number, a bracket, a brace or pi. math-verify's own list of units has single letters: it turns "2ab" into 2.
_UNIT = re.compile(
    rf"(?<=[0-9)}}!i])(?: (?:square |cubic )?(?:{_UNIT_NAMES}|units)\.?{_POWER}"
    rf"|(?:\\[,;! ]| )*\\(?:text|mathrm|mbox) ?\{{[^{{}}]*\}}{_POWER})$"
)
_CHANGES = re.compile(r"\b(?:not|never|than|more|least|most|between|except|neither|nor)\b|n['’]t\b", re.IGNORECASE)
_OR = re.compile(r"\b(?:or|no)\b", re.IGNORECASE)


class Formula(NamedTuple):
    """A formula, and its unit in canonical form, "" if it has none."""

    text: str
    unit: str


# RL asks the same questions again and again.
@lru_cache(maxsize=1024)
def formula(text: str) -> Formula:
    """Return the one formula in an answer. Raises UnreadableError, SeveralError or OutOfBoundsError."""
    check_readable(text)
    text = plain(_unwrap(plain(to_latex(text).translate(_CHARACTERS))))
    if named := _NAMES.get(words_of(text)):
        return Formula(named, "")
    text = rewritten(_NAMED.sub(lambda name: name[1] or rf"\{name[3]} ", text), "formulas")
    text, unit = (text, "") if is_wordy(text) else _without_unit(text)
    if text.count(r"\pm") == 1 and "," not in text:
        plus, minus = (text.replace(r"\pm", sign) for sign in "+-")
        text = f"{plus.removeprefix('+')}, {minus}"
    if not re.search(r"[A-Za-z0-9]", text):
        raise UnreadableError("holds neither number nor letter")
    for why, pattern, _ in READINGS["unclear"]:
        if pattern.search(text):
            raise UnreadableError(why)
    wordy = is_wordy(text)
    if not wordy and _CHANGES.search(text):
        raise UnreadableError("has a word in it that may change what it says")
    words = re.findall("[A-Za-z]+", text if wordy else _ENVIRONMENT.sub(" ", IN_TEXT.sub(" ", text)))
    if sum(map(_is_word, words)) > (2 if wordy else 0):
        raise UnreadableError("is a sentence")
    return Formula(" ".join(text.split()), unit)


def _without_unit(text: str) -> tuple[str, str]:
    found = _UNIT.search(text)
    if found is None:
        return text, ""
    words = re.findall("[a-z]+|[23]", IN_TEXT.sub(r"\1", found[0].lower()))
    if _CHANGES.search(found[0]) or _OR.search(found[0]):
        raise UnreadableError("has a word in it that may change what it says")
    names = ({"square": "2", "cubic": "3"}.get(word, UNITS.get(word, word)) for word in words)
    return text[: found.start()], " ".join(sorted(names))


def words_of(text: str) -> str:
    """Return a word or name in canonical form: lower case, without LaTeX, punctuation or article."""
    words = " ".join(IN_TEXT.sub(r"\1", text).strip(" .!()").lower().split())
    return _ARTICLE.sub("", words)


def is_wordy(text: str) -> bool:
    """Return True for words that are not a formula: a name, a day, "even"."""
    bare = words_of(text)
    return _WORDS.fullmatch(bare) is not None and any(map(_is_word, re.split("[ '-]", bare)))


def _is_word(word: str) -> bool:
    return is_noun(word.lower()) and word.lower() not in _FUNCTIONS


def _unwrap(text: str) -> str:
    """Return the contents of the only box, else of the only pair of delimiters, else all of the text."""
    boxes = boxed(text.replace(r"\fbox", r"\boxed"))
    if len({re.sub(r"\s", "", box) for box in boxes}) > 1:
        raise SeveralError("has several boxes")
    if boxes:
        return boxes[0]
    inside: list[str] = [next(filter(None, found.groups())) for found in _DELIMITED.finditer(text)]
    around = _DELIMITED.sub("", text)
    if not inside or not around.strip(" .,") or re.search(r"[0-9=<>\\]|(?:^| )[-+*/](?: |$)", around):
        return _DELIMITERS.sub(" ", text)
    if len(inside) > 1:
        raise SeveralError("has several formulas")
    if _CHANGES.search(around) or _OR.search(around):
        raise UnreadableError("has a word in it that may change what it says")
    return inside[0]
