"""Judges countdown answers: an expression, or steps, over given numbers that must reach a target.

Three layers: the rules of the game; `statements`, which rewrites what people type (Unicode, LaTeX, Markdown, labels) as
plain statements and leaves everything else alone; and `read`, which does exact arithmetic on untrusted text, + - * /
and brackets over decimal numbers. Nothing is evaluated as Python.
"""

import operator
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

from generation.grading.errors import OutOfBoundsError, UnreadableError
from generation.grading.text import IN_TEXT, closing, layers, rewritten, to_ascii
from generation.records import Question

MAX_CHARS = 1000
MAX_DEPTH = 32  # of brackets and LaTeX braces
MAX_OPERATORS = 64  # and signs; with MAX_DEPTH this bounds recursion
MAX_DIGITS = 20
MAX_MAGNITUDE = 10**30  # of every intermediate result, and of its denominator

_TOKEN = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+|[^ ]")
_STRENGTH = {"+": 1, "-": 1, "*": 2, "/": 2}

Number = int | Fraction  # an int if it is whole, which is ten times as fast
Value = Number | None  # None for a division by zero
_OPERATIONS: dict[str, Any] = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": Fraction}


class Expression(NamedTuple):
    """A number, a binary operation, or a negation."""

    value: Value
    sign: str = ""  # one of + - * /; "" for a number
    parts: "tuple[Expression, ...]" = ()

    @property
    def is_bare(self) -> bool:
        """Return True for just a number, perhaps with signs: nothing is computed."""
        return not self.parts or (len(self.parts) == 1 and self.parts[0].is_bare)

    @property
    def is_number(self) -> bool:
        """Return True for a number that can only be written with an operator: "-4", "8/3"; not "6/2", which is 3."""
        is_fraction = self.sign == "/" and isinstance(self.value, Fraction)
        return self.is_bare or (is_fraction and all(part.is_bare for part in self.parts))


def read(text: str) -> Expression:
    """Parse a text as one expression. Raises UnreadableError or OutOfBoundsError."""
    if len(text) > MAX_CHARS:
        raise OutOfBoundsError(f"more than {MAX_CHARS} characters")
    tokens = _TOKEN.findall(text)[::-1]
    if len(tokens) > MAX_OPERATORS and sum(map(tokens.count, "+-*/")) > MAX_OPERATORS:
        raise OutOfBoundsError(f"more than {MAX_OPERATORS} operators")
    expression = _climb(tokens, 1, 0)
    if tokens:
        raise UnreadableError("goes on behind the expression")
    return expression


def _climb(tokens: list[str], least: int, depth: int) -> Expression:
    """Pop an expression whose operators bind at least as tightly as `least` off the reversed tokens."""
    left = _operand(tokens, depth)
    while tokens and (strength := _STRENGTH.get(tokens[-1], 0)) >= least:
        sign = tokens.pop()
        right = _climb(tokens, strength + 1, depth)
        left = Expression(_result(sign, left.value, right.value), sign, (left, right))
    return left


def _operand(tokens: list[str], depth: int) -> Expression:
    token = tokens.pop() if tokens else ""
    if token.isdecimal() or len(token) > 1:
        return _number(token)
    if token == "(":
        if depth == MAX_DEPTH:
            raise OutOfBoundsError(f"brackets nested more than {MAX_DEPTH} deep")
        inner = _climb(tokens, 1, depth + 1)
        if not tokens or tokens.pop() != ")":
            raise UnreadableError("has a bracket that is not closed")
        return inner
    if token in ("+", "-"):
        inner = _operand(tokens, depth)
        return inner if token == "+" else Expression(_result("-", 0, inner.value), "-", (inner,))
    raise UnreadableError("has more in it than + - * / and brackets")


@lru_cache(maxsize=4096)
def _number(token: str) -> Expression:
    if len(token) > MAX_DIGITS:
        raise OutOfBoundsError(f"a number of more than {MAX_DIGITS} digits")
    return Expression(int(token) if token.isdecimal() else _result("+", 0, Fraction(token)))


def _result(sign: str, left: Value, right: Value) -> Value:
    if left is None or right is None or (sign == "/" and not right):
        return None
    value: Number = _OPERATIONS[sign](left, right)
    value = value.numerator if value.denominator == 1 else value
    if not -MAX_MAGNITUDE <= value <= MAX_MAGNITUDE or value.denominator > MAX_MAGNITUDE:
        raise OutOfBoundsError(f"a number beyond {MAX_MAGNITUDE:.0e} on the way")
    return value


# ---- rules of the game

MAX_STEPS = 16


def judge_countdown(answer: str, question: Question) -> str:
    """Return "" if the answer makes `facts["target"]` from `facts["numbers"]`, each used at most once.

    In steps, an operand may be the result of an earlier step, used once. Every stated equation must hold. The last
    statement may also be the complete expression.
    """
    target, *given = (
        fact if type(fact) is int else Fraction(fact) for fact in (question.facts["target"], *question.facts["numbers"])
    )
    equations = _equations(answer)
    if any(side.value is None for sides in equations for side in sides):
        return "divides by zero"
    for sides in equations:
        for one, other in pairwise(sides):
            if one.value != other.value:
                return f"false equality: {_short(one.value)} = {_short(other.value)}"
    steps = _steps(equations)
    fault = _fault(steps, given, target)
    # Many solutions end with all steps written as one expression: then that one alone suffices.
    return fault if fault and _fault(steps[-1:], given, target) else ""


def value_of(answer: str) -> Value:
    """Return what an answer's last step comes to, whatever is given. Raises UnreadableError or OutOfBoundsError."""
    return _steps(_equations(answer))[-1].value


