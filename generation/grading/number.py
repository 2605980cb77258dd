"""Judges an answer that is one number, exactly: by its value, and by its unit or the thing counted.

Each side of an answer ("x = 5 km") is a label, a number and words, checked against word lists; anything else is
unknown: sentences, bounds, ranges, sums. Does no arithmetic and converts no units.
"""

import re
from decimal import Context, Decimal, Inexact
from fractions import Fraction
from functools import lru_cache
from string import ascii_lowercase
from typing import NamedTuple

from cluster.texts import load_table
from generation.grading.errors import OutOfBoundsError, RefusedError, SeveralError, UnreadableError
from generation.grading.text import DIFFERS, IN_TEXT, check_readable, plain, rewritten, to_latex
from generation.records import ANOTHER_UNIT, GOLD_UNREADABLE, Question

MAX_DIGITS = 1000
MAX_EXPONENT = 999

_GROUPED = r"(?!0)[0-9]{1,3}(?P<separator>[, '_])[0-9]{3}(?:(?P=separator)[0-9]{3})*+(?![0-9])"
_NUMBER = re.compile(
    rf"""(?P<sign>[+-][ ]?)?(?:(?P<currency>(?:US)?\$|[€£¥₹])[ ]?)?(?P<inner>[+-])?
    (?:\([ ]?(?=[0-9.,/ ]+\)))?
    (?: (?P<power>10)[ ]?(?=\^)
      | (?:(?P<whole>[0-9]++)(?:[ ]|[ ]and[ ]))?(?P<over>[0-9]++)[ ]?/[ ]?(?P<under>[0-9]++)(?![.,]?[0-9])
      | (?P<digits>(?:{_GROUPED}|[0-9]++)(?:\.[0-9]*+)?|\.[0-9]++)
    )
    (?:[eE](?P<short>[+-]?[0-9]++)|(?P<times>[ ]?\*[ ]?10)?[ ]?\^[ ]?[({{]?(?P<long>[+-]?[0-9]++)[)}}]?)?""",
    re.VERBOSE,
)
_EQUALS = re.compile(r"(?<![<>!=])=(?![=>])")
# What may be set equal to the number: "x", "m + n", "f(2)", "12 + 12". Not "2x", which is still to be solved.
_CALLED = re.compile(r"(?!-)[^0-9<>±|]*|[A-Za-z]\([^()=]*\)|[0-9+\-*/(). ]+")

_WORDS = load_table("generation.grading", "words.toml")
_LABEL, _SHORT = (frozenset(_WORDS["number"][name].split()) for name in ("label", "short"))
_SMALL, _TENS = (_WORDS["number"][name].split() for name in ("small", "tens"))
SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12, "k": 3}
# Words after a number that change its value, or make several of it.
CHANGING = frozenset((*_SMALL[2:], *_TENS, *SCALES, *_WORDS["number"]["changing"].split()))
UNITS = {name: unit for unit, names in _WORDS["units"].items() for name in (unit, *names.split())}
_CURRENCIES = frozenset("$€£¥₹¢")

# Not "3 K", which may be kelvin.
_SCALE = re.compile(rf" ?({'|'.join(SCALES)})(?<! k)(?![A-Za-z])", re.IGNORECASE)
_BEHIND = re.compile(r"(?:[ /,-]*+(?:[A-Za-z]++\.?+|[%²³$€£¥₹¢]))*+[)'\" ]*+\.?")
_WORD = re.compile(r"[A-Za-z]+|[/%²³$€£¥₹¢]")
_SPELLED = {word: value for value, word in enumerate(_SMALL)} | {
    f"{tens}{between}{ones}".rstrip(" -"): 10 * ten + one
    for ten, tens in enumerate(_TENS, 2)
    for one, ones in enumerate(("", *_SMALL[1:10]))
    for between in " -"
}
_BEGINS_SPELLED = re.compile(rf"({'|'.join(sorted(_SPELLED, reverse=True))})((?: [a-z%]+){{0,2}})", re.IGNORECASE)


