"""Judges an answer that is one of several options: its letter in any usual notation, or its text.

The options are `facts["choices"]`, letter to text, if the question has them; otherwise any letter is one. `_option`
tries the possible readings in order. Anything else is unknown: sentences, denials, two letters, reasons.
"""

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache

from cluster.texts import load_table
from generation.grading.errors import RefusedError, SeveralError, UnreadableError
from generation.grading.text import DIFFERS, IN_TEXT, check_readable, normalised, plain
from generation.records import GOLD_UNREADABLE, Question

_AROUND = 100  # characters allowed around an option's text
_MARKUP = re.compile(r"\*\*|`|\$|__")
_BULLET = re.compile(r"\A(?:[-*→]|[-=]>|#{1,6}) (?=[(\[]?[A-Z]\b)")
_LABEL = frozenset(load_table("generation.grading", "words.toml")["choice"]["label"].split())
_LONGEST_LABEL = 16  # words: more than anyone writes; bounds adversarial input
_LETTER = r"[(\[{]? ?(?P<letter>[A-Za-z0-9]) ?[)\]}]?"
_ALONE = re.compile(rf"{_LETTER} ?[.):,;!]?")
_AHEAD = re.compile(rf"{_LETTER}(?![\w'’]) ?(?:[.):,;=]|-(?= ))? ?(?P<said>.+)", re.DOTALL)
_BEHIND = re.compile(rf"(?P<said>.+?) ?[,:;=>(\[-]? ?{_LETTER}[.]?", re.DOTALL)
_MARKED = re.compile(r"(?:[(\[{] ?([A-Za-z]) ?[)\]}]|([A-Za-z]) ?[.):]) ?(.+)", re.DOTALL)
_UNSURE = re.compile(
    r"\b(?:or|and|nor|not|no|never|also|too|but|cannot|wrong|incorrect|false|invalid|except)\b|n't\b|\b\w\b|[/&?]",
    re.IGNORECASE,
)


def judge_choice(answer: str, question: Question) -> str:
    """Return "" if the answer names the same option as `question.answer`, else what is wrong."""
    try:
        gold = named_option(question.answer, question)
    except RefusedError as error:
        raise RefusedError(str(error), GOLD_UNREADABLE) from error
    return "" if named_option(answer, question) == gold else DIFFERS


def named_option(answer: str, question: Question) -> str:
    """Return the letter of the option that an answer names. Raises UnreadableError or SeveralError."""
    options = {str(key).upper(): str(text) for key, text in question.facts.get("choices", {}).items()}
    return _option(answer, options)


def _options_with_text(text: str, options: Mapping[str, str]) -> set[str]:
    """Return the letters of the options with this text."""
    if len(text) > _AROUND + 3 * max(map(len, options.values()), default=0):
        return set()
    return {letter for letter, option in options.items() if _comparable(option) == _comparable(text)}


@lru_cache(maxsize=1024)
def _comparable(text: str) -> str:
    return normalised(_as_displayed(text))


def _option(text: str, options: Mapping[str, str]) -> str:
    """Return the letter of the option named by a text. Raises UnreadableError or SeveralError."""
    check_readable(unicodedata.normalize("NFKC", text), gold=text)
    shown = _BULLET.sub("", _as_displayed(text))
    rest = _without_label(shown)
    called = _options_with_text(shown, options) or _options_with_text(rest, options)
    # A letter: "B", "(b).", "The answer is B". The text of an option may itself be one: "I".
    alone = _ALONE.fullmatch(rest)
    letter = alone["letter"].upper() if alone else ""
    if letter and (letter in options or not (called or options)):
        return letter
    # An option's text: "Paris", "The answer is Paris".
    if len(called) == 1:
        return min(called)
    if called:
        raise SeveralError("is the text of several options")
    # A letter of no option is a wrong answer, but "I" may begin "I only", and "5" may be "5 cm".
    if letter.isalpha() and letter != "I":
        return letter
    # A letter with its text: "B. Paris", "(B) Paris", "Paris (B)".
    for one in (shown, rest):
        if letter := _beside_its_text(one, options):
            return letter
    # A marked letter with a text that cannot be checked, since the options are unknown: "B. Paris".
    marked = None if options else _MARKED.fullmatch(rest)
    if marked and not _UNSURE.search(marked[3]):
        return (marked[1] or marked[2]).upper()
    raise UnreadableError("names no option, or several")


def _as_displayed(text: str) -> str:
    """Return the text as a reader sees it: compatibility characters unified, no LaTeX or Markdown."""
    text = plain(unicodedata.normalize("NFKC", text).replace("’", "'"))
    return plain(_MARKUP.sub("", IN_TEXT.sub(r"\1", text)))


def _without_label(text: str) -> str:
    for _ in range(_LONGEST_LABEL):
        word, _, rest = text.partition(" ")
        # "I" may be a letter; before a lower-case word it is a pronoun.
        is_letter = re.fullmatch(r"I[^\w']?", word) and not (word == "I" and rest[:1].islower())
        if not rest or is_letter or word.strip(",:.=").lower() not in _LABEL:
            break
        text = rest
    return text


def _beside_its_text(text: str, options: Mapping[str, str]) -> str:
    """Return the letter before or after an option's text, "" if there is none. Raises SeveralError if they disagree."""
    for beside in (_AHEAD.fullmatch(text), _BEHIND.fullmatch(text)):
        letter, said = (beside["letter"].upper(), beside["said"]) if beside else ("", "")
        called = _options_with_text(said, options) or _options_with_text(said.strip("()[]"), options)
        if letter in called:
            return letter
        if called and letter in options:
            raise SeveralError("the letter is one option, the text another")
    return ""
