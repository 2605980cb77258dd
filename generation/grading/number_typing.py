"""The one number that an answer says, in any usual typing, as an exact fraction.

Reads thousands separators, decimals, exponents, fractions, mixed numbers, percent, currency and units,
labels, "x = 5", and a short sentence round the number. Knows no arithmetic: "12 + 12" is no number, and
what can be read in two ways is not read.
"""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction
from typing import NamedTuple

from generation.grading.number_words import in_digits
from generation.grading.plain_answer import plain, reordered, seen
from generation.grading.refusals import OutOfBoundsError, SeveralError, UnreadableError
from generation.grading.units import BESIDE, SCALES, SHORT, UNITS

MAX_CHARS = 2000
MAX_DIGITS = 1000
MAX_EXPONENT = 999


class Quantity(NamedTuple):
    """A number with what stands beside it."""

    value: Fraction
    percent: bool
    unit: str
    """One of the units that are known by name, "" for any other and for none."""


_GROUPED = r"[0-9]{1,3}(?P<separator>[, '_])[0-9]{3}(?:(?P=separator)[0-9]{3})*+(?![0-9])"
_INDIAN = r"[0-9]{1,2}(?:,[0-9]{2}){1,9},[0-9]{3}(?![0-9])"
_NUMBER = re.compile(
    rf"""(?:(?P<sign>[+-])[ ]?)?(?:(?P<currency>(?:US)?\$|[€£¥₹])[ ]?)?(?P<inner>[+-]?)
    (?: (?P<power>10)[ ]?(?=\^)
      | (?:(?P<whole>[0-9]++)(?:[ ]|[ ]and[ ]))?(?P<over>[0-9]++)[ ]?/[ ]?(?P<under>[0-9]++)(?![.,]?[0-9])
      | (?P<digits>(?:{_GROUPED}|{_INDIAN}|[0-9]++)(?:\.[0-9]*+)?|\.[0-9]++)
    )
    (?:[eE](?P<short>[+-]?[0-9]++)|(?:[ ]?[*x×][ ]?10)?[ ]?\^[ ]?[({{]?(?P<long>[+-]?[0-9]++)[)}}]?)?""",
    re.VERBOSE,
)
_SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_RAISED = re.compile("(?<=10)[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]++")
_AREA = re.compile(r"(?<=[A-Za-z]) ?(?:\^ ?\{?[23]\}?|[²³])")
_LATEX = (
    (re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mathit|mbox|operatorname)\*? ?\{([^{}]*)\}"), r" \1 "),
    (re.compile(r"\\boxed ?\{([^{}]*)\}"), r" \1 "),
    (re.compile(r"(?<=[0-9])(?:\{,\}|\\!,|,\\!)(?=[0-9])"), ","),
    (re.compile(r"\^ ?\{? ?\\circ ?\}?|°"), " degrees "),
    (re.compile(r"\\[dtc]?frac ?\{ ?(-?[0-9]++) ?\} ?\{ ?([0-9]++) ?\}"), r" \1/\2 "),
    (re.compile(r"\\[dtc]?frac ?([0-9])(?:([0-9])| ?\{ ?([0-9]++) ?\})"), r" \1/\2\3 "),
    (re.compile(r"\\(?:times|cdot|ast)(?![A-Za-z])"), "*"),
    (re.compile(r"\\(?:approx|sim|simeq)(?![A-Za-z])"), "="),
    (re.compile(r"\\(?:rightarrow|to|implies|Rightarrow|therefore)(?![A-Za-z])"), "="),
    (re.compile(r"\\(?:displaystyle|left|right|quad|qquad)(?![A-Za-z])|\\[,;:! ]"), " "),
    (re.compile(r"\\([$%#])"), r"\1"),
    (re.compile(r"\*\*(?= ?[0-9({+-])"), "^"),
    (re.compile(r"\*\*|`"), " "),
    (re.compile(r" {2,}"), " "),
)
_SIDES = re.compile(r"(?<![<>!=])=(?![=>])|≈|≅|->|=>|→|⇒|∴")
_OPERATORS = re.compile(r"[+*^!√∛±|<>≤≥≠∞π?\\{}\[\]~]|(?:^|\s)[-/](?:\s|$)|(?<=[a-zA-Z])\($")
_NEVER = re.compile(
    r"\b(?:not|no|never|cannot|or|than|least|most|between|over|under|above|below|except|wrong|incorrect|plus|minus"
    r"|squared|cubed|root|factorial|divided|multiplied|pi|half|base|mod|modulo|sqrt|nor|neither|negative)\b|n['’]t\b",
    re.IGNORECASE,
)
_ABOUT = re.compile(r"(?:^|(?<=[=≈] ))~ ?(?=[0-9.])")
_PERCENT = re.compile(r" ?(?:%|per ?cent\b|percentage points?\b|pct\b)", re.IGNORECASE)
_SCALE = re.compile(rf" ?({'|'.join(SCALES)})s?\b", re.IGNORECASE)
_THOUSANDS = re.compile(r"[kK](?![A-Za-z])")


