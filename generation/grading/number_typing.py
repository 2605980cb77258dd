"""The one number that an answer says, in any usual typing, as an exact fraction.

Reads thousands separators, decimals, exponents, fractions, mixed numbers, percent, currency and units,
labels, "x = 5", and a short sentence round the number. Knows no arithmetic: "12 + 12" is no number, and
what can be read in two ways is not read.
"""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction
from string import ascii_lowercase
from typing import NamedTuple

from generation.grading.number_words import CHANGED_AHEAD, CHANGED_BEHIND, SPELLED, in_digits
from generation.grading.plain_answer import plain, reordered, seen
from generation.grading.refusals import OutOfBoundsError, RefusedError, SeveralError, UnreadableError
from generation.grading.units import BESIDE, CURRENCIES, SCALES, SHORT, UNITS, nouns, unit_ahead

MAX_CHARS = 2000
MAX_DIGITS = 1000
MAX_EXPONENT = 999


class Quantity(NamedTuple):
    """A number with what stands beside it."""

    value: Fraction
    percent: bool
    unit: str
    """One of the units that are known by name, with its power and what it is per; "" for any other and for none."""
    counted: Fraction | None
    """3 of "three quarters" and 2 of "2 dozen", where the word may name things that are counted."""
    nouns: frozenset[str]
    """What stands behind it in words, as `units.nouns` has them."""


class UnsolvedError(UnreadableError):
    """An equation for something that is not asked for, as "2x = 18" is."""


_GROUPED = r"(?!0)[0-9]{1,3}(?P<separator>[, '_])[0-9]{3}(?:(?P=separator)[0-9]{3})*+(?![0-9])"
_INDIAN = r"(?!0)[0-9]{1,2}(?:,[0-9]{2}){1,9},[0-9]{3}(?![0-9])"
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
_POWER_OF_UNIT = re.compile(r"(?<=[A-Za-z]) ?(?:\^ ?\{?([23])\}?|([²³]))")
_LATEX = (
    (re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mathit|mbox|operatorname)\*? ?\{([^{}]*)\}"), r" \1 "),
    (re.compile(r"\\boxed ?\{([^{}]*)\}"), r" \1 "),
    (re.compile(r"(?<=[0-9])(?:\\!,|,\\!)(?=[0-9])"), ","),
    (re.compile(r"\^ ?\{? ?\\circ ?\}?"), " degrees "),
    (re.compile(r"\\[dtc]?frac ?\{ ?(-?[0-9]++) ?\} ?\{ ?([0-9]++) ?\}"), r" \1/\2 "),
    (re.compile(r"\\[dtc]?frac ?([0-9])(?:([0-9])| ?\{ ?([0-9]++) ?\})"), r" \1/\2\3 "),
    (re.compile(r"\\(?:times|cdot|ast)(?![A-Za-z])"), "*"),
    (re.compile(r"\\(?:approx|sim|simeq)(?![A-Za-z])"), "="),
    (re.compile(r"\\(?:rightarrow|to|implies|Rightarrow|therefore)(?![A-Za-z])"), "="),
    (re.compile(r"\\(?:displaystyle|left|right|quad|qquad)(?![A-Za-z])|\\[,;:! ]"), " "),
    (re.compile(r"\\([$%#])"), r"\1"),
)
DECIMAL_COMMA = re.compile(
    r"(?<![0-9.}])(0(?=\{)|[0-9]++(?=\{,\}(?![0-9]{3}(?![0-9]))))\{,\}(?=[0-9]++(?!\{,\}|\.[0-9]))"
)
"""A number up to LaTeX's comma without a space, where that is not between thousands: 0{,}125 and 3{,}14."""
_MARKS = (
    (DECIMAL_COMMA, r"\1."),
    (re.compile(r"(?<=[0-9])\{,\}(?=[0-9])"), ","),
    (re.compile(r"[°∘]"), " degrees "),
    (re.compile(r"\*\*(?= ?[0-9({+-])"), "^"),
    (re.compile(r"\*\*|`"), " "),
    (re.compile(r" {2,}"), " "),
)
_ONE_COMMA = re.compile(r"(?<![0-9.,}])([0-9]{1,3})(?:,|\{,\})([0-9]{3})(?![0-9.,{])")
_SIDES = re.compile(r"(?<![<>!=])=(?![=>])|≈|≅|->|=>|→|⇒|∴")
_OPERATORS = re.compile(r"[+*^!±|<>π?\\{}\[\]~¬‰‱∀-⋿⌈-⌋]|(?:^|\s)[-/](?:\s|$)")
# A function or an index; a sign that does not touch its number; what may stand before a sign.
_CALLED = re.compile(r"(?:[^\W\d_][(_]|\b[^\W\d_] \() ?$")
_APART = re.compile(r"[-+*/][ ($'\")]*$")
_IS = re.compile(r"\b(?:is|was|be|equals|to) $", re.IGNORECASE)
_NAME = re.compile(r"(?:^|[^\w])[^\W\d_]{2,} $")
# Lines over digits and raised ones, a variable less, a variable in brackets; digits without an end.
_GOES_ON = re.compile(r"[_(\u0300-\u036f²³¹⁰-⁾]| ?-[^\W\d_](?![^\W\d_])| \( ?[xyznk] ?\)")
_WORD_BEHIND = re.compile(r"([ /]?) ?([^\W\d_²³]+)")
_ENDLESS = re.compile(r" ?(?:\.\.|…)")
_THING = re.compile(r" ?(?:quarter|halve)s?\b")
# An equation that is not solved: "2x = 18"; but "a + b = 18" may be what is asked for.
_UNSOLVED = re.compile(
    r"(?=.*[-+*/^0-9²³])[-+*/^(). 0-9$]*+"
    rf"(?![{''.join(sorted(BESIDE))}])[A-Za-z](?! ?[(_0-9A-Za-z$])[-+*/^(). 0-9²³$]*+"
)
_NEVER = re.compile(
    r"\b(?:not|no|never|cannot|or|than|least|most|between|over|under|above|below|except|wrong|incorrect|plus|minus"
    r"|squared|cubed|root|factorial|divided|multiplied|pi|half|base|mod|modulo|sqrt|nor|neither|negative)\b|n['’]t\b",
    re.IGNORECASE,
)
_MINUS_BRACKET = re.compile(r"-\( ?(?=[0-9.])([0-9.,/ ]+)\)")
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
            if _UNSOLVED.fullmatch(side) and side != text:
                raise UnsolvedError("is an equation that is not solved") from error
            failure = error
            continue
        readings[quantity[:2]] = quantity
    if len(readings) > 1:
        raise SeveralError("calls numbers equal that are not")
    if not readings:
        raise failure
    return next(iter(readings.values()))


