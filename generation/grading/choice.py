"""Judges an answer that is one of several options: its letter in any usual typing, or its text.

The options are `facts["choices"]`, letter to text, where a question has them; else any letter is one. An
answer that names two different letters is not guessed at, nor one whose letter and text disagree, nor one
that may say which option it is not.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import NamedTuple

from generation.grading.exact import normalised
from generation.grading.plain_answer import DIFFERS, plain, reordered, seen, too_long
from generation.grading.refusals import OutOfBoundsError, RefusedError, SeveralError, UnreadableError, refused
from generation.records import GOLD_UNREADABLE, Grade, Question

MAX_CHARS = 2000
_MARKS = 100
"""Characters that may stand round an option's text; what is far longer need not be looked at."""

_LATEX = (
    (re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mathit|mbox|boxed|bf|rm) ?\{([^{}]*)\}"), r"\1"),
    (re.compile(r"\\(?:left|right)(?![A-Za-z])|\\[,;:! ]"), " "),
    (re.compile(r"\*\*|`|\$|__"), ""),
    (re.compile(r" {2,}"), " "),
)
_ARTICLE = re.compile(r"\A(?:the|an?) ", re.IGNORECASE)
# A letter on a line of its own has no text behind it: "A" is no article there.
_OWN_LINE = re.compile(r"\s*(?:\*\*)?[(\[]?([A-Za-z])[)\]]?[.:,]?(?:\*\*)?[ \t]*\r?\n\s*(?=\S)")
_BULLET = re.compile(r"(?:[-*→]|[-=]>|#{1,6}) (?=[(\[]?[A-Z](?![\w'’]))")
# Words that may stand before the option, in any order; none of them denies it.
_LABEL = re.compile(
    r"(?:(?:so|thus|hence|therefore|then|(?-i:[Ii]|[Ww]e)(?= [a-z])|i['’](?:d|ll|m)|am|would|will|should|must|could"
    r"|may|might|go|going|with"
    r"|choose|pick|select|say|think|believe|guess|my|the|this|that|it|is|be|it['’]s|that['’]s|only|final|correct|right"
    r"|best|most|likely|probably|perhaps|maybe|possibly|definitely|certainly|clearly|answer|ans|option|choice|letter)"
    r"(?![\w'’])(?: ?[,:=.]| ?->| -(?= ))? ?){0,16}",
    re.IGNORECASE,
)
_ALONE = re.compile(r"[(\[{]? ?([A-Za-z0-9]) ?[)\]}]? ?[.):,;!]?")
_AHEAD = re.compile(r"[(\[{]? ?([A-Za-z0-9])(?![\w'’]) ?[)\]}]? ?(?:[.,:;=]|[-=]?>|-(?=[ A-Za-z]))? ?(.+)", re.DOTALL)
_BRACKETED = re.compile(r"[(\[](.+)[)\]]", re.DOTALL)
_LEADING = re.compile(
    r"(?:[(\[{] ?([A-Za-z0-9]) ?[)\]}] ?[.:,;-]?|([A-Za-z]) ?[.):\]]|([A-Z]) [-–]"
    r"|([A-Za-z]),?(?= (?:[Bb]ecause|[Ss]ince) )) ?(.*)",
    re.DOTALL,
)
_SAID = re.compile(
    r"[(\[]?([A-Za-z])[)\]]? (?:is|seems|must be|would be|should be)"
    r"(?: (?:the|my|most|likely|probably|clearly|definitely|final|only)){0,4}"
    r"(?: (?:correct|right|best|true|answer|option|choice|one)){1,4}(?:[.,;!]? .*)?",
    re.IGNORECASE | re.DOTALL,
)
_LAST = re.compile(r".*\b(?:is|be|choose|pick|select)(?: option| answer| choice)?:? [(\[]?([A-Z])[)\]]?", re.DOTALL)
# An "A" before a word in lower case is an article, unless that word is about an option.
_NAMED = re.compile(
    r"(?<![\w'’.])(?:[(\[] ?([A-Za-z]) ?[)\]]"
    r"|([B-HJ-Z]|A(?! (?!(?:is|are|was|and|or|nor|can|cannot|would|could|seems|too|also|because|since)\b)[a-z])))"
    r"(?![\w'’]|\.\w)"
)
# A letter in lower case may be a variable: it is an option where it is joined to another one, or has a bracket.
_JOINED = re.compile(
    r"(?:\b(?:and|or|nor|but|plus|vs|versus|also|maybe|perhaps|possibly)\b|&|\A ?[/,+;-]) ?"
    r"(?:(?:option|answer|choice) )?[(\[]?([A-HJ-Za-hj-z0-9])"
    r"(?![\w'’]|\.\w)(?!(?<=a) (?!(?:is|are|was|too|also)\b)[a-z])"
    r"|(?<![\w'’(.])([A-HJ-Za-hj-z])(?:\)|[.:] | (?:is|are|too|also)\b)"
    r"|[,;/] ?([a-hj-z])[.:]?\Z"
    r"|\A[(\[]?([a-z])[)\].,:;!]*\Z",
    re.IGNORECASE,
)
_GLUED = re.compile(r"[A-Z]{2,6}")
_DENIED = re.compile(
    r"\b(?:not|neither|nor|none|never|cannot|cant|isnt|dont|wrong|incorrect|false|invalid|impossible|except|excluding"
    r"|(?:eliminat|exclud|reject|discard|avoid)(?:e|es|ed|ing|s)?|rul(?:e|es|ed|ing) (?:(?:it|this|that) )?out|hardly"
    r"|unless|unlikely|least|worst|opposite|without(?! (?:a |any )?doubt)|(?<!no )(?<!a )(?<!any )(?<!out )doubt"
    r"|(?:other|rather) than|instead of|(?:all|anything|everything) but|(?:apart|far) from|besides)\b|n['’]t\b",
    re.IGNORECASE,
)
_TAKEN_BACK = re.compile(
    r"(?:is|are|was|does|did|can|ca|could|would|should|must|may|might|will|wo|seems?)(?:not|n?['’]?t)?\b"
    r"|(?:wrong|incorrect|false|invalid|eliminated|excluded|ruled out)\Z",
    re.IGNORECASE,
)
_REASON = re.compile(r"\b(?:because|since|as|for)\b", re.IGNORECASE)
_CLAUSE = re.compile(r"[,;.:(]|\b(?:which|where|when|whether|if)\b", re.IGNORECASE)
_COMMA = re.compile(r"[,;()|]")
_AND = re.compile(r"[/&+]|\b(?:and|or|nor|plus)\b", re.IGNORECASE)
_ANDS = 20
"""More than anyone types, and a bound on hostile text."""
_OR = re.compile(r"\bor\b", re.IGNORECASE)