def read_quantity(text: str) -> Quantity:
    """The number; raises UnreadableError, SeveralError or OutOfBoundsError."""
    if len(text) > MAX_CHARS:
        raise OutOfBoundsError(f"more than {MAX_CHARS} characters")
    if reordered(text):
        raise UnreadableError("is shown in another order than it is stored")
    text = _plain(text)
    if text.count("(") != text.count(")"):
        raise UnreadableError("has a bracket without its other")
    if _NEVER.search(text):
        raise UnreadableError("has a word in it that may change what it says")
    readings: dict[tuple[Fraction, bool], Quantity] = {}
    failure: ValueError = UnreadableError("holds no number")
    for side in _SIDES.split(text):
        try:
            quantity = _side(side)
        except (UnreadableError, SeveralError) as error:
            failure = error
            continue
        readings[quantity[:2]] = quantity
    if len(readings) > 1:
        raise SeveralError("calls numbers equal that are not")
    if not readings:
        raise failure
    return next(iter(readings.values()))


def _plain(text: str) -> str:
    text = "".join(map(_spelled, seen(text))).replace("\\$", "$")
    text = _RAISED.sub(lambda raised: "^" + raised[0].translate(_SUPERSCRIPT), text)
    text = plain(text)
    for pattern, plainer in _LATEX:
        text = pattern.sub(plainer, text)
    return in_digits(_ABOUT.sub("", plain(_AREA.sub("²", text))))


def _spelled(character: str) -> str:
    """ "½" as " 1/2", so that it is no digit of the number before it."""
    if unicodedata.decomposition(character).startswith("<fraction>"):
        return f" {unicodedata.normalize('NFKC', character).replace('⁄', '/')}"
    return character


def _side(text: str) -> Quantity:
    """The number of a text without "="."""
    found = list(_NUMBER.finditer(text))
    if len(found) != 1:
        raise SeveralError("says several numbers") if found else UnreadableError("holds no number")
    number = found[0]
    before, behind = text[: number.start()], text[number.end() :]
    _check_before(before, number)
    if _OPERATORS.search(before.strip()) or (before[-1:].isalpha() and number["sign"]):
        raise UnreadableError("has more in it than a number")
    value = _value(number)
    if scale := _SCALE.match(behind):
        name = scale[1].lower()
        value, behind = value * 10 ** SCALES[name] * (12 if name == "dozen" else 1), behind[scale.end() :]
    elif _THOUSANDS.match(behind):
        value, behind = value * 1000, behind[1:]
    percent = _PERCENT.match(behind)
    behind = behind[percent.end() :] if percent else behind
    _check_behind(behind)
    return Quantity(value, bool(percent), _unit(number["currency"], before, behind))


def _check_before(before: str, number: re.Match[str]) -> None:
    word = before.rstrip(". ").rpartition(" ")[2].lower()
    glued = before[-1:].isalnum() or (before.endswith(("_", "(")) and before[-2:-1].isalpha())
    if glued and word not in UNITS:
        raise UnreadableError("is glued to what stands before it")
    if number["sign"] and (number["inner"] or before.endswith(")")):
        raise UnreadableError("has two signs")


def _check_behind(behind: str) -> None:
    if _OPERATORS.search(behind):
        raise UnreadableError("has more in it than a number")
    word = re.match(r"( ?)([^\W\d_]+)", behind)
    if behind[:1] in ("/", "_", "("):
        raise UnreadableError("goes on behind the number")
    if word is None:
        return
    name, glued = word[2], not word[1]
    if len(name) == 1 and name not in BESIDE and not (name in "aA" and not glued):
        raise UnreadableError("is a variable's multiple")
    if len(name) == 2 and glued and name.lower() not in SHORT:
        raise UnreadableError("is a product of variables")


def _value(number: re.Match[str]) -> Fraction:
    exponent = number["short"] or number["long"] or "0"
    digits = re.sub("[, '_]", "", number["digits"] or number["over"] or "10")
    if len(digits) + len(number["under"] or "") > MAX_DIGITS or len(exponent) > 5:
        raise OutOfBoundsError(f"a number of more than {MAX_DIGITS} digits")
    if abs(int(exponent)) > MAX_EXPONENT:
        raise OutOfBoundsError(f"an exponent beyond {MAX_EXPONENT}")
    if number["power"]:
        value = Fraction(10) ** int(exponent)
    elif number["over"]:
        value = _fraction(number)
    elif number["long"] and "10" not in number[0][number.end("digits") - number.start() : -len(exponent)]:
        raise UnreadableError("is a power")
    else:
        value = Fraction(digits) * Fraction(10) ** int(exponent)
    return -value if "-" in (number["sign"], number["inner"]) else value


def _fraction(number: re.Match[str]) -> Fraction:
    whole, over, under = (int(number[name] or 0) for name in ("whole", "over", "under"))
    if not under or number["short"] or number["long"]:
        raise UnreadableError("is no fraction")
    if number["whole"] and over >= under:
        raise UnreadableError("is no mixed number")
    return whole + Fraction(over, under)


def _unit(currency: str, before: str, behind: str) -> str:
    if currency:
        return UNITS[currency.lower()]
    words = behind.strip(" .,;").lower()
    name = words if words in UNITS else re.split(r"[ ,;]", words)[0]
    if name in UNITS and not re.match(r"\S+ (?:per|/|a|an)\b", words):
        return UNITS[name]
    return UNITS.get(before.rstrip(". ").rpartition(" ")[2].lower(), "")