def _equations(answer: str) -> list[list[Expression]]:
    """Return the sides of each statement. Raises UnreadableError or OutOfBoundsError."""
    stated = statements(answer) or [""]  # not an expression
    if len(stated) > MAX_STEPS:
        raise OutOfBoundsError(f"more than {MAX_STEPS} statements")
    # Parse everything before judging any of it: an answer that is only partly readable is unreadable.
    return [[read(side) for side in statement.split("=")] for statement in stated]


def _steps(equations: Sequence[Sequence[Expression]]) -> list[Expression]:
    """Drop numbers that only repeat the last result. Raises UnreadableError for other bare numbers: that is a list."""
    stated = [next((side for side in sides if not side.is_bare), sides[0]) for sides in equations]
    steps = list(stated[:1])
    for step in stated[1:]:
        if steps[0].is_bare or (step.is_bare and step.value != steps[-1].value):
            raise UnreadableError("is a list of numbers")
        steps.extend([] if step.is_bare else [step])
    return steps


def _fault(steps: Sequence[Expression], given: Sequence[Value], target: Value) -> str:
    """Return the first rule of the game that the steps, all true, violate; "" if they solve it."""
    there, left = list(given), list(given)
    for step in steps:
        for operand in _operands(step, left):
            if operand not in there:
                return f"uses {_short(operand)}, not given"
            if operand not in left:
                times = there.count(operand)
                return f"uses {_short(operand)} " + ("twice" if times == 1 else f"{times + 1} times")
            left.remove(operand)
        there.append(step.value)
        left.append(step.value)
    return "" if steps[-1].value == target else f"misses the target: {_short(steps[-1].value)}"


def _operands(expression: Expression, left: Sequence[Value]) -> Iterator[Value]:
    """Yield the numbers that an expression uses; "8/3" or "-4" is one number if it is in `left`."""
    for part in expression.parts or (expression,):
        if not part.parts or (part.is_number and part.value in left):
            yield part.value
        else:
            yield from _operands(part, left)


def _short(number: Value) -> str:
    text = str(number)
    return text if len(text) <= 16 else f"a number of {len(text)} characters"


# ---- notation

_FENCE = re.compile(r"```[A-Za-z]*")
_FRACTION = re.compile(r"\\[dtc]?frac ?\{([^{}]*)\} ?\{([^{}]*)\}")
# Not an argument of a fraction that is not converted yet.
_GROUP = re.compile(r"(?<!frac)(?<!frac )(?<!\})(?<!\} )\{([^{}]*)\}")
_BRACKETS = str.maketrans("[]`$", "()  ")
_SEPARATOR = re.compile(r"\n|;|,(?= |$)|\band\b|\bthen\b", re.IGNORECASE)
# Each line starts and ends as a statement does, so that none continues on the next; "1)" may number the lines.
_PLAIN = re.compile(r"(?:(?:^|\n)(?!1\))[0-9(][0-9+\-*/()= ]*[0-9)] *)+")


def statements(text: str) -> list[str]:
    """Split a text at newlines, ";", ", ", "and" and "then" into expressions or equations in plain notation."""
    text = to_ascii(text)
    if _PLAIN.fullmatch(text):
        return [_without_brackets(line.strip()) for line in text.split("\n")]
    text = _without_latex(_FENCE.sub("\n", text)).translate(_BRACKETS)
    lines = [" ".join(line.split()) for line in _unwrapped(text.strip()).splitlines() if line.strip()]
    for bullet in (r"- ", r"\* ") if len(lines) > 1 else ():
        lines = _without_marks(lines, bullet)
    text = "\n".join(filter(None, map(_unwrapped, lines)))
    pieces = [piece.strip() for piece in _SEPARATOR.split(rewritten(text, "lines")) if piece.strip()]
    # "1. ", "2) ", "3: " if they number the pieces; "1: 3" alone is a quotient.
    pieces = _without_marks(pieces, r"INDEX[.:)] (?=[0-9(])" if len(pieces) > 1 else r"INDEX[.)] (?=[0-9(])")
    return [_unwrapped(piece).replace(":", "/") for piece in pieces]


def _without_latex(text: str) -> str:
    """Convert LaTeX arithmetic: groups, boxes and fractions become brackets; what is left over, `read` refuses."""
    text = text.replace(r"\{", "(").replace(r"\}", ")").replace(r"\boxed", "")
    for _ in range(MAX_DEPTH if "{" in text else 0):
        before = text
        text = IN_TEXT.sub(r" \1 ", _FRACTION.sub(r"((\1)/(\2))", text))
        if text == before and (text := _GROUP.sub(r"(\1)", text)) == before:
            break
    return rewritten(text, "latex_sums")


def _unwrapped(text: str) -> str:
    """Strip the wrapping of a statement: a label, a full stop, bold, brackets around an equation."""
    *_, text = layers(text, "around_equation")
    return _without_brackets(text)


def _without_brackets(text: str) -> str:
    for _ in range(MAX_DEPTH):
        if "=" not in text or not text.startswith("(") or closing(text, 1) != len(text) - 1:
            break
        text = text[1:-1].strip()
    return text


def _without_marks(pieces: list[str], marks: str) -> list[str]:
    """Strip the mark that each piece starts with; none if one lacks it, since marks may be signs or numbers then."""
    found = [re.match(marks.replace("INDEX", str(index)), piece) for index, piece in enumerate(pieces, 1)]
    if not all(found):
        return pieces
    return [piece[mark.end() :] for piece, mark in zip(pieces, found, strict=True) if mark]
