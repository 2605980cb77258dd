"""Numbers in English words, up to the hundreds, as digits: "twenty-four apples" is "24 apples"."""

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


def in_digits(text: str) -> str:
    """The text with its number in digits; the very same text where that is not plain to see."""
    number = _NUMBER.fullmatch(text)
    if number is None or any(word in (*_SMALL, *_TENS) for word in number["behind"].lower().split()):
        return text
    parts = {name: (word or "").lower() for name, word in number.groupdict().items()}
    hundreds = parts["hundreds"] or parts["round"]
    value = 100 * (1 if hundreds == "a" else _SMALL.index(hundreds or "zero"))
    value += 10 * (_TENS.index(parts["tens"]) + 2 if parts["tens"] else 0)
    value += _SMALL.index(parts["ones"] or "zero") + _SMALL.index(parts["small"] or "zero")
    return f"{value}{parts['behind']}"
