r"""The final answer of a gold answer that is a worked solution, and which grader judges a gold answer by its looks.

A solution says it behind `####`, in a `\boxed{}` or in `<answer>` tags. Knows no grader's rules.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from generation.grading import find_answer
from generation.grading.errors import RefusedError
from generation.grading.number import Quantity, in_digits, read_quantity
from generation.tasks.boxed import boxed

WHOLE = "the whole text"
# At the end; MetaMath says it once more behind that. Elsewhere it is a heading.
_MARK = re.compile(r"(?<!#)####(?!#)[ \t]*([^\n]*)(?:\s*the answer is:?[^\n]*)?\s*\Z", re.IGNORECASE)
_BARE_BOX = re.compile(r"\\boxed\s+(?=[^\s{])([^\s{}$\\]+)")
_OPEN_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])")
_TAG = re.compile(r"</answer>", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]")
_MONEY = re.compile("[$€£¥₹]")
# What is spelled with letters in a number.
_IN_NUMBERS = re.compile(
    r"\\[dtc]?frac(?![A-Za-z])|\\times(?![A-Za-z])|(?<=[0-9])[eE](?=[+-]?[0-9])| (?:thousand|[mb]illion)\Z"
)
_FORMULA = re.compile(
    r"\\(?:[dtc]?frac|sqrt|pi|pm|mp|cdot|times|infty|circ|left|binom|begin|mathbb|cup|cap|log|ln|sin|cos|tan|theta"
    r"|alpha|leq?|geq?|neq?|sum|prod|int|overline|angle|text|mathrm|mathbf|emptyset)(?![a-z])|\A\s*\$[^$]+\$\.?\s*\Z"
)
_NO_ANSWERS = frozenset(
    {
        *("not found", "no answer", "no answer found", "not available", "n/a", "na", "nan", "none", "null", "nil"),
        *("unknown", "tbd", "todo", "error", "answer not found", "[no answer]", "[not found]", "[none]", "[invalid]"),
    }
)


class Final(NamedTuple):
    """What a sample has to say, and where it stood in the gold answer."""

    answer: str
    where: str
    """WHOLE, or a mark."""


def final_answer(text: str) -> Final:
    """Return the final answer of a worked solution, or the whole text. Raises ValueError if it has none or several."""
    if mark := _MARK.search(text):
        return _said(mark[1], "behind ####")
    if _TAG.search(text):
        return _said(find_answer(text) or "", "in <answer>")
    if not _OPEN_BOX.search(text):
        return Final(text, WHOLE)
    found = boxed(_BARE_BOX.sub(r"\\boxed{\1}", text.replace(r"\fbox", r"\boxed")))
    if len({"".join(one.split()) for one in found}) > 1:
        raise ValueError(r"several different \boxed{}")
    return _said(found[-1] if found else "", r"in \boxed{}")


def _said(answer: str, where: str) -> Final:
    if not answer.strip():
        raise ValueError(f"nothing {where}" if where != r"in \boxed{}" else r"a \boxed{} that is empty or not closed")
    return Final(answer.strip(), where)


def grader_of(final: Final) -> str:
    """Choose the grader for a gold answer by its looks: number, math, or answer, which compares texts."""
    number = _number(final.answer)
    worded = final.where == WHOLE and _WORD.search(_IN_NUMBERS.sub("", in_digits(final.answer)))
    # "5 km" is one, too; "12 Monkeys" is a name, "$5 bill" a thing.
    if number is not None and (not worded or (number.unit and not _MONEY.search(final.answer))):
        return "number"
    if final.where == r"in \boxed{}" or _FORMULA.search(final.answer):
        return "math"
    return "answer"


def says_none(answer: str) -> bool:
    """Return True if a gold answer only says that there is none, as programs write it."""
    return " ".join(answer.split()).strip(".!").casefold() in _NO_ANSWERS


def _number(text: str) -> Quantity | None:
    try:
        return read_quantity(text)
    except RefusedError:
        return None
