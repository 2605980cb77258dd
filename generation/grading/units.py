"""The names of units, currencies and powers of ten that stand beside a number. Knows no numbers."""

from __future__ import annotations

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
    "mph": "mph mi/h",
    "km/h": "km/h kmh kph",
    "m/s": "m/s mps",
}
UNITS: Mapping[str, str] = MappingProxyType({name: unit for unit, names in _SAME.items() for name in names.split()})
"""From every name in lower case to the one name of its unit."""

BESIDE = frozenset("mgshlLCFKNJWVA")
"""Letters that may stand alone behind a number; any other there is a variable, as in 2x."""
SHORT = frozenset({*UNITS, "th", "st", "nd", "rd", "am", "pm", "ms", "hz", "kb", "mb", "gb", "kw", "mw", "pt", "px"})
"""Names of two letters that may stand glued to a number; others are a product of variables."""
SCALES: Mapping[str, int] = MappingProxyType(
    {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12, "dozen": 0}
)
"""Powers of ten in words; a dozen is 12 times its zeroth."""
