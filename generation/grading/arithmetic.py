"""Exact arithmetic on hostile text: + - * / and brackets over decimal numbers, in fractions.

Nothing is evaluated as Python: its parser only builds the tree, after a whitelist of characters and
bounds on size. Knows nothing of what numbers a question gives.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

from generation.grading.refusals import OutOfBoundsError, UnreadableError

MAX_CHARS = 1000
MAX_DEPTH = 32
MAX_OPERATORS = 64
"""Signs too: with MAX_DEPTH it bounds how deep Python's parser and this module recurse."""
MAX_DIGITS = 20
MAX_MAGNITUDE = 10**30
"""Of the numerator and the denominator of every result on the way."""

_PLAIN = re.compile(r"[0-9+\-*/(). ]+")
# Python reads "2(3)" and "(2)(3)" as calls; nobody else does, and people disagree on what they mean.
_JUXTAPOSED = re.compile(r"[0-9.)] *\(|\) *[0-9.]")
_LONG_NUMBER = re.compile(rf"[0-9.]{{{MAX_DIGITS + 1}}}")
_LEADING_ZEROS = re.compile(r"(?<![0-9.])0+(?=[0-9])")

_OPERATIONS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


@dataclass(frozen=True)
class Number:
    """A number as typed, without a sign."""

    value: Fraction


@dataclass(frozen=True)
class Negation:
    """A minus sign before something."""

    inner: Expression


@dataclass(frozen=True)
class Operation:
    """Two expressions joined by one of + - * /."""

    apply: Callable[[Fraction, Fraction], Fraction]
    left: Expression
    right: Expression


Expression = Number | Negation | Operation


def evaluate(expression: str) -> Fraction:
    """The exact value of an expression in plain ASCII typing.

    Raises UnreadableError, OutOfBoundsError or ZeroDivisionError, and nothing else.
    """
    return value_of(read(expression))


def read(text: str) -> Expression:
    """The expression as a tree; raises UnreadableError or OutOfBoundsError."""
    if len(text) > MAX_CHARS:
        raise OutOfBoundsError(f"more than {MAX_CHARS} characters")
    if not _PLAIN.fullmatch(text):
        raise UnreadableError("holds a character that is none of 0-9 + - * / ( ) . and space")
    _check_size(text)
    text = _LEADING_ZEROS.sub("", text).strip()
    if _JUXTAPOSED.search(text):
        raise UnreadableError("has no operator before or behind a bracket")
    try:
        tree = ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise UnreadableError("is not an expression") from error
    return _expression(tree, text)


def value_of(expression: Expression) -> Fraction:
    """The exact value; raises OutOfBoundsError or ZeroDivisionError."""
    if isinstance(expression, Number):
        return expression.value
    if isinstance(expression, Negation):
        return -value_of(expression.inner)
    value = expression.apply(value_of(expression.left), value_of(expression.right))
    if max(abs(value.numerator), value.denominator) > MAX_MAGNITUDE:
        raise OutOfBoundsError(f"a number beyond {MAX_MAGNITUDE:.0e} on the way")
    return value


def operands(expression: Expression, left: Mapping[Fraction, int] | None = None) -> Iterator[Fraction]:
    """The numbers an expression works on, left to right.

    A negative number or a fraction can only be typed with an operator ("-4", "8/3"). As a part of the
    expression it is one operand where such a number is left: `left` holds how many of each value
    are, and may be counted down by the caller from operand to operand.
    """
    if isinstance(expression, Number):
        yield expression.value
        return
    parts = (expression.left, expression.right) if isinstance(expression, Operation) else (expression.inner,)
    for part in parts:
        if left and _is_typed_number(part) and left.get(value_of(part), 0) > 0:
            yield value_of(part)
        else:
            yield from operands(part, left)


def is_bare(expression: Expression) -> bool:
    """Only a number, perhaps with signs: nothing is computed."""
    while isinstance(expression, Negation):
        expression = expression.inner
    return isinstance(expression, Number)


def _is_typed_number(expression: Expression) -> bool:
    if not isinstance(expression, Operation):
        return is_bare(expression)
    is_division = expression.apply is operator.truediv
    if not is_division or not is_bare(expression.left) or not is_bare(expression.right):
        return False
    # "6/2" is two operands even where a 3 is left: whoever means that 3 types it so.
    return value_of(expression).denominator > 1


def _check_size(text: str) -> None:
    depth = deepest = 0
    for character in text:
        depth += (character == "(") - (character == ")")
        deepest = max(deepest, depth)
    if deepest > MAX_DEPTH:
        raise OutOfBoundsError(f"brackets nested more than {MAX_DEPTH} deep")
    if sum(map(text.count, "+-*/")) > MAX_OPERATORS:
        raise OutOfBoundsError(f"more than {MAX_OPERATORS} operators")
    if _LONG_NUMBER.search(text):
        raise OutOfBoundsError(f"a number of more than {MAX_DIGITS} digits")


def _expression(node: ast.expr, text: str) -> Expression:
    match node:
        case ast.Constant(value=int() | float()):
            # The digits as typed, not the float that Python made of them: 0.1 is one tenth here.
            return Number(Fraction(text[node.col_offset : node.end_col_offset]))
        case ast.UnaryOp(op=ast.UAdd()):
            return _expression(node.operand, text)
        case ast.UnaryOp(op=ast.USub()):
            return Negation(_expression(node.operand, text))
        case ast.BinOp() if type(node.op) in _OPERATIONS:
            left, right = _expression(node.left, text), _expression(node.right, text)
            return Operation(_OPERATIONS[type(node.op)], left, right)
        case _:
            raise UnreadableError("has more in it than + - * / and brackets")
