"""A mathematical answer as LaTeX that math-verify reads rightly: one formula, without what stands round it.

Knows what people type (Unicode, Markdown, Python's powers, periods of decimals) and where math-verify was
found to read something else than is written. Knows nothing of what is equal.
"""

from __future__ import annotations

import math
import re
import unicodedata
from string import ascii_lowercase
from typing import NamedTuple

from generation.grading.number_typing import DECIMAL_COMMA
from generation.grading.plain_answer import plain, reordered, seen
from generation.grading.refusals import OutOfBoundsError, SeveralError, UnreadableError
from generation.grading.units import unit_behind

MAX_CHARS = 2000
MAX_DEPTH = 40
MAX_DIGITS = 400
"""Of one number."""

_BOXED = re.compile(r"\\(?:boxed|fbox) ?\{")
_DELIMITED = re.compile(r"\$\$([^$]+)\$\$|(?<!\\)\$([^$]+)(?<!\\)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_LONG = re.compile(rf"[0-9]{{{MAX_DIGITS + 1}}}")
_WORD = re.compile(r"[A-Za-z]{3,}")
_UNREAD = re.compile(rf"{_WORD.pattern}|\b(?:if|of|is|to|by|at|as|on)\b")
_ENVIRONMENT = re.compile(r"\\(?:begin|end) ?\{[a-z*]+\}")
_COMMAND = re.compile(r"\\[A-Za-z]+")
_TEXT = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mbox|operatorname)\*? ?\{[^{}]*\}")
_COMMANDS = (
    *("arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "sin", "cos", "tan", "cot", "sec", "csc"),
    *("log", "ln", "exp"),
)
_FUNCTIONS = frozenset((*_COMMANDS, "and", "sqrt", "lim", "max", "min", "det", "gcd", "lcm", "mod"))
_TEXT_ONLY = re.compile(r"\\(?:text|textbf|textit|mathrm|mbox) ?\{([^{}]*)\}")
_ARTICLE = re.compile(r"^(?:it is |it's )?(?:an? (?=[a-z]{3})|the )")
_WORDS = re.compile(r"[^\W\d_]+(?:[ '-][^\W\d_]+)*")
_NAMES = {
    **dict.fromkeys(("no solution", "no solutions", "no real solutions", "empty set"), r"\emptyset"),
    **dict.fromkeys((r"\varnothing", r"\{\}", r"\{ \}", "{}", "{ }"), r"\emptyset"),
    **dict.fromkeys(("infinity", "positive infinity"), r"\infty"),
    **dict.fromkeys(("negative infinity", "-infinity"), r"-\infty"),
    **dict.fromkeys(("infinite", "infinitely many", "infinitely many solutions"), r"\infty"),
    **dict.fromkeys(("dne", "does not exist", "undefined"), "does not exist"),
    **dict.fromkeys(("all real numbers", "all reals"), r"\mathbb{R}"),
}

_SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ"
_RAISED = re.compile(f"[{_SUPERSCRIPTS}]+")
_PLAIN_DIGITS = str.maketrans(_SUPERSCRIPTS + "₀₁₂₃₄₅₆₇₈₉", "0123456789-+n0123456789")
_LOWERED = re.compile("[₀-₉]+")
_GREEK = (
    *("alpha", "beta", "gamma", "delta", "epsilon", "theta", "lambda", "mu", "pi", "rho", "sigma", "tau", "phi"),
    "omega",
)
_CHARACTERS = str.maketrans(
    {
        **{letter: rf"\{name} " for letter, name in zip("αβγδεθλμπρστφω", _GREEK, strict=True)},
        **{variant: rf"\{name} " for variant, name in zip("ϕϵϑϱ", ("phi", "epsilon", "theta", "rho"), strict=True)},
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
    }
)
_BRACKETED = r"\(((?:[^()]++|\([^()]*+\))*+)\)"
_RADICAND = rf" ?(?:{_BRACKETED}|\{{([^{{}}]*)\}}|([0-9.]+|[A-Za-z](?![A-Za-z])|\\[a-z]+))"
# LaTeX's names without their backslash; "mu" may be a product.
_NAMED = re.compile(
    rf"({_TEXT.pattern})|(?<![A-Za-z\\])(?:(oo|inf|infinity)|(Pi)|a(sin|cos|tan)|"
    rf"({'|'.join((*_GREEK, *_COMMANDS)).replace('mu|', '')}))(?![A-Za-z]) ?"
)
_REWRITES = (
    (re.compile(r"^= ?"), ""),
    (re.compile(r"(?<=[0-9]) ?x ?(?=[0-9])"), r" \\cdot "),
    (re.compile(r"\\log (2|10)(?=\()"), r"\\log_{\1}"),
    (re.compile(r"\\(ln|log) ([0-9]+)(?= ?/ ?\\)"), r"\\\1(\2)"),
    (re.compile(r"(\\[dtc]?frac) ?([0-9]) ?([0-9])"), r"\1{\2}{\3}"),
    (re.compile(rf"(?:√|(?<![\\A-Za-z])sqrt){_RADICAND}"), r"\\sqrt{\1\2\3}"),
    (re.compile(rf"(?:∛|(?<![\\A-Za-z])cbrt){_RADICAND}"), r"\\sqrt[3]{\1\2\3}"),
    (re.compile(r"(?<=[\])]) ?(?:U|union) ?(?=[\[(])"), r"\\cup "),
    (re.compile(r"\+/ ?-|(?:^|(?<= ))\+-(?= ?[^ ])"), r"\\pm "),
    (re.compile(r"^f ?\(x\) ?="), "y ="),
    (re.compile(r"(?<=[A-Za-z]) in (?=[\[({])"), r" \\in "),
    (re.compile(r"\*\* ?\(([^()]*)\)|\*\* ?(-?[A-Za-z0-9.]+)"), r"^{\1\2}"),
    (re.compile(r"\^ ?\{? ?0?\.50*(?![0-9]) ?\}?"), r"^{\\frac{1}{2}}"),
    (re.compile(r"\^ ?(-?[0-9]*\.[0-9]+|-[A-Za-z0-9]+)"), r"^{\1}"),
    (
        re.compile(
            r"(?<![0-9A-Za-z/^_.)}])(?<![0-9] )([0-9]+)/([0-9]+) (?=[A-Za-z(]|\\(?:pi|sqrt|sin|cos|tan|ln|log))"
        ),
        r"\\frac{\1}{\2} ",
    ),
    (re.compile(r"(?<=[0-9]) ?(?:deg|degrees?)(?![A-Za-z])"), r"^\\circ "),
    (re.compile(r"(?<=[0-9])\^ ?\{? ?\\(?:text|mathrm) ?\{ ?(?:st|nd|rd|th) ?\} ?\}?"), ""),
    (DECIMAL_COMMA, r"\1."),
    (re.compile(r"(?<=[0-9])(?:\\,|\\ |\{,\}|\\!,\\!)(?=[0-9]{3}(?![0-9]))"), ""),
    (re.compile(r"(?<![A-Za-z\\])([A-Za-z]) (?=[A-Za-z](?![A-Za-z]))"), r"\1 \\cdot "),
    (re.compile(r"(?<![A-Za-z0-9_.^{\\])([0-9]+)(?=\()"), r"\1\\cdot "),
    (re.compile(r"\)(?=\()"), r")\\cdot "),
    (re.compile(r"\\sqrt ?\[([0-9]?[13579])\] ?\{ ?-([0-9.]+) ?\}"), r"(-\\sqrt[\1]{\2})"),
    (re.compile(r"\\langle(?![A-Za-z])"), "("),
    (re.compile(r"\\rangle(?![A-Za-z])"), ")"),
    (re.compile(r"(?<=[0-9])e([+-]?[0-9]{1,3})(?![0-9.])", re.IGNORECASE), r" \\times 10^{\1}"),
)
_VARIANT = re.compile(r"\\var(phi|epsilon|theta|rho|sigma)(?![a-z])")
_TRIGONOMETRIC = re.compile(r"(\\(?:sin|cos|tan|cot|sec|csc) ?[({]? ?)([0-9.]+) ?\^ ?\{? ?\\circ ?\}?")
_PERIOD = re.compile(r"(?<![0-9.])([0-9]{0,9})\.([0-9]{0,9})\\overline ?\{ ?([0-9]{1,9}) ?\}")
_DOUBLE_FACTORIAL = re.compile(r"(?<![0-9._^!])([0-9]{1,2})!!(?!!)")
_SPACED_NUMBERS = re.compile(r"(?<![0-9._])[0-9.]+ +[0-9]")
_ENDLESS = re.compile(r"[0-9]\.[0-9]+ ?(?:\.\.\.|…|\\l?dots)")
_CHANGES = re.compile(r"\b(?:not|never|than|least|most|between|except|neither|nor)\b|n['’]t\b", re.IGNORECASE)
_TIME = re.compile(r"0?([0-9]{1,2}):([0-9]{2})")
_TWO_DIGITS = 10
"""The least number of two digits, as minutes are written."""


class Formula(NamedTuple):
    """A formula, and the unit that stood behind it: "" for none that is known."""

    text: str
    unit: str


def formula(text: str) -> Formula:
    """The one formula of an answer; raises UnreadableError, SeveralError or OutOfBoundsError."""
    if len(text) > MAX_CHARS:
        raise OutOfBoundsError(f"more than {MAX_CHARS} characters")
    if reordered(text):
        raise UnreadableError("is shown in another order than it is stored")
    text = plain(_inner(_typed(text)))
    if named := _NAMES.get(words_of(text)):
        return Formula(named, "")
    said = _rewritten(text)
    _check(said.text)
    return said


def unread(text: str) -> set[str]:
    """Its words that are no mathematics: of these math-verify makes a product of letters."""
    words = {word.lower() for word in _UNREAD.findall(_COMMAND.sub(" ", _ENVIRONMENT.sub(" ", text)))}
    return {word for word in words if word not in _FUNCTIONS and not _is_product(word)}


def time_of(text: str) -> tuple[int, int] | None:
    """Return the hours and minutes of a clock time, or None."""
    time = _TIME.fullmatch(text)
    return (int(time[1]), int(time[2])) if time else None


def is_clock(text: str) -> bool:
    """Return True for a time that nobody would write as a ratio: 12:30 and 5:02, not 5:12, which may be either."""
    time = time_of(text)
    return time is not None and (time[1] < _TWO_DIGITS or math.gcd(*time) > 1)


def words_of(text: str) -> str:
    """A name or a word in one typing; `text` itself in lower case where it is none."""
    words = " ".join(_TEXT_ONLY.sub(r"\1", text).strip(" .!()").lower().split())
    return _ARTICLE.sub("", words)


def is_wordy(text: str) -> bool:
    """Words that are no formula: a name, a day, "even"."""
    bare = words_of(text)
    if not _WORDS.fullmatch(bare):
        return False
    return any(len(word) > 2 and word not in _FUNCTIONS and not _is_product(word) for word in re.split("[ '-]", bare))


def _is_product(word: str) -> bool:
    """Of variables, as "abc" and "xyz" are: letters that follow on each other."""
    return "".join(sorted(word)) in ascii_lowercase or not set(word) & set("aeiou")


def _typed(text: str) -> str:
    text = _RAISED.sub(lambda raised: f"^{{{raised[0].translate(_PLAIN_DIGITS)}}}", seen(text))
    text = _LOWERED.sub(lambda lowered: f"_{{{lowered[0].translate(_PLAIN_DIGITS)}}}", text)
    text = "".join(map(_fraction_of, text)) if not text.isascii() else text
    return plain(text.translate(_CHARACTERS))


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
    if re.search(r"[0-9=<>\\]|(?:^| )[-+*/](?: |$)", around):
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


def _rewritten(text: str) -> Formula:
    text = _VARIANT.sub(lambda one: one[0] if re.search(rf"\\{one[1]}(?![a-z])", text) else rf"\{one[1]}", text)
    text = _NAMED.sub(_as_command, _PERIOD.sub(_as_fraction, _DOUBLE_FACTORIAL.sub(_as_product, text)))
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    text, unit = unit_behind(text)
    text = _TRIGONOMETRIC.sub(r"\1{\\frac{\2\\pi}{180}}", text)
    if text.count(r"\pm") == 1 and "," not in text:
        plus, minus = (text.replace(r"\pm", sign) for sign in "+-")
        text = f"{plus.removeprefix('+')}, {minus}"
    return Formula(" ".join(text.split()), unit)


def _as_command(name: re.Match[str]) -> str:
    text, infinite, capital, inverse, command = name.groups()
    if text:
        return text
    return rf"\{'infty' if infinite else 'pi' if capital else f'arc{inverse}' if inverse else command} "


def _as_product(factorial: re.Match[str]) -> str:
    """7!! is 7 * 5 * 3 * 1, which math-verify takes for (7!)!."""
    return str(math.prod(range(int(factorial[1]), 0, -2)))


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
    if "!!" in text:
        raise UnreadableError("has a factorial in it that is read in several ways")
    if _ENDLESS.search(text):
        raise UnreadableError("has digits in it that do not end")
    if _CHANGES.search(text) and not is_wordy(text):
        raise UnreadableError("has a word in it that may change what it says")
    words = _WORD.findall(_COMMAND.sub(" ", _TEXT.sub(" ", text)))
    if sum(word.lower() not in _FUNCTIONS for word in words) > 2:
        raise UnreadableError("is a sentence")
