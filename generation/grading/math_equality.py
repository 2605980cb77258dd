"""Whether two mathematical texts say the same, by math-verify: its home, for worker processes alone.

Takes LaTeX without delimiters. Can loop and eat memory; nobody but a process that can be killed calls it.
"""

from __future__ import annotations

from typing import Any

from latex2sympy2_extended import NormalizationConfig
from math_verify import LatexExtractionConfig, parse, verify
from sympy import Basic, I, MatrixBase

# Not by its list of units, which holds letters that are variables.
_NORMALIZATION = NormalizationConfig(
    basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="all", equations=False
)
_CONFIG = (LatexExtractionConfig(normalization_config=_NORMALIZATION),)
_WARM_UP = (r"\frac{1}{2}", "(x+1)^2", r"\sqrt{3}", "(1,2)", r"\{1,2\}", "[0,1]", "x=5", r"\text{a}")


def compare(gold: str, answer: str) -> dict[str, Any]:
    """`equal`, and which of the two could be read as mathematics; `memory` when that ran out."""
    try:
        wanted, said = _parsed(gold), _parsed(answer)
        read = {"gold": _is_read(wanted), "answer": _is_read(said)}
        return {"equal": _equal(wanted, said), **read}
    except MemoryError:
        return {"memory": True}
    except RecursionError:
        return {"equal": False, "gold": True, "answer": False}


def warm_up() -> None:
    """The parser builds its tables when it meets a construct for the first time."""
    for text in _WARM_UP:
        compare(text, text)


def _parsed(text: str) -> list[Any]:
    # No timeouts of its own: they need signals and the main thread, and we have a harder one.
    found: list[Any] = parse(f"${text}$", _CONFIG, parsing_timeout=None, raise_on_error=False)
    return found


def _is_read(parsed: list[Any]) -> bool:
    return any(isinstance(one, Basic | MatrixBase) for one in parsed)


def _equal(wanted: list[Any], said: list[Any]) -> bool:
    if verify(wanted, said, timeout_seconds=None):
        return True
    # By its default an interval is no answer to an inequality, but not the other way round.
    if verify(wanted, said, timeout_seconds=None, allow_set_relation_comp=True):
        return True
    imaginary = [_with_i(parsed) for parsed in (wanted, said)]
    return imaginary != [wanted, said] and bool(verify(*imaginary, timeout_seconds=None))


def _with_i(parsed: list[Any]) -> list[Any]:
    """With the letter i as the imaginary unit: math-verify leaves it a variable."""
    return [_substituted(one) if isinstance(one, Basic) else one for one in parsed]


def _substituted(expression: Basic) -> Basic:
    return expression.subs({symbol: I for symbol in expression.free_symbols if str(symbol) == "i"})
