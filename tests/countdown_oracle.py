"""A second implementation of the countdown grader, from the rules alone: nothing is shared with the first.

It reads what `made_up` writes: expressions in plain or Unicode signs, equations, and steps on lines; it knows
no LaTeX and no labels. Its parser climbs precedences, the grader's is Python's own.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from fractions import Fraction

_SIGNS = str.maketrans("×÷−·", "*/-*")
_TOKEN = re.compile(r"\s*([0-9]+|[-+*/()])")
_STRENGTH = {"+": 1, "-": 1, "*": 2, "/": 2}


class NoExpressionError(Exception):
    """The text is none."""


class _Parser:
    """One expression: its value, None for one that divides by zero, and the numbers it is written with."""

    def __init__(self, text: str) -> None:
        self.numbers: list[Fraction] = []
        self.tokens: list[str] = []
        position, text = 0, text.strip()
        while position < len(text):
            token = _TOKEN.match(text, position)
            if token is None:
                raise NoExpressionError
            self.tokens.append(token[1])
            position = token.end()
        self.value = self._climb(1)
        if self.tokens:
            raise NoExpressionError

    def _climb(self, least: int) -> Fraction | None:
        value = self._atom()
        while self.tokens and _STRENGTH.get(self.tokens[0], 0) >= least:
            sign = self.tokens.pop(0)
            right = self._climb(_STRENGTH[sign] + 1)
            value = _worth(sign, value, right)
        return value

    def _atom(self) -> Fraction | None:
        if not self.tokens:
            raise NoExpressionError
        token = self.tokens.pop(0)
        if token.isdigit():
            self.numbers.append(Fraction(token))
            return self.numbers[-1]
        if token in "+-":
            value = self._atom()
            return -value if token == "-" and value is not None else value
        if token != "(":
            raise NoExpressionError
        value = self._climb(1)
        if not self.tokens or self.tokens.pop(0) != ")":
            raise NoExpressionError
        return value


def judge(answer: str, numbers: list[int], target: int) -> str:
    """right, wrong or unknown."""
    try:
        lines = [_bare(line).split("=") for line in answer.translate(_SIGNS).strip().splitlines()]
        read = [[_Parser(side) for side in line] for line in lines]
    except NoExpressionError:
        return "unknown"
    if any(side.value is None or side.value != line[0].value for line in read for side in line):
        return "wrong"
    worked = [next((side for side in line if len(side.numbers) > 1), line[0]) for line in read]
    return "right" if _solves(worked, numbers, target) or _solves(worked[-1:], numbers, target) else "wrong"


def _bare(equation: str) -> str:
    """Without brackets round it: "(3 + 4 = 7)" is a statement all the same."""
    text, depth = equation.strip(), 0
    if "=" not in text or not text.startswith("("):
        return text
    for position, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if not depth:
            return text[1:-1] if position == len(text) - 1 else text
    return text


def _solves(steps: list[_Parser], numbers: list[int], target: int) -> bool:
    left = Counter(map(Fraction, numbers))
    for step in steps:
        for number in step.numbers:
            if not left[number]:
                return False
            left[number] -= 1
        assert step.value is not None
        left[step.value] += 1
    return steps[-1].value == target


def made_up(rng: random.Random) -> tuple[str, list[int], int]:
    """An answer with its question: often right, often wrong by one slip, sometimes torn."""
    numbers = [rng.randint(1, 12) for _ in range(rng.randint(2, 6))]
    used = rng.sample(numbers, rng.randint(2, len(numbers)))
    answer, value = _steps(rng, used) if rng.random() < 0.3 else _expression(rng, used)
    whole = value is not None and value.denominator == 1
    target = int(value) if whole and value is not None and rng.random() < 0.7 else rng.randint(1, 50)
    if rng.random() < 0.4 and "\n" not in answer:
        answer = f"{answer} = {target}" if rng.random() < 0.7 else f"{target} = {answer}"
    if rng.random() < 0.2:
        numbers[rng.randrange(len(numbers))] = rng.randint(1, 12)
    if rng.random() < 0.15 and "\n" not in answer:
        place = rng.randrange(len(answer))
        answer = answer[:place] + rng.choice(["", "(", ")", "7", "+", "x y", "^", "=", " "]) + answer[place + 1 :]
    if rng.random() < 0.3:
        answer = answer.replace("*", "×").replace("/", "÷").replace("-", "−")
    return answer, numbers, target


def _expression(rng: random.Random, used: list[int]) -> tuple[str, Fraction | None]:
    parts: list[tuple[str, Fraction | None]] = [(str(number), Fraction(number)) for number in used]
    while len(parts) > 1:
        (left, a), (right, b) = parts.pop(rng.randrange(len(parts))), parts.pop(rng.randrange(len(parts)))
        sign = rng.choice("+-*/")
        space = rng.choice(["", " "])
        parts.append((f"({left}{space}{sign}{space}{right})", _worth(sign, a, b)))
    text, value = parts[0]
    if rng.random() < 0.7:
        text = text[1:-1]
    return text, value


def _steps(rng: random.Random, used: list[int]) -> tuple[str, Fraction | None]:
    """Equations on lines, with whole results above zero, so that each operand is a plain number."""
    values, lines = list(used), []
    while len(values) > 1:
        a, b = sorted((values.pop(rng.randrange(len(values))), values.pop(rng.randrange(len(values)))), reverse=True)
        signs = [sign for sign in "+-*/" if not (sign == "-" and a == b) and not (sign == "/" and a % b)]
        sign = rng.choice(signs)
        result = _worth(sign, Fraction(a), Fraction(b))
        assert result is not None
        claimed = int(result) + (rng.random() < 0.05)
        lines.append(f"{a} {sign} {b} = {claimed}")
        values.append(int(result))
    return "\n".join(lines), Fraction(values[0])


def _worth(sign: str, a: Fraction | None, b: Fraction | None) -> Fraction | None:
    if a is None or b is None or (sign == "/" and not b):
        return None
    return {"+": a + b, "-": a - b, "*": a * b}.get(sign) if sign != "/" else a / b