def read_with_decimal_comma(text: str) -> Quantity | None:
    """Read "12,345" with a decimal comma; None if that cannot be."""
    said, commas = _ONE_COMMA.subn(r"\1.\2", text)
    try:
        return read_quantity(said) if commas == 1 and len(text) <= MAX_CHARS else None
    except RefusedError:
        return None


def _plain(text: str) -> str:
    if not text.isascii():
        text = "".join(map(_spelled, seen(text)))
        text = _RAISED.sub(lambda raised: "^" + raised[0].translate(_SUPERSCRIPT), text)
    text = text.replace("\\$", "$")
    text = plain(text)
    for pattern, plainer in (*_LATEX, *_MARKS) if "\\" in text else _MARKS:
        text = pattern.sub(plainer, text)
    text = _POWER_OF_UNIT.sub(lambda power: "²" if (power[1] or power[2]) in "2²" else "³", text)
    return in_digits(_ABOUT.sub("", plain(_MINUS_BRACKET.sub(r"-\1", text))))


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
    value, counted = _value(number), None
    if number["over"] and (thing := _THING.match(behind)):
        counted, behind = Fraction(number["over"]), behind[thing.end() :]
    elif scale := _SCALE.match(behind):
        name = scale[1].lower()
        counted = value if name == "dozen" else None
        value, behind = value * 10 ** SCALES[name] * (12 if name == "dozen" else 1), behind[scale.end() :]
    elif _THOUSANDS.match(behind):
        value, behind = value * 1000, behind[1:]
    _check_spelled(before, behind, value)
    percent = _PERCENT.match(behind)
    behind = behind[percent.end() :] if percent else behind
    _check_behind(behind, number)
    unit = _unit(number["currency"] or "", before, behind)
    return Quantity(value, bool(percent), unit, counted, nouns(behind))


def _check_before(before: str, number: re.Match[str]) -> None:
    word = before.rstrip(". ").rpartition(" ")[2].lower()
    if (before[-1:].isalnum() and UNITS.get(word) not in CURRENCIES) or _CALLED.search(before):
        raise UnreadableError("is glued to what stands before it")
    if _OPERATORS.search(before.strip()) or _APART.search(before):
        raise UnreadableError("has more in it than a number")
    if CHANGED_AHEAD.search(before):
        raise UnreadableError("has a word in it that makes another number of it")
    if number["sign"] and (number["inner"] or not _is_sign(before, apart=number[0][1] == " ")):
        raise UnreadableError("has two signs, or a dash")


def _is_sign(before: str, *, apart: bool) -> bool:
    """It is no dash and no difference: "Total - 5", "x -5"."""
    if not before.strip() or before[-1] in "($'\"":
        return True
    if before[-1] != " ":
        return False
    if not before.rstrip()[-1].isalnum() and before.rstrip()[-1] not in ")]":
        return True
    return bool(_IS.search(before) if apart else _NAME.search(before))


def _check_spelled(before: str, behind: str, value: Fraction) -> None:
    """No other number stands beside it in words; "18 (eighteen)" is one."""
    for words in (before, behind):
        if SPELLED.search(words) and in_digits(words.strip(" ()")).split(" ")[0] != str(value):
            raise SeveralError("says several numbers")


def _check_behind(behind: str, number: re.Match[str]) -> None:
    if _OPERATORS.search(behind) or _GOES_ON.match(behind):
        raise UnreadableError("goes on behind the number")
    if CHANGED_BEHIND.match(behind) or ("." in (number["digits"] or "")[:-1] and _ENDLESS.match(behind)):
        raise UnreadableError("has a word in it that makes another number of it")
    word = _WORD_BEHIND.match(behind)
    if word is None:
        return
    name, glued = word[2], not word[1]
    if word[1] == "/" and name.lower() not in UNITS:
        raise UnreadableError("is a quotient")
    if len(name) == 1 and (name not in BESIDE or number["currency"]) and not (name in "aA" and not glued):
        raise UnreadableError("is a variable's multiple")
    if name.lower() not in SHORT and ((len(name) == 2 and glued) or _is_product(name)):
        raise UnreadableError("is a product of variables")


def _is_product(name: str) -> bool:
    """Of variables, as "ab" and "xz" are."""
    return len(name) > 1 and (name in ascii_lowercase or set(name) <= set("xyz"))


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
    ahead = UNITS.get((currency or before.rstrip(". ").rpartition(" ")[2]).lower(), "")
    if ahead in CURRENCIES:
        return unit_ahead(ahead + behind.lower())
    return unit_ahead(behind.lower())
