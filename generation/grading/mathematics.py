"""Judges a mathematical answer: as a number, as words, or else by math-verify, in a process that can be killed.

Exact values are compared exactly; a decimal is right if it is `nearly_equal` to the gold answer. If the two differ in
ambiguous notation, the answer is unknown, which is safe.
"""

import re
from functools import lru_cache
from typing import Any

from generation.grading.errors import CannotStartError, RefusedError, UnreadableError
from generation.grading.formula import formula, is_wordy, words_of
from generation.grading.number import CHANGING, Quantity, comparisons, nearly_equal, number_of
from generation.grading.text import DIFFERS, READINGS, normalised, plain
from generation.grading.workers import pool_of
from generation.records import ANOTHER_UNIT, GOLD_UNREADABLE, UNDECIDED, Question

WORKER = "generation.grading.math_worker"
_DECIMAL = re.compile(r"\.[0-9]*[1-9]")
_VARIABLE = re.compile(r"(?<![A-Za-z\\])[A-Za-z](?![A-Za-z])")
_LOOSE = re.compile(r"[\s{}()]")
_LOGARITHM = re.compile(r"ln|log(?! ?(?:_|2|10))")
_OPTION = re.compile(r"\([A-Z]\)|^[A-Z][.):]")
_CONSTANT = re.compile(r"\+ ?[CK]$|^[CK] ?\+")
_BOUND = re.compile(r"[<>]|\\[lg]eq?(?![a-z])")
_COMMA = re.compile(r"(?<![0-9.,])[0-9]+,[0-9]+(?![0-9.,])")
_SPACE = re.compile(r"(?<![0-9])\s+|\s+(?![0-9])")
_THOUSANDS = re.compile(r"(?<=[0-9]),(?=[0-9]{3}(?![0-9]))")
_NAMED = re.compile(r"((?:[A-Za-z]|\\[A-Za-z]+)(?: ?_ ?\w)?(?: ?\([^()=]*\))?) ?(?:=|\\in(?![a-z])|\bin\b) ?([^=<>]+)")
_VALUES = re.compile(r"(?<![A-Za-z\\])([A-Za-z]) ?= ?")


def judge_math(answer: str, question: Question) -> str:
    """Return "" if the answer is mathematically equal to `question.answer`, else what is wrong."""
    gold = question.answer
    if _is_same_text(answer, gold):
        return ""
    for place, (_, mark, _) in enumerate(READINGS["several_things"]):
        one, other = (sorted(_LOOSE.sub("", hit[0]) for hit in mark.finditer(plain(text))) for text in (gold, answer))
        if one != other or ":" in "".join(one) or (one and place == 0):
            raise UnreadableError(f"differs in what may mean several things: {one or other}")
    # Two numbers, with their units. If the gold answer is an equation, the question may ask for all of it.
    number = None if "=" in gold and _VARIABLE.search(gold) else number_of(gold)
    if number and (quantity := number_of(answer)):
        return "" if _is_equal_number(quantity, number, answer, gold) else DIFFERS
    if number and "=" in answer:
        raise UnreadableError("is an equation that is not solved")
    # Words, or else two formulas.
    said = formula(answer)
    try:
        wanted = formula(gold)
    except RefusedError as error:
        raise RefusedError(str(error), GOLD_UNREADABLE) from error
    if said.unit and wanted.unit and said.unit != wanted.unit:
        raise RefusedError("has another unit", ANOTHER_UNIT)
    is_equal = _is_equal_in_words if is_wordy(wanted.text) or is_wordy(said.text) else _is_equal
    return "" if is_equal(wanted.text, said.text) else DIFFERS


def _is_same_text(answer: str, gold: str) -> bool:
    """Return True for the same text; case matters if the gold answer has a letter in both cases, as in R - r."""
    is_same = _SPACE.sub("", answer) == _SPACE.sub("", gold)
    return is_same or (not _has_both_cases(gold) and normalised(answer) == normalised(gold))


def _has_both_cases(text: str) -> bool:
    letters = set(_VARIABLE.findall(text))
    return not letters.isdisjoint(map(str.swapcase, letters))


def _is_equal_number(said: Quantity, gold: Quantity, said_text: str, gold_text: str) -> bool:
    """Return True if exactly equal, or near if one has decimals and neither is written as a whole number."""
    names = ["".join(text.split()).lower().partition("=") for text in (said_text, gold_text)]
    if all(equals for _, equals, _ in names) and names[0][0].strip("$*") != names[1][0].strip("$*"):
        raise UnreadableError("is the value of another name")
    pairs = comparisons(said, gold)
    if any(one == other for one, other in pairs):
        return True
    decimals = [bool(_DECIMAL.search(text)) for text in (said_text, gold_text)]
    exact = [one.value.denominator == 1 and not has for one, has in zip((said, gold), decimals, strict=True)]
    if any(exact) or not any(decimals):
        return False
    found = [nearly_equal(*pair) for pair in pairs]
    if None in found and True not in found:
        raise RefusedError("is a rounding, perhaps too rough", UNDECIDED)
    return any(found)


