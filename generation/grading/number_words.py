"""Numbers in English words as digits, "twenty-four apples" as "24 apples", and words that make another number of one.

Up to the hundreds, and parts of one: "three quarters", "2 thirds".
"""

from __future__ import annotations

import re

_SMALL = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_ONES = "|".join(_SMALL[1:10])
_BELOW_HUNDRED = rf"(?:(?P<tens>{'|'.join(_TENS)})(?:[ -](?P<ones>{_ONES}))?|(?P<small>{'|'.join(_SMALL)}))"
# Only where the text begins with it, and hardly goes on: "the one that is left" says no number.
_NUMBER = re.compile(
    rf"(?:(?:(?P<hundreds>{_ONES}|a) hundred(?: and)? )?{_BELOW_HUNDRED}|(?P<round>{_ONES}|a) hundred)"
    r"(?P<behind>(?: (?!hundred|and|or|of|in)[a-z%]+){0,2})",
    re.IGNORECASE,
)
_PARTS = {
    **{"half": 2, "halve": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7},
    **{"eighth": 8, "ninth": 9, "tenth": 10, "twelfth": 12, "twentieth": 20, "hundredth": 100, "thousandth": 1000},
}
_PART = rf"(?:{'|'.join(_PARTS)})s?"
_FRACTION = re.compile(rf"(?:(?P<over>[0-9]{{1,9}}|{'|'.join(_SMALL)}|an?)[ -])?(?P<part>{_PART})", re.IGNORECASE)

SPELLED = re.compile(
    rf"\b(?:{'|'.join((*_SMALL[2:], *_TENS))}|hundred|thousand|million|billion|dozen)\b", re.IGNORECASE
)
"""A word that is a number; "one" is mostly none."""
_FUNCTION = r"(?:log|ln|lg|a?(?:sin|cos|tan)|arc(?:sin|cos|tan)|cot|sec|csc|exp|abs|floor|ceil)"
CHANGED_AHEAD = re.compile(
    rf"\b(?:{_FUNCTION}|twice|thrice|double|triple|times|up to|(?:square|cube|reciprocal|inverse|opposite|multiples?"
    rf"|divisors?|powers?|instead|{_PART}) of)(?: (?:an?|the))?[ ($'\"]*$",
    re.IGNORECASE,
)
"""Ends what stands before a number of which another is made: "twice", "a third of"."""
CHANGED_BEHIND = re.compile(
    rf" ?-?(?:(?:(?:and|to) (?:an? |the )?)?(?:{_PART}|first)\b|(?:doubled|tripled|quadrupled|halved|tens|repeating"
    r"|recurring|score|grand|gross|mil|mill|mio|mln|mn|tn|point|to one|times [b-z])\b|[十百千万萬亿億만억])",
    re.IGNORECASE,
)
"""Begins what stands behind such a number: "and a quarter", "doubled", or an unclear power of ten."""


def in_digits(text: str) -> str:
    """The text with its number in digits; the very same text where that is not plain to see."""
    if part := _FRACTION.fullmatch(text):
        return _as_fraction(part)
    number = _NUMBER.fullmatch(text)
    if number is None or any(word in (*_SMALL, *_TENS) for word in number["behind"].lower().split()):
        return text
    parts = {name: (word or "").lower() for name, word in number.groupdict().items()}
    hundreds = parts["hundreds"] or parts["round"]
    value = 100 * (1 if hundreds == "a" else _SMALL.index(hundreds or "zero"))
    value += 10 * (_TENS.index(parts["tens"]) + 2 if parts["tens"] else 0)
    value += _SMALL.index(parts["ones"] or "zero") + _SMALL.index(parts["small"] or "zero")
    return f"{value}{parts['behind']}"


def _as_fraction(part: re.Match[str]) -> str:
    """Behind the fraction stands the word of a thing that one can count, a coin or a piece."""
    over, name = (part["over"] or "").lower(), part["part"].lower()
    if not over and name != "half":
        return part[0]
    count = over if over.isdecimal() else _SMALL.index(over) if over in _SMALL else 1
    thing = f" {name}" if name.startswith(("quarter", "halve")) else ""
    return f"{count}/{_PARTS[name.removesuffix('s')]}{thing}"
