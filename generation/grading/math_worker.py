"""Decides with math-verify whether two mathematical texts are equal; the only module that imports it or sympy.

Takes LaTeX without delimiters. May not terminate or may exhaust memory, so only killable workers import it. math-verify
takes points, sets, intervals and equations apart; values are compared here: exactly if both are exact, approximately if
one is a decimal, and formulas by evaluating them at points.
"""

import math
from fractions import Fraction
from functools import lru_cache
from typing import Any

import sympy
from antlr4.atn.ParserATNSimulator import PredictionMode
from latex2sympy2_extended import NormalizationConfig, latex2sympy2
from math_verify import LatexExtractionConfig, grader, parse, verify
from sympy import Basic, Expr, Float, I, MatrixBase, Rational, nan, oo, zoo
from sympy.core.function import AppliedUndef

from generation.grading.number import nearly_equal
from generation.grading.workers import Request

# Without its list of units, which has letters that are variables.
_CLEANED = {"basic_latex": True, "units": False, "malformed_operators": True, "nits": True, "equations": False}
_CONFIG = (LatexExtractionConfig(normalization_config=NormalizationConfig(boxed="all", **_CLEANED)),)
_WARM_UP = (r"\frac{1}{2}", "(x+1)^2", r"\sqrt{3}", "(1,2)", r"\{1,2\}", "[0,1]", "x=5", r"\text{a}")
_DIGITS = 1000  # enough to tell apart most values that are not equal
_APPROXIMATE = 60  # digits of an irrational number that is compared with a decimal
_APART, _FAR_APART = Rational(1, 10**8), Rational(1, 10**5)
"""Relative differences that prove two formulas unequal; the second if one has decimals, perhaps rounded."""
# Formulas that agree at this many points are equal: no two different ones that people write agree at these.
_POINTS = 2
_COORDINATES = (
    (Rational(17, 12), Rational(31, 13), Rational(43, 19), Rational(59, 37)),
    (Rational(8, 13), Rational(5, 17), Rational(11, 29), Rational(23, 41)),
    (Rational(-23, 14), Rational(13, 11), Rational(-19, 23), Rational(37, 31)),
    (Rational(-3, 11), Rational(-21, 16), Rational(29, 23), Rational(-41, 27)),
)
"""Points at which formulas are compared: two have positive coordinates only, on both sides of 1."""


class _Parser(latex2sympy2.PSParser):  # type: ignore[misc]
    # ANTLR's fast SLL prediction gives the same tree as full prediction, or a syntax error: then LL is tried.
    mode = PredictionMode.SLL

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._interp.predictionMode = self.mode


_undecided: list[Exception] = []  # why values in the current request could not be compared


def _equal_leaves(gold: Any, said: Any, *_: int) -> bool:
    """Return True if two values are equal; replaces math-verify's comparisons, which round to 6 and 15 decimals."""
    if isinstance(gold, MatrixBase) and isinstance(said, MatrixBase):
        return gold.shape == said.shape and all(map(_equal_leaves, gold.flat(), said.flat()))
    if not (isinstance(gold, Expr) and isinstance(said, Expr)):
        return False
    # 50% is both 50 and a half.
    percents = [grader.get_pct_val(one, one) for one in (gold, said)]
    if all(one.is_Integer for one in percents):
        return bool(percents[0] == percents[1])
    try:
        return equal_values(gold, said)
    except Exception as error:
        # sympy raises anything, which math-verify would take for "unequal".
        _undecided.append(error)
        return False


latex2sympy2.PSParser = _Parser
_equal_names = grader.sympy_compare_symbols
grader.sympy_numeric_eq = _equal_leaves
grader.sympy_symbolic_eq = lambda gold, said: False
# Symbols as math-verify compares them, or by value: x is 2x/2.
grader.sympy_compare_symbols = lambda gold, said: bool(_equal_names(gold, said)) or _equal_leaves(gold, said)


def prepare(request: Request) -> None:
    """Warm up the parser, which builds its tables when it first meets a construct."""
    for text in () if request else _WARM_UP:
        answer({"gold": text, "answer": text})


def answer(request: Request) -> dict[str, Any]:
    """Return `equal`, `undecided`, and whether `gold` and `answer` could be parsed."""
    _undecided.clear()
    try:
        wanted, said = _parsed(request["gold"]), _parsed(request["answer"])
        has_value = not any(isinstance(one, Basic) and _has_no_value(one) for one in wanted)
        # By default math-verify takes an interval for a gold inequality, but not an inequality for a gold interval.
        equal = has_value and bool(verify(wanted, said, timeout_seconds=None, allow_set_relation_comp=True))
        return {"equal": equal, "undecided": bool(_undecided), "gold": _is_read(wanted), "answer": _is_read(said)}
    except RecursionError:
        return {"equal": False, "gold": True, "answer": False}


# All samples of a question share one gold answer.
@lru_cache(maxsize=256)
def _parsed(text: str) -> list[Any]:
    """Parse with math-verify, and replace the variable i with the imaginary unit."""
    try:
        for _Parser.mode in (PredictionMode.SLL, PredictionMode.LL):
            # Its own timeouts need signals and the main thread; ours is stricter.
            found = parse(f"${text}$", _CONFIG, parsing_timeout=None, raise_on_error=False)
            if _is_read(found):
                break
    finally:
        _Parser.mode = PredictionMode.SLL
    return [
        one.xreplace({name: I for name in one.free_symbols if str(name) == "i"}) if isinstance(one, Basic) else one
        for one in found
    ]


