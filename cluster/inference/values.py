"""Checks of the values in a JSON object that a user gave, by rules that stand in a table.

A rule has a `kind`, and for numbers the bounds `low` and `high`.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeGuard

_NUMBER = r"(\d{0,9}\.?\d{1,9})"
_SHARES = re.compile(f"{_NUMBER}-{_NUMBER}")


class _Kind(NamedTuple):
    words: str
    holds: Callable[[Any], bool]


def is_count(value: object, least: int | None = None) -> TypeGuard[int]:
    """Return True for a whole number, if given of at least `least`: JSON's true and false are no numbers here."""
    return isinstance(value, int) and not isinstance(value, bool) and (least is None or value >= least)


def is_number(value: object) -> bool:
    return is_count(value) or isinstance(value, float)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _is_id(value: object) -> bool:
    return is_count(value, 0) and value < 2**31


_KINDS = {
    "number": _Kind("a number", is_number),
    "count": _Kind("a whole number", is_count),
    "switch": _Kind("true or false", lambda value: isinstance(value, bool)),
    "texts": _Kind(
        "a text or a list of texts, none of them empty",
        lambda value: _is_text(value) or (isinstance(value, list) and bool(value) and all(map(_is_text, value))),
    ),
    "ids": _Kind(
        "a list of token ids", lambda value: isinstance(value, list) and bool(value) and all(map(_is_id, value))
    ),
    "numbers": _Kind(
        "an object of token ids and numbers",
        lambda value: isinstance(value, dict) and bool(value) and all(map(_is_number_of_id, value.items())),
    ),
}


def _is_number_of_id(pair: tuple[str, Any]) -> bool:
    return pair[0].isascii() and pair[0].isdigit() and _is_id(int(pair[0])) and is_number(pair[1])


def read_value(shown: str, value: Any, rule: Mapping[str, Any]) -> Any:
    """Return the value in its one form: numbers as float, texts as a list. Raises ValueError, calling it `shown`."""
    kind, bounded = rule["kind"], "low" in rule
    wanted = _KINDS[kind].words + (f" between {rule['low']:,} and {rule['high']:,}" if bounded else "")
    holds = _KINDS[kind].holds(value)
    numbers = list(value.values()) if holds and kind == "numbers" else [value]
    if not holds or (bounded and not all(rule["low"] <= number <= rule["high"] for number in numbers)):
        raise ValueError(f"{shown} must be {wanted}, not {value!r}")
    if kind == "texts" and isinstance(value, str):
        return [value]
    return float(value) if kind == "number" else value


def check_range(name: str, value: float | None, low: float, high: float) -> None:
    """Raise ValueError if the value is not None and out of bounds."""
    if value is not None and not low <= value <= high:
        least, most = (f"{bound:,}" if isinstance(bound, int) else f"{bound:g}" for bound in (low, high))
        raise ValueError(f"{name} must be between {least} and {most}, not {value}")


def read_shares(name: str, text: str | None) -> tuple[float, float] | None:
    """Parse LOW-HIGH, two shares, into its ends, None into None. Raises ValueError, naming the flag, for other text."""
    if text is None:
        return None
    found = _SHARES.fullmatch(text)
    if found is None or not 0 <= float(found[1]) <= float(found[2]) <= 1:
        raise ValueError(f"{name} must be LOW-HIGH within 0 and 1, such as 0.05-0.95, not {text!r}")
    return float(found[1]), float(found[2])
