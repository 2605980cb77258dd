"""Whether two values in sympy are equal: exactly where both are exact, nearly where one is a decimal. For workers.

Radicals are computed to the digits in which unequal ones must differ, by the bound of Burnikel, Fleischer, Mehlhorn
and Schirra. For pi, e and functions no bound is proven: ours grows with the numbers in them. Formulas are unequal
where they are at a point, equal where their difference comes to nothing, or is nothing at all our points.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

from sympy import Abs, E, Expr, Float, I, Rational, Symbol, expand, expand_log, log, nan, oo, simplify, zoo
from sympy.core.function import AppliedUndef

from generation.grading.nearness import near

_DIGITS = 100
"""In which most values that are not equal differ."""
_APPROXIMATE = 60
"""Digits of an irrational number that a decimal is compared with."""
_APART, _FAR_APART = Rational(1, 10**8), Rational(1, 10**5)
"""Shares of their size by which formulas differ for sure; the second where one has decimals, perhaps rounded."""
_POINTS = 2
"""At which formulas must be the same to be the same everywhere: no other two that people write meet at ours."""
_COORDINATES = (
    (Rational(17, 12), Rational(31, 13), Rational(43, 19), Rational(59, 37)),
    (Rational(8, 13), Rational(5, 17), Rational(11, 29), Rational(23, 41)),
    (Rational(-23, 14), Rational(13, 11), Rational(-19, 23), Rational(37, 31)),
    (Rational(-3, 11), Rational(-21, 16), Rational(29, 23), Rational(-41, 27)),
)
"""Of the points at which formulas are compared: two with positive numbers alone, and on both sides of 1."""


class UndecidedError(Exception):
    """Neither equality nor its opposite could be shown."""


def equal_values(gold: Expr, said: Expr) -> bool:
    """Return True if the values are equal. Raises UndecidedError."""
    wanted, value, decimal = _exact(gold), _exact(said), gold.has(Float) or said.has(Float)
    if wanted.has(zoo, nan) or value.has(zoo, nan):
        return False
    if wanted == value or wanted.has(oo) or value.has(oo):
        return bool(wanted == value)
    if wanted.free_symbols or value.free_symbols:
        return _same_formula(*_with_functions_named(wanted, value), decimal=decimal)
    if _is_zero(wanted - value):
        return True
    if not decimal or _is_whole(gold, wanted) or _is_whole(said, value):
        return False
    found = [one == other or near(other, one) for one, other in zip(_parts(wanted), _parts(value), strict=True)]
    if None in found and False not in found:
        raise UndecidedError
    return all(found)


def _exact(value: Expr) -> Expr:
    """With every decimal as the fraction that was typed, and all worked out."""
    worked = value.xreplace({one: Rational(str(one)) for one in value.atoms(Float)}).doit()
    if worked.has(I):
        return worked
    # The odd root of a negative number is the real one here, as it is in school.
    return worked.replace(_is_odd_root, lambda root: -((-root.base) ** root.exp) if root.exp.p % 2 else root)


def _is_odd_root(value: Expr) -> bool:
    return bool(
        value.is_Pow and value.exp.is_Rational and value.exp.q % 2 and value.exp.q > 1 and value.base.is_negative
    )


def _is_whole(typed: Expr, value: Expr) -> bool:
    """It is an integer, and meant to be exact: 5.0 is, 3.14 times 10^9 is not."""
    return bool(value.is_Integer) and all(int(one) == one for one in typed.atoms(Float))


def _parts(value: Expr) -> list[Fraction]:
    """Real and imaginary part, exactly where they are rational."""
    found = []
    for part in value.as_real_imag():
        known = part if part.is_Rational else Rational(part.evalf(_APPROXIMATE))
        found.append(Fraction(int(known.p), int(known.q)))
    return found


def _is_zero(difference: Expr) -> bool:
    """Of a value without variables; raises UndecidedError."""
    if difference.is_Rational:
        return bool(difference == 0)
    try:
        if (known := _sign_known(difference, _DIGITS)) is None:
            known = _sign_known(difference, _digits_to_tell(difference))
    except (TypeError, ValueError, NotImplementedError) as error:
        if simplify(difference).is_zero:
            return True
        raise UndecidedError from error
    return not known


def _sign_known(difference: Expr, digits: int) -> bool | None:
    """True where it is surely not zero, False where it is, None where more digits are needed; may raise TypeError."""
    parts = difference.evalf(10, maxn=digits).as_real_imag()
    if not all(part.is_Float or part.is_Rational for part in parts):
        raise TypeError("has no value")
    if all(part == 0 for part in parts):
        return False
    # sympy gives a part that is lost in cancellation the precision of one bit.
    return True if any(part != 0 and (part.is_Rational or part._prec > 20) for part in parts) else None


def _digits_to_tell(difference: Expr) -> int:
    """How many must be computed so that what is still zero is zero."""
    degrees: dict[Expr, int] = {}
    over, under = _bound(difference, degrees)
    bits = (math.prod(degrees.values()) - 1) * over + under + over
    return _DIGITS + math.ceil(bits * math.log10(2))


def _bound(value: Expr, degrees: dict[Expr, int]) -> tuple[float, float]:
    """Logarithms of the bound's u and l: a value is 0 or at least 1 / (u^(D-1) l), D being the product of degrees."""
    if value.is_Rational:
        return abs(int(value.p)).bit_length(), int(value.q).bit_length()
    if value.is_Add or value.is_Mul:
        overs, unders = zip(*(_bound(part, degrees) for part in value.args), strict=True)
        if value.is_Mul:
            return sum(overs), sum(unders)
        most = max(over - under for over, under in zip(overs, unders, strict=True))
        return most + sum(unders) + math.log2(len(overs)), sum(unders)
    if value.is_Pow and value.exp.is_Rational and value.base is not E:
        over, under = _bound(value.base, degrees)
        if value.exp.q > 1:
            degrees[value.base ** Rational(1, value.exp.q)] = int(value.exp.q)
        power = abs(float(value.exp))
        return (power * over, power * under) if value.exp > 0 else (power * under, power * over)
    degrees[value] = 2
    if value is I:
        return 0.0, 0.0
    # No bound is known: the digits of what is in it, and its size, which is that of 1 / e^1000 for 1000 digits.
    size = 16.0 + sum(sum(_bound(part, degrees)) + float(abs(part.evalf(10))) for part in value.args)
    size += abs(float(log(abs(value), 2).evalf(10)))
    return size, size


