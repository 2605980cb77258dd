r"""What two mathematical texts leave open before any is worked out: dates, primes, options, and numbers' bases.

Knows typing. math-verify takes a date for a difference or a quotient, and drops primes and bases.
"""

from __future__ import annotations

import re

from generation.grading.math_typing import words_of
from generation.grading.plain_answer import plain
from generation.records import Outcome

_DAY, _MONTH, _YEAR = r"(?:0?[1-9]|[12][0-9]|3[01])", r"(?:0?[1-9]|1[0-2])", r"[12][0-9]{3}"
_DATE = re.compile(rf"{_YEAR}([-/.]){_MONTH}\1{_DAY}|{_DAY}([-/.]){_DAY}\2{_YEAR}|{_DAY}/{_DAY}/[0-9]{{2}}")
_PRIME = re.compile(r"(?<=[0-9A-Za-z)}])(?:['\"′″]|\^ ?\{? ?(?:\\prime ?)+\}?)+(?![A-Za-z])")
_TRANSPOSED = re.compile(r"\^ ?\{? ?(?:T|\\top|\\intercal|\\dagger)(?![A-Za-z])")
_BY_NAME = re.compile(
    r"\b(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*|(?<![0-9])([0-9]++)(?:st|nd|rd|th)?\b"
)
_ORDINAL = re.compile(r"(?<=[0-9]) ?\^ ?(?:\{ ?(?:st|nd|rd|th) ?\}|(?:st|nd|rd|th)(?![A-Za-z]))")
_LEFT_SIDE = re.compile(r"[^=]*=")
_OPTION = re.compile(r"[A-Z]")
_NAMED_BASES = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10}
_BASE = rf" ?_ ?\{{? ?(?:\\text ?\{{ ?)?([0-9]{{1,2}}|{'|'.join(_NAMED_BASES)}) ?\}}{{0,2}}"
_IN_BASE = re.compile(rf"(-?)\(?((?=[A-F]*+[0-9])[0-9A-F]++)\)?{_BASE}")
_INDEXED = re.compile(rf"(?<![A-Za-z_^0-9])[0-9]+\)?{_BASE}")
_DIGITS = re.compile(r"(-?)((?=[A-F]*+[0-9])[0-9A-F]++)")
_LARGEST = 36


def is_ambiguous(gold: str, said: str) -> bool:
    """A date, a prime or a T behind a matrix that only one side has, or a gold ordinal that may be a power: 2^{nd}."""
    gold, said = plain(gold), plain(said)
    if _DATE.fullmatch(gold) or _DATE.fullmatch(said) or _ORDINAL.search(gold):
        return True
    if (day := _day(gold)) and day == _day(said):
        return True
    if ("=" in gold) != ("=" in said):
        gold, said = (_LEFT_SIDE.sub("", text, count=1) for text in (gold, said))
    return _primes(gold) != _primes(said) or len(_TRANSPOSED.findall(gold)) != len(_TRANSPOSED.findall(said))


def are_named_apart(gold: str, said: str) -> bool:
    """Two equations with other left sides: AB = 5 and CD = 5."""
    sides = ["".join(text.split()).lower().partition("=") for text in (gold, said)]
    return all(equals for _, equals, _ in sides) and sides[0][0].strip("$*") != sides[1][0].strip("$*")


def _day(text: str) -> list[str]:
    """Of a date with its month by name, in one order; nothing of other texts."""
    found = [month or number for month, number in _BY_NAME.findall(text.lower())]
    return sorted(found) if len(found) > 1 and sum(one.isalpha() for one in found) == 1 else []


def without_ordinal(said: str) -> str:
    """A number without the raised ending of an ordinal."""
    return _ORDINAL.sub("", said)


def _primes(text: str) -> int:
    return sum(len(re.findall(r"['′]|\\prime", one)) + 2 * len(re.findall('["″]', one)) for one in _PRIME.findall(text))


def names_option(gold: str, said: str) -> bool:
    """The gold option's letter is in an answer that says more: "(B) 5" for B."""
    letter = words_of(gold).upper()
    if not _OPTION.fullmatch(letter) or not _OPTION.search(gold) or words_of(said) == words_of(gold):
        return False
    return re.search(rf"\( ?{letter} ?\)|^(?:\\text ?\{{ ?)?{letter}[.:)]", said) is not None


def judged_in_bases(gold: str, said: str) -> Outcome | None:
    """The outcome where a number has a base; None where none has, or all have the same in longer formulas."""
    wanted, given = _IN_BASE.fullmatch(gold), _IN_BASE.fullmatch(said)
    if not wanted and not given:
        return None if sorted(_indices(gold)) == sorted(_indices(said)) else "unknown"
    if wanted and given:
        if _base(wanted) == _base(given):
            return "right" if _digits(wanted) == _digits(given) else "wrong"
        return _outcome(_value(wanted), _value(given))
    number, other = (wanted, _DIGITS.fullmatch(said)) if wanted else (given, _DIGITS.fullmatch(gold))
    if number is None or other is None:
        return "unknown"
    if _digits(number) == _digits(other):
        # The question names the base, as a rule; an answer may name another than it does.
        return "right" if wanted else "unknown"
    return _outcome(_value(number), int(other[1] + other[2]) if other[2].isdecimal() else None)


def _outcome(one: int | None, other: int | None) -> Outcome:
    """Of two values in different bases: equal ones may not be in the base that is asked for."""
    return "unknown" if one is None or other is None or one == other else "wrong"


def _indices(text: str) -> list[str]:
    return ["".join(found[0].split()).replace("{", "").replace("}", "") for found in _INDEXED.finditer(text)]


def _base(number: re.Match[str]) -> int:
    return _NAMED_BASES[number[3]] if number[3] in _NAMED_BASES else int(number[3])


def _digits(number: re.Match[str]) -> str:
    return number[1] + (number[2].lstrip("0") or "0")


def _value(number: re.Match[str]) -> int | None:
    """None where a digit is none of its base."""
    base = _base(number)
    try:
        return int(number[1] + number[2], base) if 1 < base <= _LARGEST else None
    except ValueError:
        return None