class Quantity(NamedTuple):
    """A number, with its unit and what it counts."""

    value: Fraction
    unit: frozenset[str]  # known units, including "²", "/" and "%"
    things: frozenset[str]  # the units and all other words that may name what is counted, without plural endings
    grouped: bool  # True if it is written with a comma as thousands separator


def judge_number(answer: str, question: Question) -> str:
    """Return "" if the number in the answer equals that in `question.answer`, else what is wrong."""
    gold = number_of(question.answer)
    if gold is None:
        raise RefusedError("the gold answer is no number", GOLD_UNREADABLE)
    return "" if any(one == other for one, other in comparisons(read_quantity(answer), gold)) else DIFFERS


# RL asks the same questions again and again.
@lru_cache(maxsize=1024)
def number_of(text: str) -> Quantity | None:
    """Return the one number in a text, or None."""
    try:
        return read_quantity(text)
    except RefusedError:
        return None


def comparisons(said: Quantity, gold: Quantity) -> list[tuple[Fraction, Fraction]]:
    """Return pairs of values, one of which must be equal for the answer to be right.

    If only one of the two has a percent sign, it may be a unit or a hundredth: 12% is right for 12 and for 0.12.
    Raises RefusedError if units or the things counted differ, or if a comma may be a decimal one.
    """
    one, other = said.unit - {"%"}, gold.unit - {"%"}
    differ = one != other if one and other else not (said.things <= gold.things or gold.things <= said.things)
    # For 5 or 0.05, "5¢" may mean cents or dollars; "5%" is no length.
    if differ or one ^ other >= {"¢"} or ("%" in said.unit and other) or ("%" in gold.unit and one):
        raise RefusedError("has another unit", ANOTHER_UNIT)
    if said.grouped and said.value == 1000 * gold.value and gold.value.denominator > 1:
        raise UnreadableError('has a comma that may be a decimal one: "12,345" for 12.345')
    pairs = [(said.value, gold.value)]
    if ("%" in said.unit) != ("%" in gold.unit):
        pairs.append((said.value, 100 * gold.value) if "%" in said.unit else (100 * said.value, gold.value))
    return pairs


def read_quantity(text: str) -> Quantity:
    """Return the one number in a text. Raises UnreadableError, SeveralError or OutOfBoundsError."""
    check_readable(text)
    text = rewritten(IN_TEXT.sub(r" \1 ", plain(to_latex(text).replace("\\$", "$"))), "numbers")
    if text.count("(") != text.count(")"):
        raise UnreadableError("has a bracket without its other")
    said: dict[Fraction, Quantity] = {}
    sides = _EQUALS.split(in_digits(plain(text.lstrip("~# "))))
    failure: RefusedError = UnreadableError("holds no number")
    for side in map(str.strip, sides):
        try:
            quantity = _read_side(side)
            said[quantity.value] = quantity
        except (UnreadableError, SeveralError) as error:
            failure = error
            if len(sides) > 1 and (not _CALLED.fullmatch(side) or CHANGING & {*re.findall("[a-z]+", side.lower())}):
                raise UnreadableError("is an equation that is not solved") from error
    if len(said) > 1:
        raise SeveralError("calls numbers equal that are not")
    if not said:
        raise failure
    return next(iter(said.values()))


def in_digits(text: str) -> str:
    """Replace a leading number word below a hundred with digits: "twenty-four apples" becomes "24 apples"."""
    number = _BEGINS_SPELLED.fullmatch(text)
    return f"{_SPELLED[number[1].lower()]}{number[2]}" if number else text


def _read_side(text: str) -> Quantity:
    found = list(_NUMBER.finditer(text))
    if len(found) != 1:
        raise SeveralError("says several numbers") if found else UnreadableError("holds no number")
    number = found[0]
    before, behind = text[: number.start()], text[number.end() :]
    ahead = [word.strip(":,.~#('\"").lower() for word in (*before.split(), number["currency"] or "")]
    money = {UNITS[word] for word in ahead if UNITS.get(word) in _CURRENCIES}
    if any(word and word not in _LABEL and UNITS.get(word) not in _CURRENCIES for word in ahead):
        raise UnreadableError("has more before the number than a label")
    if before[-1:].isalnum() or (number["sign"] and (number["inner"] or (before and number["sign"] != "-"))):
        raise UnreadableError("is glued to what stands before it, or has a dash or two signs")
    value = _value(number)
    if scale := _SCALE.match(behind):
        value, behind = value * 10 ** SCALES[scale[1].lower()], behind[scale.end() :]
    if not _BEHIND.fullmatch(behind):
        raise UnreadableError("goes on behind the number")
    things = money | _things(_WORD.findall(behind), is_money=bool(money))
    return Quantity(value, frozenset(things & UNITS.keys()), frozenset(things), "," in (number["digits"] or ""))


