"""Whether two mathematical texts say the same, by math-verify: its home, for worker processes alone.

Takes LaTeX without delimiters. Can loop and eat memory; nobody but a process that can be killed calls it.
math-verify takes points, sets, intervals and equations apart; whether two values are equal is `math_values`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from antlr4.atn.ParserATNSimulator import PredictionMode
from latex2sympy2_extended import NormalizationConfig, latex2sympy2
from latex2sympy2_extended.logic import And
from math_verify import LatexExtractionConfig, grader, parse, verify
from sympy import Basic, Expr, I, MatrixBase, MatrixExpr, Set, nan, zoo
from sympy.core.relational import Relational

from generation.grading.math_values import equal_values

# Not by its list of units, which holds letters that are variables.
_NORMALIZATION = NormalizationConfig(
    basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="all", equations=False
)
_CONFIG = (LatexExtractionConfig(normalization_config=_NORMALIZATION),)


class _Parser(latex2sympy2.PSParser):  # type: ignore[misc]
    """The parser of latex2sympy with ANTLR's fast prediction, five times as fast.

    By ANTLR's manual it gives the very tree that full prediction gives, or a syntax error: then full
    prediction is asked.
    """

    mode = PredictionMode.SLL

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._interp.predictionMode = self.mode


latex2sympy2.PSParser = _Parser
_WARM_UP = (r"\frac{1}{2}", "(x+1)^2", r"\sqrt{3}", "(1,2)", r"\{1,2\}", "[0,1]", "x=5", r"\text{a}")


class _Leaves:
    """In place of math-verify's two ways to compare values, which round to 6 decimals and to 15."""

    undecided = False

    @classmethod
    def equal(cls, gold: Any, said: Any, *_: int) -> bool:
        """Return True if two values are equal; if that is not known, return False and set `undecided`."""
        if isinstance(gold, MatrixBase | MatrixExpr) or isinstance(said, MatrixBase | MatrixExpr):
            return cls._equal_matrices(gold, said)
        if not (isinstance(gold, Expr) and isinstance(said, Expr)):
            return False
        percents = [grader.get_pct_val(one, one) for one in (gold, said)]
        if all(one.is_Integer for one in percents):
            return bool(percents[0] == percents[1])
        try:
            return equal_values(gold, said)
        except Exception:
            # sympy fails in many ways; math-verify would make "unequal" of each.
            cls.undecided = True
            return False

    @classmethod
    def equal_symbols(cls, gold: Any, said: Any) -> bool:
        """As math-verify has it, of names; and x is 2x/2."""
        return bool(_equal_names(gold, said)) or cls.equal(gold, said)

    @classmethod
    def _equal_matrices(cls, gold: Any, said: Any) -> bool:
        gold, said = grader.safe_sympy_doit(gold), grader.safe_sympy_doit(said)
        if not (isinstance(gold, MatrixBase) and isinstance(said, MatrixBase)):
            return bool(_simply_equal(gold, said))
        return gold.shape == said.shape and all(map(cls.equal, gold.flat(), said.flat()))


_simply_equal, _equal_names = grader.sympy_symbolic_eq, grader.sympy_compare_symbols
grader.sympy_numeric_eq, grader.sympy_compare_symbols = _Leaves.equal, _Leaves.equal_symbols
grader.sympy_symbolic_eq = lambda gold, said: False


def compare(gold: str, answer: str) -> dict[str, Any]:
    """`equal`, perhaps `undecided`, and which could be read as mathematics; `memory` when that ran out."""
    _Leaves.undecided = False
    try:
        wanted, said = _parsed_gold(gold), _parsed(answer)
        read = {"gold": _is_read(wanted), "answer": _is_read(said)}
        return {"equal": _equal(wanted, said), "undecided": _Leaves.undecided, **read}
    except MemoryError:
        return {"memory": True}
    except RecursionError:
        return {"equal": False, "gold": True, "answer": False}


def warm_up() -> None:
    """The parser builds its tables when it meets a construct for the first time."""
    for text in _WARM_UP:
        compare(text, text)


# All samples of a question have one gold answer.
@lru_cache(maxsize=256)
def _parsed_gold(text: str) -> list[Any]:
    return _parsed(text)


def _parsed(text: str) -> list[Any]:
    # No timeouts of its own: they need signals and the main thread, and we have a harder one.
    found: list[Any] = parse(f"${text}$", _CONFIG, parsing_timeout=None, raise_on_error=False)
    if _is_read(found):
        return found
    _Parser.mode = PredictionMode.LL
    try:
        found = parse(f"${text}$", _CONFIG, parsing_timeout=None, raise_on_error=False)
    finally:
        _Parser.mode = PredictionMode.SLL
    return found


def _is_read(parsed: list[Any]) -> bool:
    return any(isinstance(one, Basic | MatrixBase) for one in parsed)


def _equal(wanted: list[Any], said: list[Any]) -> bool:
    if any(isinstance(one, Basic) and _has_no_value(one) for one in wanted):
        return False
    if verify(wanted, said, timeout_seconds=None):
        return True
    both = [*wanted, *said]
    # By its default an interval is no answer to an inequality, but not the other way round.
    if any(isinstance(one, Set | Relational | And) for one in both) and verify(
        wanted, said, timeout_seconds=None, allow_set_relation_comp=True
    ):
        return True
    if not any(_imaginary(one) for one in both):
        return False
    return bool(verify([_with_i(one) for one in wanted], [_with_i(one) for one in said], timeout_seconds=None))


@lru_cache(maxsize=256)
def _has_no_value(one: Basic) -> bool:
    """Something divided by nothing is in it: that equals nothing, not even itself."""
    try:
        return bool(one.has(zoo, nan) or (isinstance(one, Expr) and one.doit().has(zoo, nan)))
    except Exception:
        # As above: what sympy cannot work out may have a value.
        return False


def _imaginary(one: Any) -> set[Basic]:
    """The letter i, which math-verify leaves a variable."""
    return {symbol for symbol in one.free_symbols if str(symbol) == "i"} if isinstance(one, Basic) else set()


def _with_i(one: Any) -> Any:
    return one.subs(dict.fromkeys(_imaginary(one), I)) if _imaginary(one) else one