def _with_functions_named(wanted: Expr, value: Expr) -> tuple[Expr, Expr]:
    """With a variable for each f(x) that stands for nobody knows what."""
    functions = wanted.atoms(AppliedUndef) | value.atoms(AppliedUndef)
    names = {one: Symbol(f"function {one}", real=True) for one in functions}
    return wanted.xreplace(names), value.xreplace(names)


def _same_formula(wanted: Expr, value: Expr, *, decimal: bool) -> bool:
    points = list(_points({*wanted.free_symbols, *value.free_symbols}))
    real = [point for point in points if _values(wanted, value, point, real=True)]
    # What has real values is about them: elsewhere log(n^n) is another branch than n log(n).
    compared = points if len(real) < _POINTS or wanted.has(I) or value.has(I) else real
    if any(_apart(wanted, value, point, _APART) for point in compared):
        if decimal and not any(_apart(wanted, value, point, _FAR_APART) for point in compared):
            raise UndecidedError
        return False
    if wanted.has(Abs) != value.has(Abs) and any(_is_one_real(wanted, value, point) for point in points):
        raise UndecidedError
    difference = wanted - value
    if expand(difference) == 0 or (difference.has(log) and expand(expand_log(difference, force=True)) == 0):
        return True
    difference = simplify(difference)
    if difference.is_zero:
        return True
    if not difference.free_symbols:
        return _is_zero(difference)
    # An identity that sympy does not know, or a small difference: exactly, at the points where both are real.
    zero = [_is_zero(difference.subs(point)) for point in real]
    if len(zero) < _POINTS:
        raise UndecidedError
    return all(zero)


def _points(symbols: set[Expr]) -> Iterator[dict[Expr, Rational]]:
    names = sorted(symbols, key=str)
    for numbers in _COORDINATES:
        yield {name: numbers[index % 4] + index // 4 for index, name in enumerate(names)}


def _is_one_real(wanted: Expr, value: Expr, point: dict[Expr, Rational]) -> bool:
    """Bars that only one of them has make it real there, as ln|x| is where ln x is not."""
    try:
        one, other = (formula.evalf(20, subs=point) for formula in (wanted, value))
    except (TypeError, ValueError, ArithmeticError, NotImplementedError):
        return False
    return bool(one.is_real) != bool(other.is_real)


def _apart(wanted: Expr, value: Expr, point: dict[Expr, Rational], share: Rational) -> bool:
    """Both have a value there, and not the same one. A real and a complex one tell of the domain alone."""
    one, other = _values(wanted, value, point) or (0, 0)
    return bool(abs(one - other) > share * max(abs(one), abs(other)))


def _values(wanted: Expr, value: Expr, point: dict[Expr, Rational], *, real: bool = False) -> tuple[Expr, Expr] | None:
    """Both at a point, where they have values that can be compared."""
    try:
        one, other = (formula.evalf(20, subs=point) for formula in (wanted, value))
    except (TypeError, ValueError, ArithmeticError, NotImplementedError):
        return None
    if not (one.is_number and other.is_number) or one.has(nan, zoo, oo) or other.has(nan, zoo, oo):
        return None
    kinds = {bool(one.is_real), bool(other.is_real)}
    return (one, other) if len(kinds) == 1 and (not real or kinds == {True}) else None
