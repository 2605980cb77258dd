"""Whether a decimal is near enough to another number to be the same answer. Knows neither typing nor sympy.

It is when they agree to a millionth and to six decimals, or when one is the other rounded: to six or more digits,
or off by no more than a millionth, as a float of 32 bits is. Nothing but zero is near zero.
"""

from __future__ import annotations

from fractions import Fraction

_MILLIONTH = Fraction(1, 10**6)
_SIX_DIGITS, _FOUR_DIGITS = 10**5, 10**3
"""Last places that a number of so many digits has at least."""
_ENDLESS = Fraction(1, 10**40)
"""The share of its size that the last place of a typed decimal has at least."""


def near(said: Fraction, gold: Fraction) -> bool | None:
    """Return True if they are the same answer, where neither was meant to be exact.

    None where one is the other rounded to four or five digits, and that has no end: pi and 3.1416, 1/3 and 0.3333.
    """
    apart, bound = abs(said - gold), abs(gold) * _MILLIONTH
    if apart <= min(bound, _MILLIONTH):
        return True
    (finest, _), (place, coarser) = sorted((_last_place(one), abs(one)) for one in (said, gold))
    if 2 * apart > place:
        return False
    if apart <= bound or place * _SIX_DIGITS <= coarser:
        return True
    return None if finest < _ENDLESS * coarser and place * _FOUR_DIGITS <= coarser else False


def _last_place(value: Fraction) -> Fraction:
    """Of its digits the last that is not zero: a hundredth of 2.50 + 0.01, ten of 1230; 0 where they have no end."""
    under, places = value.denominator, 0
    for prime in (2, 5):
        count = 0
        while under % prime == 0:
            under, count = under // prime, count + 1
        places = max(places, count)
    if under > 1:
        return Fraction(0)
    digits = str(abs(value.numerator)) if places == 0 else ""
    return Fraction(10) ** (len(digits) - len(digits.rstrip("0")) - places)