def _is_read(parsed: list[Any]) -> bool:
    return any(isinstance(one, Basic | MatrixBase) for one in parsed)


@lru_cache(maxsize=256)
def _has_no_value(one: Basic) -> bool:
    """Return True if it contains a division by zero, and so equals nothing, not even itself."""
    try:
        return bool(one.doit().has(zoo, nan))
    except Exception:
        # sympy raises anything here too; what it cannot evaluate may have a value.
        return False


def equal_values(gold: Expr, said: Expr) -> bool:
    """Return True if the values are equal. Raises ArithmeticError if that is undecided."""
    wanted, value, decimal = _exact(gold), _exact(said), gold.has(Float) or said.has(Float)
    if wanted.has(zoo, nan) or value.has(zoo, nan):
        return False
    if wanted == value or wanted.has(oo) or value.has(oo):
        return bool(wanted == value)
    if wanted.free_symbols or value.free_symbols:
        return _same_formula(wanted, value, decimal=decimal)
    if _is_zero(wanted - value):
        return True
    # A whole number is meant to be exact: 5.0 is, 3.14 times 10^9 is not.
    pairs = ((gold, wanted), (said, value))
    whole = any(exact.is_Integer and all(int(one) == one for one in typed.atoms(Float)) for typed, exact in pairs)
    if not decimal or whole:
        return False
    found = [one == other or nearly_equal(other, one) for one, other in zip(_parts(wanted), _parts(value), strict=True)]
    if None in found and False not in found:
        raise ArithmeticError("is a rounding, perhaps too rough")
    return all(found)


def _exact(value: Expr) -> Expr:
    """Evaluate it with every decimal replaced by its exact fraction."""
    functions = {one: sympy.Symbol(f"function {one}", real=True) for one in value.atoms(AppliedUndef)}
    worked = value.xreplace({one: Rational(str(one)) for one in value.atoms(Float)}).doit().xreplace(functions)
    if worked.has(I):
        return worked
    # The odd root of a negative number is the real one, as in school.
    return worked.replace(
        lambda power: power.is_Pow and power.base.is_negative and getattr(power.exp, "q", 2) % 2 and power.exp.q > 1,
        lambda power: -((-power.base) ** power.exp) if power.exp.p % 2 else power,
    )


def _parts(value: Expr) -> list[Fraction]:
    """Return the real and the imaginary part; exact if rational."""
    known = [part if part.is_Rational else Rational(part.evalf(_APPROXIMATE)) for part in value.as_real_imag()]
    return [Fraction(int(part.p), int(part.q)) for part in known]


def _is_zero(difference: Expr) -> bool:
    """Return True if a value is zero. Raises ArithmeticError if that is undecided.

    A value without variables is zero if it vanishes to a thousand digits more than its numbers have, a heuristic bound.
    """
    if difference.is_Rational:
        return bool(difference == 0)
    numbers = sum(abs(int(one.p)).bit_length() + int(one.q).bit_length() for one in difference.atoms(Rational))
    powers = sum(abs(float(one.exp)) for one in difference.atoms(sympy.Pow, sympy.exp) if one.exp.is_Rational)
    try:
        parts = difference.evalf(10, maxn=_DIGITS + math.ceil(numbers + powers)).as_real_imag()
        if all(part.is_Float or part.is_Rational for part in parts):
            # sympy marks a part that is lost to cancellation with a precision of one bit.
            return not any(part != 0 and (part.is_Rational or part._prec > 20) for part in parts)
    except (TypeError, ValueError, NotImplementedError):
        pass
    if sympy.simplify(difference).is_zero:
        return True
    raise ArithmeticError("has no value")


def _same_formula(wanted: Expr, value: Expr, *, decimal: bool) -> bool:
    names = sorted({*wanted.free_symbols, *value.free_symbols}, key=str)
    points = [{name: xs[i % 4] + i // 4 for i, name in enumerate(names)} for xs in _COORDINATES]
    values = [_values(wanted, value, point) for point in points]
    real = [point for point, pair in zip(points, values, strict=True) if pair and pair[0].is_real]
    # If there are real values, only they count: elsewhere log(n^n) is on another branch than n log(n).
    everywhere = len(real) < _POINTS or wanted.has(I) or value.has(I)
    compared = [pair for pair in values if pair and (everywhere or pair[0].is_real)]
    if any(abs(one - other) > _APART * max(abs(one), abs(other)) for one, other in compared):
        if decimal and all(abs(one - other) <= _FAR_APART * max(abs(one), abs(other)) for one, other in compared):
            raise ArithmeticError("has decimals that are nearly the same")
        return False
    difference = wanted - value
    # Otherwise it is an identity that sympy does not know, or a small difference.
    there = [difference.subs(point) for point in real] if len(real) >= _POINTS else [difference]
    return bool(sympy.expand(difference) == 0) or all(map(_is_zero, there))


def _values(wanted: Expr, value: Expr, point: dict[Expr, Rational]) -> tuple[Expr, Expr] | None:
    """Return both values at a point; None if they cannot be compared, as a real and a complex one cannot."""
    try:
        one, other = (formula.evalf(20, subs=point) for formula in (wanted, value))
    except (TypeError, ValueError, ArithmeticError, NotImplementedError):
        return None
    if not (one.is_number and other.is_number) or one.has(nan, zoo, oo) or other.has(nan, zoo, oo):
        return None
    return (one, other) if bool(one.is_real) == bool(other.is_real) else None
