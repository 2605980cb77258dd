"""What a grader needs of a user's own row beside question and answer, and which grader it is.

Some graders read further columns: `choices` for choice; `numbers` (or `nums`) and `target` for countdown;
`letters`, `min_length` and `in_order` for word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, get_args

from generation.tasks import choices, countdown

GraderName = Literal["countdown", "number", "choice", "math", "exact", "word"]
COLUMNS = ("choices", "numbers", "nums", "target", "letters", "min_length", "in_order")
"""Read where they are there."""
ANSWER_TYPES = {
    "answer": "answer",
    "countdown": "equation",
    "number": "value",
    "choice": choices.ANSWER_TYPE,
    "math": "value or expression",
    "exact": "answer",
    "word": "word",
}
"""Fills {answer_type_str}, by grader."""
assert ANSWER_TYPES.keys() >= set(get_args(GraderName))


class Judged(NamedTuple):
    """A row as a question asks it and a grader judges it."""

    text: str
    answer: str
    grader: str
    answer_type: str
    facts: Mapping[str, Any]


class _Row(NamedTuple):
    place: str
    cells: Mapping[str, Any]
    text: str
    answer: str | int | float


def judged(place: str, row: Mapping[str, Any], text: str, answer: str | int | float, grader: str | None) -> Judged:
    """The row for this grader; without one, countdown by the wording, else by the text of the answer.

    Raises ValueError, naming the row, when it lacks what the grader needs.
    """
    if grader is None:
        grader = "answer" if countdown.facts_of(text) is None else "countdown"
    read = _READERS.get(grader, _plain)
    text, answer, facts = read(_Row(place, row, text, answer))
    return Judged(text, answer, grader, ANSWER_TYPES[grader], facts)


_Read = tuple[str, str, dict[str, Any]]


def _plain(row: _Row) -> _Read:
    return row.text, str(row.answer), {}


def _countdown(row: _Row) -> _Read:
    facts = countdown.facts_of(row.text)
    if facts is None:
        numbers, target = row.cells.get("numbers", row.cells.get("nums")), row.cells.get("target")
        whole = isinstance(numbers, list) and all(type(number) is int for number in numbers)
        if not numbers or not whole or type(target) is not int:
            raise ValueError(
                f"{row.place} is no countdown question: word it as ours, or give the columns 'numbers' and 'target'"
            )
        facts = {"numbers": numbers, "target": target}
    return row.text, str(row.answer), facts


def _choice(row: _Row) -> _Read:
    given, text = row.cells.get("choices"), row.text
    try:
        found, labels = _options(given)
    except ValueError as error:
        raise ValueError(f"{row.place} has {error}: mend its 'choices'") from error
    if not found:
        found = choices.in_text(text)
    else:
        text = choices.with_choices(text, found)
    if not found:
        raise ValueError(
            f"{row.place} shows no choices: give them in a column 'choices', or as lines such as 'A) first'"
        )
    return text, _letter(row, found, labels), {"choices": found}


def _options(given: Any) -> tuple[dict[str, str], dict[str, str]]:
    """The options by letter, and the letter by their own label; of a list, {label, text}, or {letter: text}."""
    labels: list[str] = []
    if isinstance(given, dict) and {"label", "text"} <= given.keys():
        labels, given = list(map(str, given["label"])), given["text"]
    elif isinstance(given, dict):
        given = {label: text for label, text in given.items() if text is not None}
        labels, given = list(given), list(given.values())
    if not given:
        return {}, {}
    if not isinstance(given, list) or not all(isinstance(text, str | int | float) for text in given):
        raise ValueError("choices that are no list of texts")
    found = choices.lettered(list(map(str, given)))
    return found, dict(zip(labels, found, strict=False))


def _letter(row: _Row, found: Mapping[str, str], labels: Mapping[str, str]) -> str:
    """The gold letter: given as a letter or label, as an option's text, or as a place counted from 0."""
    said = str(row.answer).strip()
    if said in labels:
        return labels[said]
    if type(row.answer) is int and 0 <= row.answer < len(found):
        return list(found)[row.answer]
    if said.upper() in found:
        return said.upper()
    by_text = {text: letter for letter, text in found.items()}
    if said in by_text:
        return by_text[said]
    raise ValueError(f"{row.place}: the answer {said[:60]!r} is none of the choices {', '.join(found)}")


def _word(row: _Row) -> _Read:
    letters = row.cells.get("letters")
    if isinstance(letters, list):
        letters = "".join(map(str, letters))
    if not isinstance(letters, str) or not letters.isalpha():
        raise ValueError(f"{row.place} has no 'letters': the grader word needs those that may be used, such as 'tsrae'")
    least = row.cells.get("min_length")
    facts = {"letters": letters.lower(), "min_length": 1 if least is None else least}
    return row.text, str(row.answer), {**facts, "in_order": bool(row.cells.get("in_order"))}


_READERS: Mapping[str, Callable[[_Row], _Read]] = {"countdown": _countdown, "choice": _choice, "word": _word}
