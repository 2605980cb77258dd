"""Exact arithmetic on hostile text: the one reader of + - * / and brackets over decimal numbers, and its typings.

`statements` rewrites what people type (Unicode, LaTeX, Markdown, labels) as plain statements and leaves the rest as
it stands; `read` takes plain ones alone. Nothing is evaluated as Python. Knows no rules of any game.
"""

import re
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from generation.grading.errors import OutOfBoundsError, UnreadableError
from generation.grading.text import ascii_typing, closing

MAX_CHARS = 1000
MAX_DEPTH = 32
MAX_OPERATORS = 64
"""Signs too: with MAX_DEPTH it bounds how deep this module recurses."""
MAX_DIGITS = 20
MAX_MAGNITUDE = 10**30
"""Of every result on the way, and of its denominator."""

_TOKEN = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+|[^ ]")
_STRENGTH = {"+": 1, "-": 1, "*": 2, "/": 2}

Value = int | Fraction
"""An int wherever it is whole, which is ten times as fast."""


class Expression(NamedTuple):
    """A number as typed, two expressions joined by a sign, or one behind a minus sign."""

    value: Value | None
    """None where it divides by zero."""
    sign: str = ""
    """One of + - * /; "" of a number."""
    parts: "tuple[Expression, ...]" = ()

    @property
    def is_bare(self) -> bool:
        """Return True for a number alone, perhaps with signs: nothing is computed."""
        return not self.parts or (len(self.parts) == 1 and self.parts[0].is_bare)


def read(text: str) -> Expression:
    """Return the expression that all of a text is. Raises UnreadableError or OutOfBoundsError."""
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
    """Take from the end of the tokens an expression whose operators bind at least so strongly."""
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
    return Expression(int(token) if token.isdecimal() else _whole(Fraction(token)))


def _result(sign: str, left: Value | None, right: Value | None) -> Value | None:
    if left is None or right is None or (sign == "/" and not right):
        return None
    value: Value
    if sign == "+":
        value = left + right
    elif sign == "-":
        value = left - right
    elif sign == "*":
        value = left * right
    else:
        value = Fraction(left, right)
    if isinstance(value, Fraction):
        value = _whole(value)
    if not -MAX_MAGNITUDE <= value <= MAX_MAGNITUDE or value.denominator > MAX_MAGNITUDE:
        raise OutOfBoundsError(f"a number beyond {MAX_MAGNITUDE:.0e} on the way")
    return value


def _whole(value: Fraction) -> Value:
    return value.numerator if value.denominator == 1 else value


def operands(expression: Expression, there: Sequence[Value]) -> list[Value]:
    """Return the numbers that an expression with a value works on, left to right.

    A negative number or a fraction can only be typed with an operator ("-4", "8/3"). As a part of the expression it is
    one operand where such a number is still there: `there` holds those that are before anything is used.
    """
    found, left, waiting = list[Value](), list(there), [expression]
    while waiting:
        part = waiting.pop()
        assert part.value is not None
        if part.parts and (part is expression or part.value not in left or not _is_typed_number(part)):
            waiting.extend(reversed(part.parts))
            continue
        found.append(part.value)
        if part.value in left:
            left.remove(part.value)
    return found


def _is_typed_number(part: Expression) -> bool:
    # "6/2" is two operands even where a 3 is left: whoever means that 3 types it so.
    return part.is_bare or (
        part.sign == "/" and isinstance(part.value, Fraction) and all(one.is_bare for one in part.parts)
    )


# ---- typings

_COMMANDS = {
    **dict.fromkeys((r"\times", r"\cdot", r"\ast"), "*"),
    r"\div": "/",
    **dict.fromkeys((r"\left", r"\right"), ""),
    **dict.fromkeys((r"\quad", r"\,", r"\;", r"\:", r"\!", r"\ ", r"\(", r"\)", r"\[", r"\]"), " "),
    r"\\": "\n",
    r"\boxed": "",
}
_COMMAND = re.compile(r"\\(?:[A-Za-z]+|.)", re.DOTALL)
_FRACTION = re.compile(r"\\[dtc]?frac ?\{([^{}]*)\} ?\{([^{}]*)\}")
_TEXT = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf) ?\{([^{}]*)\}")
# Not a part of a fraction that is still to be read.
_GROUP = re.compile(r"(?<!frac)(?<!frac )(?<!\})(?<!\} )\{([^{}]*)\}")
_FENCE = re.compile(r"```[A-Za-z]*")
_BRACKETS = str.maketrans("[]`$", "()  ")
_TIMES = re.compile(r"(?<=[0-9)])( ?)[xX](?= ?[0-9(+-])")
_NAME = r"(?:step ?[0-9]{1,3}|(?:the )?(?:final )?(?:equation|expression|answer|solution|steps|result)(?: is)?)"
_MARK = r"[:=.)]"
_LABEL = re.compile(
    rf"(?:\*\*{_NAME}(?: ?{_MARK} ?\*\*|\*\* ?{_MARK})|{_NAME} ?{_MARK}|{_NAME} (?=[0-9(])) ?", re.IGNORECASE
)
_WRAPPERS = 8
"""Rounds of unwrapping: more than anyone types, and a bound on hostile text."""
_SEPARATOR = re.compile(r";|,(?= |$)|\band\b|\bthen\b", re.IGNORECASE)
# Each line begins and ends as a statement does, so that none goes on in the next; "1)" may count the lines.
_PLAIN = re.compile(r"(?:(?:^|\n)(?!1\))[0-9(][0-9+\-*/()= ]*[0-9)] *)+")


