"""Judges countdown answers: an expression, or steps, over given numbers that must hit a target.

`statements` rewrites what people type (Unicode, LaTeX, Markdown, labels) as plain statements and leaves the rest as
it stands, for `arithmetic` to read or to refuse.
"""

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from generation.grading.arithmetic import Expression, Value, operands, read
from generation.grading.errors import OutOfBoundsError, UnreadableError
from generation.grading.text import IN_TEXT, ascii_typing, closing, layers
from generation.records import Question

MAX_STEPS = 16
_DEPTH = 32
"""Of LaTeX's braces and of brackets round an equation: more than anyone types, and a bound on hostile text."""

_FENCE = re.compile(r"```[A-Za-z]*")
_FRACTION = re.compile(r"\\[dtc]?frac ?\{([^{}]*)\} ?\{([^{}]*)\}")
_GROUP = re.compile(r"\{([^{}]*)\}")
_COMMANDS = (
    (re.compile(r"\\\\"), "\n"),
    (re.compile(r"\\(?:times|cdot|ast)(?![A-Za-z])"), "*"),
    (re.compile(r"\\div(?![A-Za-z])"), "/"),
    (re.compile(r"\\(?:left|right)(?![A-Za-z])"), ""),
    (re.compile(r"\\(?:quad(?![A-Za-z])|[,;:! ()\[\]])"), " "),
)
_BRACKETS = str.maketrans("[]`$", "()  ")
_NAME = r"(?:step ?[0-9]{1,3}|(?:the )?(?:final )?(?:equation|expression|answer|solution|steps|result)(?: is)?)"
_MARK = r"[:=.)]"
_LABEL = rf"\*\*{_NAME}(?: ?{_MARK} ?\*\*|\*\* ?{_MARK})|{_NAME} ?{_MARK}|{_NAME} (?=[0-9(])"
_PEELS = ((re.compile(rf"\A(?:{_LABEL}) ?", re.IGNORECASE), ""), (re.compile(r"(?<!\.)\.\Z"), ""))
_OF_LINES = (
    # The letter x for times.
    (re.compile(r"(?<=[0-9)])( ?)[xX](?= ?[0-9(+-])"), r"\1*"),
    # A line that goes on where the one before it broke off.
    (re.compile(r"(?<=[-+*/=(])\n|\n(?=[+*/=)])"), " "),
    # Behind a finished equation a "-" opens a step of its own: "-4 + 9 = 5".
    (re.compile(r"(?m)^([^=\n]*)\n(?=-)"), r"\1 "),
)
_SEPARATOR = re.compile(r"\n|;|,(?= |$)|\band\b|\bthen\b", re.IGNORECASE)
# Each line begins and ends as a statement does, so that none goes on in the next; "1)" may count the lines.
_PLAIN = re.compile(r"(?:(?:^|\n)(?!1\))[0-9(][0-9+\-*/()= ]*[0-9)] *)+")


class _Step(NamedTuple):
    """One statement, read."""

    worked: Expression
    """The first side that computes something; where none does, the first side."""
    values: list[Value]
    """Of all sides, in order: what the statement calls equal."""


def judge_countdown(answer: str, question: Question) -> str:
    """Return "" when the answer uses `facts["numbers"]`, each at most once, to make `facts["target"]`.

    In step form an operand may be the result of an earlier step, once. Every equality that is stated must hold. The
    last statement may also be the whole expression, on its own.
    """
    given = [_exact(number) for number in question.facts["numbers"]]
    target = _exact(question.facts["target"])
    stated = statements(answer)
    if not stated:
        raise UnreadableError("states nothing")
    if len(stated) > MAX_STEPS:
        raise OutOfBoundsError(f"more than {MAX_STEPS} statements")
    # All is read before any of it is judged: what is readable in part is not readable.
    sides = [[read(side) for side in statement.split("=")] for statement in stated]
    steps = [_step(statement) for statement in sides]
    if any(len(step.values) < len(statement) for step, statement in zip(steps, sides, strict=True)):
        return "divides by zero"
    for step in steps:
        for place, value in enumerate(step.values[1:]):
            if value != step.values[place]:
                return f"false equality: {_short(step.values[place])} = {_short(value)}"
    steps = _without_restatements(steps)
    fault = _shortcoming(steps, given, target)
    # Many a solution ends by writing its steps out as one expression: then that one alone will do.
    return fault if fault and _shortcoming(steps[-1:], given, target) else ""


