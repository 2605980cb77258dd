"""A mathematical answer as LaTeX that math-verify reads rightly: one formula, without what stands round it.

Knows what people type (Unicode, Markdown, Python's powers, periods of decimals) and where math-verify was
found to read something else than is written. Knows nothing of what is equal.
"""

from __future__ import annotations

import re
import unicodedata

from generation.grading.plain_answer import plain, reordered, seen
from generation.grading.refusals import OutOfBoundsError, SeveralError, UnreadableError
from generation.grading.units import UNITS

MAX_CHARS = 2000
MAX_DEPTH = 40
MAX_DIGITS = 400
"""Of one number."""

_BOXED = re.compile(r"\\(?:boxed|fbox) ?\{")
_DELIMITED = re.compile(r"\$\$([^$]+)\$\$|(?<!\\)\$([^$]+)(?<!\\)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_LONG = re.compile(rf"[0-9]{{{MAX_DIGITS + 1}}}")
_WORD = re.compile(r"[A-Za-z]{3,}")
_COMMAND = re.compile(r"\\[A-Za-z]+")
_TEXT = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mbox|operatorname)\*? ?\{[^{}]*\}")
_FUNCTIONS = frozenset(
    (
        *("and", "sqrt", "sin", "cos", "tan", "cot", "sec", "csc", "log", "exp", "lim", "max", "min", "det", "gcd"),
        *("lcm", "mod", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh"),
    )
)
_TEXT_ONLY = re.compile(r"\\(?:text|textbf|textit|mathrm|mbox) ?\{([^{}]*)\}")
_WORDS = re.compile(r"[^\W\d_]+(?:[ '-][^\W\d_]+)*")
_NAMES = {
    **dict.fromkeys(("no solution", "no solutions", "no real solutions", "empty set", "the empty set"), r"\emptyset"),
    **dict.fromkeys((r"\varnothing", r"\{\}", r"\{ \}"), r"\emptyset"),
    **dict.fromkeys(("infinity", "positive infinity"), r"\infty"),
    **dict.fromkeys(("negative infinity", "-infinity"), r"-\infty"),
    **dict.fromkeys(("dne", "does not exist"), "does not exist"),
    **dict.fromkeys(("all real numbers", "all reals"), r"\mathbb{R}"),
}

_SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ"
_RAISED = re.compile(f"[{_SUPERSCRIPTS}]+")
_PLAIN_DIGITS = str.maketrans(_SUPERSCRIPTS + "₀₁₂₃₄₅₆₇₈₉", "0123456789-+n0123456789")
_LOWERED = re.compile("[₀-₉]+")
_CHARACTERS = str.maketrans(
    {
        "π": r"\pi ",
        "∞": r"\infty ",
        "≤": r"\le ",
        "≥": r"\ge ",
        "≠": r"\ne ",
        "±": r"\pm ",
        "∈": r"\in ",
        "∪": r"\cup ",
        "∩": r"\cap ",
        "∅": r"\emptyset ",
        "ℝ": r"\mathbb{R}",
        "°": r"^\circ ",
        "θ": r"\theta ",
        "α": r"\alpha ",
        "β": r"\beta ",
    }
)
_REWRITES = (
    (re.compile(r"(\\[dtc]?frac) ?([0-9]) ?([0-9])"), r"\1{\2}{\3}"),
    (re.compile(r"√ ?(?:\(([^()]*)\)|([0-9]+|[A-Za-z]))"), r"\\sqrt{\1\2}"),
    (re.compile(r"(?<![\\A-Za-z])sqrt ?\(([^()]*)\)"), r"\\sqrt{\1}"),
    (re.compile(r"\*\* ?\(([^()]*)\)|\*\* ?(-?[A-Za-z0-9.]+)"), r"^{\1\2}"),
    (re.compile(r"\^ ?(-[A-Za-z0-9]+)"), r"^{\1}"),
    (re.compile(r"(?<=[0-9])\^ ?\{? ?\\(?:text|mathrm) ?\{ ?(?:st|nd|rd|th) ?\} ?\}?"), ""),
    (re.compile(r"(?<=[0-9])(?:\\,|\\ |\{,\}|\\!,\\!)(?=[0-9]{3}(?![0-9]))"), ""),
    (re.compile(r"(?<![A-Za-z\\])([A-Za-z]) (?=[A-Za-z](?![A-Za-z]))"), r"\1 \\cdot "),
    (re.compile(r"(?<![A-Za-z0-9_.^{\\])([0-9]+)(?=\()"), r"\1\\cdot "),
    (re.compile(r"\)(?=\()"), r")\\cdot "),
    (re.compile(r"\\sqrt ?\[([0-9]?[13579])\] ?\{ ?-([0-9.]+) ?\}"), r"(-\\sqrt[\1]{\2})"),
    (re.compile(r"\\langle(?![A-Za-z])"), "("),
    (re.compile(r"\\rangle(?![A-Za-z])"), ")"),
    (re.compile(r"(?<=[0-9])e([+-]?[0-9]{1,3})(?![0-9.])", re.IGNORECASE), r" \\times 10^{\1}"),
)
# math-verify's own list of units holds single letters: it makes 2 of "2ab".
_NAMED_UNIT = "|".join(sorted((name for name in UNITS if len(name) > 1 and name.isalpha()), reverse=True))
_POWER = r"(?: ?\^ ?\{?[23]\}?)?"
_UNIT = re.compile(
    rf"(?<=[0-9)}}!])(?: (?:square |sq\.? |cubic )?(?:{_NAMED_UNIT}|units?)\.?{_POWER}"
    rf"|(?:\\[,;! ]| )*\\(?:text|mathrm|mbox) ?\{{ ?[^{{}}]*\}}{_POWER})$",
    re.IGNORECASE,
)
_TRIGONOMETRIC = re.compile(r"(\\(?:sin|cos|tan|cot|sec|csc) ?[({]? ?)([0-9.]+) ?\^ ?\{? ?\\circ ?\}?")
_PERIOD = re.compile(r"(?<![0-9.])([0-9]{0,9})\.([0-9]{0,9})\\overline ?\{ ?([0-9]{1,9}) ?\}")
_BASE = re.compile(r"(?<![A-Za-z_])[0-9A-F]+ ?_ ?\{? ?([0-9]{1,2}) ?\}?")
_SPACED_NUMBERS = re.compile(r"(?<![0-9._])[0-9.]+ +[0-9]")
_CHANGES = re.compile(r"\b(?:not|never|than|least|most|between|except|neither|nor)\b|n['’]t\b", re.IGNORECASE)
_TIME = re.compile(r"[0-9]{1,2}:[0-9]{2}")


def formula(text: str) -> str:
    """The one formula of an answer; raises UnreadableError, SeveralError or OutOfBoundsError."""
    if len(text) > MAX_CHARS:
        raise OutOfBoundsError(f"more than {MAX_CHARS} characters")
    if reordered(text):
        raise UnreadableError("is shown in another order than it is stored")
    text = _rewritten(plain(_inner(_typed(text))))
    if named := _NAMES.get(words_of(text)):
        return named
    _check(text)
    return text


def base_of(text: str) -> str:
    """The base that a whole formula names for its one number, "" for none."""
    number = _BASE.fullmatch(text.strip())
    return number[1] if number else ""


def is_time(text: str) -> bool:
    """Of a clock, which is no ratio."""
    return _TIME.fullmatch(text) is not None


def words_of(text: str) -> str:
    """A name or a word in one typing; `text` itself in lower case where it is none."""
    return " ".join(_TEXT_ONLY.sub(r"\1", text).strip(" .!()").lower().split())


def is_wordy(text: str) -> bool:
    """Words that are no formula: a name, a day, "even"."""
    bare = words_of(text)
    if not _WORDS.fullmatch(bare):
        return False
    return any(len(word) > 2 and word not in _FUNCTIONS and not _is_product(word) for word in re.split("[ '-]", bare))


def _is_product(word: str) -> bool:
    """Of variables, as "abc" and "xyz" are: letters that follow on each other."""
    return "".join(sorted(word)) in "abcdefghijklmnopqrstuvwxyz"


def _typed(text: str) -> str:
    text = _RAISED.sub(lambda raised: f"^{{{raised[0].translate(_PLAIN_DIGITS)}}}", seen(text))
    text = _LOWERED.sub(lambda lowered: f"_{{{lowered[0].translate(_PLAIN_DIGITS)}}}", text)
    text = "".join(map(_fraction_of, text)) if not text.isascii() else text
    return plain(text).translate(_CHARACTERS)


def _fraction_of(character: str) -> str:
    if unicodedata.decomposition(character).startswith("<fraction>"):
        over, _, under = unicodedata.normalize("NFKC", character).partition("⁄")
        return rf"\frac{{{over}}}{{{under or 1}}}"
    return character


def _inner(text: str) -> str:
    """What stands in the one box, else between the one pair of delimiters, else all."""
    boxes = list(_boxes(text))
    if len({re.sub(r"\s", "", box) for box in boxes}) > 1:
        raise SeveralError("has several boxes")
    if boxes:
        return boxes[0]
    inside: list[str] = [next(filter(None, found.groups())) for found in _DELIMITED.finditer(text)]
    if not inside or not _DELIMITED.sub("", text).strip(" .,"):
        return inside[0] if len(inside) == 1 else _undelimited(text)
    around = _DELIMITED.sub("", text)
    if re.search(r"[0-9=<>\\]", around):
        return _undelimited(text)
    if len(inside) > 1:
        raise SeveralError("has several formulas")
    if re.search(r"\b(?:not|no|never|or|than|least|most|isn)\b", around, re.IGNORECASE):
        raise UnreadableError("has a word in it that may change what it says")
    return inside[0]


def _undelimited(text: str) -> str:
    return re.sub(r"(?<!\\)\$|\\[()\[\]]", " ", text)


def _boxes(text: str) -> list[str]:
    found, behind = [], 0
    for opening in _BOXED.finditer(text):
        if opening.start() < behind:
            continue
        depth, position = 1, opening.end()
        while position < len(text) and depth:
            depth += {"{": 1, "}": -1}.get(text[position], 0) if text[position - 1] != "\\" else 0
            position += 1
        if depth:
            raise UnreadableError("has a box that is not closed")
        found.append(text[opening.end() : position - 1])
        behind = position
    return found


def _rewritten(text: str) -> str:
    text = _PERIOD.sub(_as_fraction, text)
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    text = _UNIT.sub("", text)
    text = _TRIGONOMETRIC.sub(r"\1{\\frac{\2\\pi}{180}}", text)
    return " ".join(text.split())


def _as_fraction(number: re.Match[str]) -> str:
    whole, first, period = number.groups()
    under = (10 ** len(period) - 1) * 10 ** len(first)
    over = int((whole or "0") + first + period) - int((whole or "0") + first)
    return rf"\frac{{{over}}}{{{under}}}"


def _check(text: str) -> None:
    if not re.search(r"[A-Za-z0-9]", text):
        raise UnreadableError("holds neither number nor letter")
    depth = deepest = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    if deepest > MAX_DEPTH or _LONG.search(text):
        raise OutOfBoundsError("is deeper or longer than anyone writes")
    if "$" in text.replace(r"\$", "") or "\n" in text:
        raise UnreadableError("has formulas in it that do not end")
    if _SPACED_NUMBERS.search(text):
        raise UnreadableError("has numbers in it with nothing between")
    if _CHANGES.search(text) and not is_wordy(text):
        raise UnreadableError("has a word in it that may change what it says")
    words = _WORD.findall(_COMMAND.sub(" ", _TEXT.sub(" ", text)))
    if sum(word.lower() not in _FUNCTIONS for word in words) > 2:
        raise UnreadableError("is a sentence")