def statements(text: str) -> list[str]:
    """Return the expressions or equations that a text states, in order, each in plain typing.

    They stand on lines of their own, or between ";", ", ", "and", "then".
    """
    text = ascii_typing(text)
    if _PLAIN.fullmatch(text):
        return [_unwrapped(line) if line[:1] == "(" else line for line in text.split("\n")]
    lines = [line.strip() for line in _unwrapped(_without_markup(text)).split("\n") if line.strip()]
    for bullet in (r"- ", r"\* ") if len(lines) > 1 else ():
        lines = _without_marks(lines, bullet)
    lines = _joined([_unwrapped(line) for line in lines])
    pieces = [piece.strip() for line in lines for piece in _SEPARATOR.split(line) if piece.strip()]
    # "1. ", "2) ", "3: " where they count the pieces; "1: 3" alone is a quotient.
    pieces = _without_marks(pieces, r"INDEX[.:)] (?=[0-9(])" if len(pieces) > 1 else r"INDEX[.)] (?=[0-9(])")
    return [_unwrapped(piece).replace(":", "/") for piece in pieces]


def _without_markup(text: str) -> str:
    """Return single spaces, "\\n" as the only line break, no LaTeX and no fences."""
    text = _without_latex(_FENCE.sub("\n", "\n".join(text.splitlines())))
    lines = text.translate(_BRACKETS).split("\n")
    return _TIMES.sub(r"\1*", "\n".join(" ".join(line.split()) for line in lines))


def _without_latex(text: str) -> str:
    """Return LaTeX arithmetic in plain typing; braces and commands that are left are for the reader to refuse.

    A fraction gets brackets of its own; groups and boxes become brackets, \\text its contents.
    """
    text = text.replace(r"\{", "(").replace(r"\}", ")")
    for _ in range(MAX_DEPTH if "{" in text else 0):
        before = text
        text = _TEXT.sub(r" \1 ", _FRACTION.sub(r"((\1)/(\2))", text))
        if text == before and (text := _GROUP.sub(r"(\1)", text)) == before:
            break
    return _COMMAND.sub(lambda command: _COMMANDS.get(command[0], command[0]), text)


def _unwrapped(text: str) -> str:
    """Return it without what stands round a statement: a full stop, bold, a label, brackets round an equation."""
    for _ in range(_WRAPPERS):
        before = text
        text = text.strip()
        if text.endswith(".") and not text.endswith(".."):
            text = text[:-1]
        text = text[label.end() :] if (label := _LABEL.match(text)) else text
        if len(text) > 4 and text.startswith("**") and text.endswith("**"):
            text = text[2:-2]
        text = _without_brackets(text)
        if text == before:
            break
    return text


def _without_brackets(text: str) -> str:
    wrapped = text.startswith("(") and text.endswith(")") and "=" in text and closing(text, 1) == len(text) - 1
    return text[1:-1] if wrapped else text


def _joined(lines: list[str]) -> list[str]:
    """Return them with a line that goes on where the one before it broke off joined to that."""
    joined: list[str] = []
    for line in filter(None, lines):
        before = joined[-1] if joined else ""
        breaks_off = before.endswith(tuple("+-*/=(")) or line.startswith(tuple("+*/=)"))
        # Behind a finished equation a "-" opens a step of its own: "-4 + 9 = 5".
        if before and (breaks_off or (line.startswith("-") and "=" not in before)):
            joined[-1] = f"{before} {line}"
        else:
            joined.append(line)
    return joined


def _without_marks(pieces: list[str], marks: str) -> list[str]:
    """Return them without the mark that each begins with; if one has none, a mark may be a sign or a number."""
    found = [re.match(marks.replace("INDEX", str(index)), piece) for index, piece in enumerate(pieces, 1)]
    if not all(found):
        return pieces
    return [piece[mark.end() :] for piece, mark in zip(pieces, found, strict=True) if mark]