class _Options(NamedTuple):
    """The texts by letter, and the letters by text."""

    texts: Mapping[str, str]
    exactly: Mapping[str, frozenset[str]]
    loosely: Mapping[str, frozenset[str]]
    """By texts without an article or LaTeX's wrappers."""

    def called(self, text: str) -> frozenset[str]:
        """The letters of the options whose text this is; "A cat" may be option A, and is not "the cat"."""
        if len(text) > _MARKS + 3 * max(map(len, self.texts.values()), default=0):
            return frozenset()
        loose = normalised(text) if text.startswith("A ") else _loose(text)
        return self.exactly.get(normalised(text)) or self.loosely.get(loose) or frozenset()

    def holds(self, letter: str) -> bool:
        return letter in self.texts or (not self.texts and letter.isalpha())


def grade_choice(answer: str, question: Question) -> Grade:
    """Right when the answer names the option that `question.answer` names."""
    choices = {str(key).upper(): str(text) for key, text in question.facts.get("choices", {}).items()}
    shown = {letter: _shown(text) for letter, text in choices.items()}
    options = _Options(shown, _by_text(choices, normalised), _by_text(choices, _loose))
    try:
        gold = _option(question.answer, options)
    except RefusedError:
        return Grade("unknown", GOLD_UNREADABLE, answer)
    if long := too_long(answer, MAX_CHARS):
        return long
    try:
        said = _option(answer, options)
    except RefusedError as error:
        return refused(error, answer)
    return Grade("right", "", answer) if said == gold else Grade("wrong", DIFFERS, answer)


def _by_text(choices: Mapping[str, str], form: Callable[[str], str]) -> Mapping[str, frozenset[str]]:
    letters: dict[str, frozenset[str]] = {}
    for letter, text in choices.items():
        letters[form(text)] = letters.get(form(text), frozenset()) | {letter}
    return letters