def _is_equal_in_words(gold: str, said: str) -> bool:
    wanted, words = words_of(gold), words_of(said)
    numbers = CHANGING & {*wanted.split(), *words.split()}
    if wanted != words and (numbers or re.search(rf"\b{re.escape(wanted)}\b", words)):
        raise UnreadableError("says more, or words for a formula")
    return wanted == words


def _is_equal(gold: str, said: str) -> bool:
    """Return True if two formulas are equal. Raises RefusedError if that is undecided."""
    if words_of(gold) == words_of(said) and words_of(gold).isalpha() and "(" in gold + said:
        return True  # an option: "(B)" and "B"
    gold, said = _values_of(gold, said)
    _check_shapes(gold, said)
    reply = compare(gold, said)
    if reply["equal"]:
        return True
    if not reply["answer"]:
        raise UnreadableError("cannot be read as mathematics")
    if not reply["gold"]:
        raise RefusedError("the gold answer cannot be read as mathematics", GOLD_UNREADABLE)
    if reply["undecided"]:
        raise RefusedError("is not known to be equal", UNDECIDED)
    if _CONSTANT.search(gold) or _CONSTANT.search(said):
        raise UnreadableError("may be the same antiderivatives")
    return False


# The samples of a question mostly give the same few answers.
@lru_cache(maxsize=1024)
def compare(gold: str, said: str) -> dict[str, Any]:
    """Return a worker's reply about two formulas. Raises TimedOutError, DiedError or CannotStartError."""
    try:
        return pool_of(WORKER).ask({"gold": gold, "answer": said})
    except CannotStartError as error:
        raise CannotStartError(f"the grader 'math' needs math-verify[antlr4_13_2]: {error}") from error


def _values_of(gold: str, said: str) -> tuple[str, str]:
    """Strip a variable name that only one has or both share: "x = 5", "x = 1 or x = 2"."""
    one, other = _NAMED.fullmatch(gold), _NAMED.fullmatch(said)
    if (one and other and one[1] == other[1]) or (one and "=" not in said) or (other and "=" not in gold):
        return (one[2] if one else gold), (other[2] if other else said)
    names = [_VALUES.findall(text) for text in (gold, said)]
    if any(len(found) > 1 for found in names) and len({*names[0], *names[1]}) == 1:
        gold, said = (re.sub(r" ?\b(?:or|and)\b", ",", _VALUES.sub("", text)) for text in (gold, said))
    return gold, said


def _check_shapes(gold: str, said: str) -> None:
    """Raise UnreadableError if math-verify would compare ambiguous forms."""
    shapes, repeats = ({shape(gold), shape(said)} for shape in (_shape, _repeats))
    doubts = {
        "the number of solutions, or none": gold == "0" and said == r"\emptyset",
        "an option, and what it says": len(_OPTION.findall(gold)) != len(_OPTION.findall(said)),
        "degrees or radians": (r"\circ" in gold) != (r"\circ" in said),
        "of which base": set(_LOGARITHM.findall(gold)) != set(_LOGARITHM.findall(said)),
        "two bounds for a union": _BOUND.search(said) and re.search(r"\b(?:and|or)\b", said),
        "a list for a tuple or a set": "tuple" in shapes and shapes & {"list", "set"},
        # math-verify turns a list into a set, which may have a single element.
        "what is said twice": len(repeats) > 1 and shapes != {"tuple"},
        "a decimal comma": any(_COMMA.search(a) and "," not in b for a, b in ((gold, said), (said, gold))),
        "values of several names": max(gold.count("="), said.count("=")) > 1,
        "another name, or another point": gold.count("=") == said.count("=") == 1 and _differ_by_name(gold, said),
        "one letter in two cases": _has_both_cases(gold),
    }
    for doubt, holds in doubts.items():
        if holds:
            raise UnreadableError(doubt)


def _shape(text: str) -> str:
    is_tuple = text[:1] in ("(", "[") and text[-1:] in (")", "]")
    kind = "set" if text.startswith(r"\{") else "tuple" if is_tuple else "list"
    return kind if "," in text else ""


def _repeats(text: str) -> int:
    """Count the repeated items of a list."""
    listed = "".join(_THOUSANDS.sub("", text).split()).strip("()[]{}\\")
    pieces = re.split(r",|and|or", listed)
    return len(pieces) - len(set(pieces))


def _differ_by_name(gold: str, said: str) -> bool:
    """Return True if the left sides differ and math-verify might compare only the right sides."""
    (left, _, right), (other, _, value) = ("".join(text.split()).partition("=") for text in (gold, said))
    return left != other and (
        right == value != "0" or re.search(r"[A-Za-z]\(|[A-Z]|\\[A-Za-z]", f"{left} {other}") is not None
    )
