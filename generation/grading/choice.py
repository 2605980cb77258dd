"""Judges an answer that is one of several options: its letter in any usual typing, or its text.

The options are `facts["choices"]`, letter to text, where a question has them; else any letter is one. An
answer that names two different letters is not guessed at, nor one whose letter and text disagree.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

from generation.grading.exact import normalised
from generation.grading.plain_answer import DIFFERS, plain, reordered, seen, too_long
from generation.grading.refusals import OutOfBoundsError, RefusedError, SeveralError, UnreadableError, refused
from generation.records import GOLD_UNREADABLE, Grade, Question

MAX_CHARS = 2000

_LATEX = (
    (re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mathit|mbox|boxed|bf|rm) ?\{([^{}]*)\}"), r"\1"),
    (re.compile(r"\\(?:left|right)(?![A-Za-z])|\\[,;:! ]"), " "),
    (re.compile(r"\*\*|`|\$|__"), ""),
    (re.compile(r" {2,}"), " "),
)
_LABEL = re.compile(
    r"(?:(?:so|thus|hence|therefore),? )?"
    r"(?:(?:i(?: would)? (?:choose|pick|select|say)|my (?:answer|choice) is|it is|it's|the) )?"
    r"(?:(?:final|correct|right|best) ){0,2}"
    r"(?:(?:answer|option|choice|letter)(?: is| would be| must be)? ?[:=]? ?){0,3}",
    re.IGNORECASE,
)
_ALONE = re.compile(r"[(\[{]? ?([A-Za-z0-9]) ?[)\]}]? ?[.):,;!]?")
_LEADING = re.compile(
    r"(?:[(\[{] ?([A-Za-z0-9]) ?[)\]}] ?[.:,;-]?|([A-Za-z]) ?[.):\]]|([A-Z]) [-–]"
    r"|([A-Z]),?(?= (?:because|since) )) ?(.*)",
    re.DOTALL,
)
_SAID = re.compile(
    r"[(\[]?([A-Za-z])[)\]]? is (?:the )?(?:correct|right|best)(?: (?:answer|option|choice))?(?:[.,;]? .*)?",
    re.IGNORECASE | re.DOTALL,
)
_LAST = re.compile(r".*\b(?:is|be|choose|pick|select)(?: option| answer| choice)?:? [(\[]?([A-Z])[)\]]?", re.DOTALL)
_NAMED = re.compile(r"(?<![\w'’])(?:[(\[] ?([A-Za-z]) ?[)\]]|([B-HJ-Z]|A(?! [a-z])))(?![\w'’])")
_GLUED = re.compile(r"[A-Z]{2,6}")
_DENIED = re.compile(
    r"\b(?:not|neither|nor|none|never|wrong|incorrect|false|except|eliminated?)\b|n['’]t\b", re.IGNORECASE
)


def grade_choice(answer: str, question: Question) -> Grade:
    """Right when the answer names the option that `question.answer` names."""
    choices = {str(key).upper(): str(text) for key, text in question.facts.get("choices", {}).items()}
    try:
        gold = _option(question.answer, choices)
    except RefusedError:
        return Grade("unknown", GOLD_UNREADABLE, answer)
    if long := too_long(answer, MAX_CHARS):
        return long
    try:
        said = _option(answer, choices)
    except RefusedError as error:
        return refused(error, answer)
    return Grade("right", "", answer) if said == gold else Grade("wrong", DIFFERS, answer)


def _option(text: str, choices: Mapping[str, str]) -> str:
    """The letter of the option that a text names; raises UnreadableError or SeveralError."""
    if reordered(text):
        raise UnreadableError("is shown in another order than it is stored")
    with_text = {key for key, choice in choices.items() if normalised(choice) == normalised(text)}
    text = _plain(text)
    rest = _LABEL.sub("", text, count=1) or text
    alone = _ALONE.fullmatch(rest)
    if alone and (alone[1].upper() in choices or not with_text):
        return alone[1].upper()
    with_text |= {key for key, choice in choices.items() if normalised(choice) == normalised(rest)}
    if len(with_text) == 1:
        return with_text.pop()
    if len(with_text) > 1:
        raise SeveralError("is the text of several options")
    if leading := _LEADING.fullmatch(rest):
        return _confirmed(next(filter(None, leading.groups()[:4])).upper(), leading[5], choices)
    return _in_a_sentence(text, rest)


def _plain(text: str) -> str:
    text = unicodedata.normalize("NFKC", seen(text))
    if len(text) > MAX_CHARS:
        raise OutOfBoundsError("has characters in it that mean many")
    text = plain(text)
    for pattern, plainer in _LATEX:
        text = pattern.sub(plainer, text)
    return plain(text)


def _confirmed(key: str, tail: str, choices: Mapping[str, str]) -> str:
    """The letter, unless what stands behind it takes it back."""
    said = normalised(tail)
    if not said or (key in choices and said == normalised(choices[key])):
        return key
    if any(said == normalised(choice) for choice in choices.values()):
        raise SeveralError("the letter is one option, the text another")
    if re.match(r"(?:is|are|was|cannot|can)\b", tail, re.IGNORECASE) and _DENIED.search(tail):
        raise UnreadableError("is denied")
    if _names(tail) - {key}:
        raise SeveralError("names several options")
    return key


def _in_a_sentence(text: str, rest: str) -> str:
    named = _names(text)
    if len(named) > 1 or _GLUED.fullmatch(rest):
        raise SeveralError("names several options")
    if _DENIED.search(text):
        raise UnreadableError("may be denied")
    said = _SAID.fullmatch(rest) or _LAST.fullmatch(text)
    if said is None:
        raise UnreadableError("names no option")
    return said[1].upper()


def _names(text: str) -> set[str]:
    return {(found[1] or found[2]).upper() for found in _NAMED.finditer(text)}