def _things(words: list[str], *, is_money: bool) -> set[str]:
    """Return the units and things named by words. Raises UnreadableError if one changes the number."""
    things: set[str] = set()
    for word in words:
        name = word.lower()
        is_known = name in UNITS and (len(word) > 1 or name == word or word in "CFL")
        if name in CHANGING or (len(word) == 1 and word.isalpha() and is_money):
            raise UnreadableError("has a word in it that makes another number of it")
        if not is_known and name not in _SHORT and not is_noun(name):
            raise UnreadableError("is a product of variables")
        things.add(UNITS[name] if is_known else re.sub(r"(?:ies|es|s|y|e)$", "", name))
    return things


def is_noun(name: str) -> bool:
    """Return False for what may be a product of variables, such as "xz", "abc" and "xyz"."""
    return len(name) > 2 and bool(set(name) & set("aeiou")) and "".join(sorted(name)) not in ascii_lowercase


def _value(number: re.Match[str]) -> Fraction:
    exponent = number["short"] or number["long"] or "0"
    digits = re.sub("[, '_]", "", number["digits"] or number["over"] or "10")
    if len(digits) + len(number["under"] or "") > MAX_DIGITS or len(exponent) > 5 or abs(int(exponent)) > MAX_EXPONENT:
        raise OutOfBoundsError(f"a number of more than {MAX_DIGITS} digits")
    if number["over"]:
        whole, over, under = (int(number[name] or 0) for name in ("whole", "over", "under"))
        if not under or exponent != "0" or (number["whole"] and over >= under):
            raise UnreadableError("is no fraction and no mixed number")
        value = whole + Fraction(over, under)
    elif number["long"] and not number["times"] and not number["power"]:
        raise UnreadableError("is a power")
    else:
        value = Fraction(1 if number["power"] else digits) * Fraction(10) ** int(exponent)
    return -value if "-" in (number["sign"] or number["inner"] or "") else value


_MILLIONTH = Fraction(1, 10**6)
_ENDLESS = Fraction(1, 10**40)  # of the value; the last digit of a decimal that anyone writes is larger
_EXACT = Context(prec=10_000, traps=[Inexact])


def nearly_equal(said: Fraction, gold: Fraction) -> bool | None:
    """Return True if two numbers are the same answer, where one is a decimal and neither is meant to be exact.

    They are if they agree to within a millionth both relatively and absolutely, or if one is the other rounded to six
    or more digits, or with a relative error of a millionth at most, as a 32-bit float has. Only zero is near zero.
    None if one is the other, a non-terminating decimal, rounded to four or five digits: 3.1416 for pi, 0.3333 for 1/3.
    """
    apart, bound = abs(said - gold), abs(gold) * _MILLIONTH
    if apart <= min(bound, _MILLIONTH):
        return True
    (finest, _), (place, coarser) = sorted((_last_place(one), abs(one)) for one in (said, gold))
    if 2 * apart > place:
        return False
    digits = coarser / place
    if apart <= bound or digits >= 10**5:
        return True
    return None if finest < _ENDLESS * coarser and digits >= 10**3 else False


def _last_place(value: Fraction) -> Fraction:
    """Return the place value of the last nonzero digit: 1/10 for 2.50, 10 for 1230; 0 for non-terminating decimals."""
    try:
        digits = _EXACT.divide(Decimal(value.numerator), Decimal(value.denominator)).normalize(_EXACT)
    except Inexact:
        return Fraction(0)
    return Fraction(10) ** int(digits.as_tuple().exponent)
