"""Judges an answer that is one number, exactly: by its value, in whatever typing.

A percent sign that only one of answer and gold answer has may be a unit or a hundredth: 12% is right for
12, for 12% and for 0.12. Units and currencies are not asked for, but two that are known and differ are not
compared: 5 km for 5 m, and for 5 km², is unknown. So are 3 oranges for 3 apples, 5¢ for 5 and for 0.05, which
may be cents or dollars, and 3 quarters for 3, which may be coins.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache

from generation.grading.number_typing import Quantity, read_quantity, read_with_decimal_comma
from generation.grading.plain_answer import DIFFERS
from generation.grading.refusals import RefusedError, refused
from generation.records import ANOTHER_UNIT, GOLD_UNREADABLE, UNREADABLE, Grade, Question

_CENT = "¢"
"""A hundredth of what is meant, perhaps, where the other side names no unit."""


def grade_number(answer: str, question: Question) -> Grade:
    """Right when the one number of the answer is that of `question.answer`."""
    gold = _gold(question.answer)
    if gold is None:
        return Grade("unknown", GOLD_UNREADABLE, answer)
    try:
        said = read_quantity(answer)
    except RefusedError as error:
        return refused(error, answer)
    equal = same_number(said, gold)
    if not comparable(said, gold, equal=equal):
        return Grade("unknown", ANOTHER_UNIT, answer)
    if not equal and may_have_decimal_comma(answer, gold):
        return Grade("unknown", UNREADABLE, answer)
    return Grade("right", "", answer) if equal else Grade("wrong", DIFFERS, answer)


def may_have_decimal_comma(answer: str, gold: Quantity) -> bool:
    """Return True if a decimal comma would make it right: "12,345" for 12.345; "3,000" for 3 is wrong."""
    other = read_with_decimal_comma(answer) if gold.value.denominator > 1 else None
    return other is not None and same_number(other, gold)


def comparable(said: Quantity, gold: Quantity, *, equal: bool) -> bool:
    """Neither are their units known to differ, nor may their words count other things: oranges, quarters, dozens."""
    if said.unit and gold.unit:
        return said.unit == gold.unit
    if not (said.nouns <= gold.nouns or gold.nouns <= said.nouns):
        return False
    if _CENT in (said.unit, gold.unit):
        cents, other = (said, gold) if said.unit else (gold, said)
        return not equal and cents.value != 100 * other.value
    if (said.percent and gold.unit) or (gold.percent and said.unit):
        return False
    return equal or (said.value != gold.counted and gold.value != said.counted)


def same_number(said: Quantity, gold: Quantity) -> bool:
    """By the rule of percent signs above, whatever the units are."""
    return any(one == other for one, other in comparisons(said, gold))


def comparisons(said: Quantity, gold: Quantity) -> list[tuple[Fraction, Fraction]]:
    """Return the pairs of values of which one must be equal: two if only one has a percent sign."""
    pairs = [(said.value, gold.value)]
    if said.percent != gold.percent:
        pairs.append((said.value, 100 * gold.value) if said.percent else (100 * said.value, gold.value))
    return pairs


@lru_cache(maxsize=1024)
def _gold(answer: str) -> Quantity | None:
    try:
        return read_quantity(answer)
    except RefusedError:
        return None
