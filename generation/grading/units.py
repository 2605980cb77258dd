"""The names of units, currencies and powers of ten that stand beside a number. Knows no numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

_SAME = {
    "$": "$ dollar dollars usd us$",
    "€": "€ euro euros eur",
    "£": "£ pound pounds gbp",
    "¥": "¥ yen jpy yuan rmb",
    "₹": "₹ rs rupee rupees inr",
    "¢": "¢ cent cents",
    "degrees": "degree degrees deg",
    "h": "h hr hrs hour hours",
    "min": "min mins minute minutes",
    "s": "s sec secs second seconds",
    "day": "day days",
    "week": "week weeks",
    "month": "month months",
    "year": "year years yr yrs",
    "km": "km kms kilometer kilometers kilometre kilometres",
    "m": "m meter meters metre metres",
    "cm": "cm centimeter centimeters centimetre centimetres",
    "mm": "mm millimeter millimeters millimetre millimetres",
    "mi": "mi mile miles",
    "ft": "ft foot feet",
    "in": "in inch inches",
    "yd": "yd yard yards",
    "kg": "kg kgs kilogram kilograms",
    "g": "g gram grams",
    "lb": "lb lbs",
    "oz": "oz ounce ounces",
    "l": "l liter liters litre litres",
    "ml": "ml milliliter milliliters millilitre millilitres",
    "mi/h": "mph",
    "km/h": "kmh kph",
    "m/s": "mps",
    "rad": "rad radian radians",
    "am": "am",
    "pm": "pm",
}
UNITS: Mapping[str, str] = MappingProxyType({name: unit for unit, names in _SAME.items() for name in names.split()})
"""From every name in lower case to the one name of its unit."""

CURRENCIES = frozenset("$€£¥₹¢")

BESIDE = frozenset("mgshlLCFNJWVA")
"""Letters that may stand alone behind a number; any other there is a variable, as in 2x. K is kelvin or thousand."""
SHORT = frozenset({*UNITS, "th", "st", "nd", "rd", "ms", "hz", "kb", "mb", "gb", "kw", "mw", "pt", "px"})
"""Names of two letters that may stand glued to a number; others are a product of variables."""
SCALES: Mapping[str, int] = MappingProxyType(
    {
        **{"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12, "quadrillion": 15, "dozen": 0},
        **{"lakh": 5, "crore": 7, "bn": 9},
    }
)
"""Powers of ten in words; a dozen is 12 times its zeroth."""

_MEASURE = re.compile(
    r" ?-?(?:(?P<ahead>square|sq\.?|cubic|cu\.?) )?(?P<name>in(?! [a-z])|(?!in )[^\W\d_²³]+|[$€£¥₹¢])"
    r"(?: ?(?P<power>[²³])| (?P<scale>[cf])(?:elsius|ahrenheit)?\b)?"
    r"(?: ?(?:/|\bper\b|\ban?\b) ?(?P<under>[^\W\d_²³]+(?:[²³])?))?"
)


def unit_ahead(text: str) -> str:
    """The unit that a text in lower case begins with, with its power and what it is "per"; "" where none is known."""
    found = _MEASURE.match(text)
    if found is None or found["name"] not in UNITS:
        return ""
    power = found["power"] or ("" if not found["ahead"] else "²" if found["ahead"][0] == "s" else "³")
    under = found["under"] and f"/{UNITS.get(found['under'], found['under'])}"
    return f"{UNITS[found['name']]}{power}{found['scale'] or ''}{under or ''}"


_WORD = re.compile(r"[^\W\d_]+")
_PLURAL = re.compile(r"(?:ies|es|s|y|e)$")
_NO_NOUN = re.compile(
    r"units?|square|cubic|the|are|were|ha[sd]|have|for|from|with|that|this|all|and|per|each|every|more|left|total"
    r"|altogether|remaining|overall|about|approximately|exactly|only|correct|answer|final|result"
)


def nouns(text: str) -> frozenset[str]:
    """What a text counts, in one typing: the words that are more than grammar, each without its plural."""
    words = {word.lower() for word in _WORD.findall(text)}
    kept = (word for word in words if word in UNITS or (len(word) > 2 and not _NO_NOUN.fullmatch(word)))
    return frozenset(UNITS.get(word) or _PLURAL.sub("", word) for word in kept)


_NAMED = "|".join(sorted((name for name in UNITS if len(name) > 1 and name.isalpha()), reverse=True))
_POWER = r"(?: ?\^ ?\{?[23]\}?)?(?:(?: ?/ ?| per )[A-Za-z]+(?: ?\^ ?\{?[23]\}?)?)?"
_NO_UNIT = "or|and|more|less|fewer|hundred|thousand|million|billion|dozen|squared"
# math-verify's own list of units holds single letters: it makes 2 of "2ab".
_BEHIND_FORMULA = re.compile(
    rf"(?:(?<=[0-9)}}!])|(?<=\\pi))(?: (?:square |sq\.? |cubic )?(?:{_NAMED}|units?)\.?{_POWER}"
    rf"|(?:\\[,;! ]| )*\\(?:text|mathrm|mbox) ?\{{ ?(?![^{{}}]*\b(?:{_NO_UNIT})\b)[^{{}}]*\}}{_POWER})$",
    re.IGNORECASE,
)
_MARKS = re.compile(r"\\(?:text|mathrm|mbox) ?\{|\\[,;! ]|[{}]")


def unit_behind(formula: str) -> tuple[str, str]:
    """A formula in LaTeX without the unit that it ends with, and the name of that, by `unit_ahead` or `nouns`."""
    found = _BEHIND_FORMULA.search(formula)
    if found is None:
        return formula, ""
    name = " ".join(_MARKS.sub(" ", found[0]).split()).lower()
    name = re.sub(r" ?\^ ?([23])", lambda power: "²" if power[1] == "2" else "³", name)
    return formula[: found.start()], unit_ahead(name) or " ".join(sorted(nouns(name)))