def _exact(fact: Any) -> Value:
    return fact if type(fact) is int else Fraction(fact)


def _step(sides: Sequence[Expression]) -> _Step:
    worked = next((side for side in sides if not side.is_bare), sides[0])
    return _Step(worked, [side.value for side in sides if side.value is not None])


def _without_restatements(steps: Sequence[_Step]) -> list[_Step]:
    """Return the steps without those that only say the last result again.

    Another number alone among steps computes nothing: with it the answer is a list, not a solution.
    """
    worked = list(steps[:1])
    for step in steps[1:]:
        if not step.worked.is_bare:
            worked.append(step)
        elif step.values[0] != worked[-1].values[0]:
            raise UnreadableError("is a list of numbers")
    if len(steps) > 1 and steps[0].worked.is_bare:
        raise UnreadableError("is a list of numbers")
    return worked


def _shortcoming(steps: Sequence[_Step], given: Sequence[Value], target: Value) -> str:
    """Return the first rule of the game that true steps break, "" when they solve it."""
    there, left = list(given), list(given)
    for step in steps:
        for operand in operands(step.worked, left):
            if operand not in there:
                return f"uses {_short(operand)}, not given"
            if operand not in left:
                times = there.count(operand)
                return f"uses {_short(operand)} " + ("twice" if times == 1 else f"{times + 1} times")
            left.remove(operand)
        there.append(step.values[0])
        left.append(step.values[0])
    reached = steps[-1].values[0]
    return "" if reached == target else f"misses the target: {_short(reached)}"


def _short(number: Value) -> str:
    text = str(number)
    return text if len(text) <= 16 else f"a number of {len(text)} characters"


# ---- typings


def statements(text: str) -> list[str]:
    """Return the expressions or equations that a text states, in order, each in plain typing.

    They stand on lines of their own, or between ";", ", ", "and", "then".
    """
    text = ascii_typing(text)
    if _PLAIN.fullmatch(text):
        return [_without_brackets(line.strip()) for line in text.split("\n")]
    text = _without_latex(_FENCE.sub("\n", text)).translate(_BRACKETS)
    lines = [" ".join(line.split()) for line in _unwrapped(text.strip()).splitlines() if line.strip()]
    for bullet in (r"- ", r"\* ") if len(lines) > 1 else ():
        lines = _without_marks(lines, bullet)
    text = "\n".join(filter(None, map(_unwrapped, lines)))
    for pattern, written in _OF_LINES:
        text = pattern.sub(written, text)
    pieces = [piece.strip() for piece in _SEPARATOR.split(text) if piece.strip()]
    # "1. ", "2) ", "3: " where they count the pieces; "1: 3" alone is a quotient.
    pieces = _without_marks(pieces, r"INDEX[.:)] (?=[0-9(])" if len(pieces) > 1 else r"INDEX[.)] (?=[0-9(])")
    return [_unwrapped(piece).replace(":", "/") for piece in pieces]


def _without_latex(text: str) -> str:
    """Return LaTeX arithmetic in plain typing; braces and commands that are left are for the reader to refuse.

    A fraction gets brackets of its own; groups and boxes become brackets, \\text its contents.
    """
    text = text.replace(r"\{", "(").replace(r"\}", ")").replace(r"\boxed", "")
    for _ in range(_DEPTH if "{" in text else 0):
        before = text
        text = IN_TEXT.sub(r" \1 ", _FRACTION.sub(r"((\1)/(\2))", text))
        if text == before and (text := _GROUP.sub(r"(\1)", text)) == before:
            break
    for command, written in _COMMANDS:
        text = command.sub(written, text)
    return text


def _unwrapped(text: str) -> str:
    """Return it without what stands round a statement: a label, a full stop, bold, brackets round an equation."""
    *_, text = layers(text, _PEELS)
    return _without_brackets(text)


def _without_brackets(text: str) -> str:
    for _ in range(_DEPTH):
        if "=" not in text or not text.startswith("(") or closing(text, 1) != len(text) - 1:
            break
        text = text[1:-1].strip()
    return text


def _without_marks(pieces: list[str], marks: str) -> list[str]:
    """Return them without the mark that each begins with; if one has none, a mark may be a sign or a number."""
    found = [re.match(marks.replace("INDEX", str(index)), piece) for index, piece in enumerate(pieces, 1)]
    if not all(found):
        return pieces
    return [piece[mark.end() :] for piece, mark in zip(pieces, found, strict=True) if mark]