def _option(text: str, options: _Options) -> str:
    """The letter of the option that a text names; raises UnreadableError or SeveralError."""
    if reordered(text):
        raise UnreadableError("is shown in another order than it is stored")
    if len(unicodedata.normalize("NFKC", text)) > MAX_CHARS:
        raise OutOfBoundsError("has characters in it that mean many")
    called = options.called(text)
    text = _plain(text)
    rest = _LABEL.sub("", text, count=1) or text
    called = called or options.called(text) or options.called(rest)
    alone = _ALONE.fullmatch(rest)
    letter = alone[1].upper() if alone else ""
    # A letter that no option has is wrong; "I" may be the first of "I only" and "II only", "5" may be "5 cm".
    part = letter == "I" or (letter.isdigit() and not any(map(str.isdigit, options.texts.values())))
    if letter in options.texts or (letter and not called and not (part and options.texts)):
        return letter
    if len(called) == 1:
        return min(called)
    if called:
        raise SeveralError("is the text of several options")
    if beside := _beside_its_text(text, options) or _beside_its_text(rest, options):
        return beside
    leading = _LEADING.fullmatch(rest)
    key = next(filter(None, leading.groups()[:4])).upper() if leading else ""
    if leading and (key.isalpha() or key in options.texts):
        return _confirmed(key, leading[5], options)
    return _in_a_sentence(text, rest, options)


def _plain(text: str) -> str:
    text = seen(text)
    shown = _shown(_OWN_LINE.sub(r"(\1) ", text, count=1) if _OWN_LINE.match(text) else text)
    return _BULLET.sub("", shown, count=1) if _BULLET.match(shown) else shown


def _shown(text: str) -> str:
    """As it looks: one character for those that mean the same, no LaTeX, no marks."""
    text = plain(unicodedata.normalize("NFKC", text).replace("’", "'"))
    for pattern, plainer in _LATEX:
        text = pattern.sub(plainer, text)
    return plain(text)


def _loose(text: str) -> str:
    return _ARTICLE.sub("", normalised(_shown(text)), count=1)


def _beside_its_text(rest: str, options: _Options) -> str:
    """The letter ahead of or behind an option's text, "" where there is none; raises when they disagree."""
    ahead = _AHEAD.fullmatch(rest)
    body = rest.rstrip(" .!)]")
    behind = body[:-1].rstrip(" ,:;=>([-").removesuffix(" option").rstrip(" ,:;=>([-")
    pairs = [(ahead[1], ahead[2])] if ahead else []
    if behind and behind != body[:-1]:
        pairs.append((body[-1], behind))
    for key, said in pairs:
        bracketed = _BRACKETED.fullmatch(said)
        called = options.called(said) or (options.called(bracketed[1]) if bracketed else frozenset())
        if key.upper() in called:
            return key.upper()
        if called and key.upper() in options.texts:
            raise SeveralError("the letter is one option, the text another")
    return ""


def _confirmed(key: str, tail: str, options: _Options) -> str:
    """The letter, unless what stands behind it takes it back or names another option."""
    own = options.texts.get(key, "")
    behind = _behind(tail, own)
    said, more = ("", tail) if behind is None else (own, behind.lstrip())
    if _TAKEN_BACK.match(more) and _DENIED.search(more) and not _DENIED.search(own):
        raise UnreadableError("is denied")
    longer = {one for one, text in options.texts.items() if len(text) > len(said) and _behind(tail, text) is not None}
    reasonless = _REASON.split(more, maxsplit=1)[0]
    or_else = _OR.search(_CLAUSE.split(reasonless, maxsplit=1)[0]) and not _OR.search(own)
    if or_else or (longer | _texts_in(reasonless, options) | _names(more, options)) - {key}:
        raise SeveralError("names several options")
    return key


def _texts_in(text: str, options: _Options) -> set[str]:
    """The options whose text is an item of a list, or begins what is joined by an "and" or "or"."""
    items = {item.strip(" .'\"").casefold() for item in _COMMA.split(text)}
    found = set().union(*(options.loosely.get(_ARTICLE.sub("", item, count=1), ()) for item in items))
    for item in _AND.split(text, maxsplit=_ANDS)[1:]:
        found.update(one for one, choice in options.texts.items() if _behind(item.lstrip(), choice) is not None)
    return found


def _behind(tail: str, text: str) -> str | None:
    """What stands behind a text that the tail opens with, None where it opens with another."""
    for said in (tail, _ARTICLE.sub("", tail, count=1)):
        more = said[len(text) :]
        if said[: len(text)].casefold() == text.casefold() and not re.match(r"\w", more):
            return more
    return None


def _in_a_sentence(text: str, rest: str, options: _Options) -> str:
    named = _names(text, options)
    if len(named) > 1 or _GLUED.fullmatch(rest):
        raise SeveralError("names several options")
    if _DENIED.search(text):
        raise UnreadableError("may be denied")
    said = _SAID.fullmatch(rest) or _LAST.fullmatch(text)
    if said is None:
        raise UnreadableError("names no option")
    return said[1].upper()


def _names(text: str, options: _Options) -> set[str]:
    found = (*_NAMED.finditer(text), *_JOINED.finditer(text))
    letters = {next(filter(None, one.groups())).upper() for one in found}
    return set(filter(options.holds, letters))
