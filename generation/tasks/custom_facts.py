"""Turns a row of the user's own into a question: chooses the grader and collects what it needs.

Some graders read further columns: `choices` for choice; `numbers` (or `nums`) and `target` for countdown;
`letters`, `min_length` and `in_order` for word; a grader of the user's own, those that it names.
"""

import json
import re
from collections.abc import Collection, Mapping
from string import ascii_uppercase
from typing import Any, Literal, NamedTuple

from cluster.texts import nearest
from generation.grading.own import OwnGrader
from generation.records import Question, collapse_spaces
from generation.tasks import countdown
from generation.tasks.gold import WHOLE, FinalAnswer, check_gold, final_answer, grader_of
from generation.tasks.loaded import Row, lettered, with_choices
from generation.tasks.task import Dropped

GraderName = Literal["countdown", "number", "choice", "math", "exact", "word"]
COLUMNS = ("choices", "numbers", "nums", "target", "letters", "min_length", "in_order")  # optional columns
ANSWER_TYPES = {
    "answer": "answer",
    "countdown": "equation",
    "number": "value",
    "choice": "choice",
    "math": "value or expression",
    "exact": "answer",
    "word": "word",
}
"""Fills {answer_type_str}, by grader."""
_EXCLUSIVE = (("choice", ("choices",), 1), ("countdown", ("target", "numbers", "nums"), 2), ("word", ("letters",), 1))
"""Grader, the columns that only it reads, and how many of them must be present to show that it is meant."""
_PLACE = re.compile(r"[0-9]{1,3}")
_OPTION = re.compile(r"^[ \t]*[(\[]?([A-Z])[)\].:][ \t]+(\S.*?)[ \t]*$", re.MULTILINE)


class Reading(NamedTuple):
    grader: str | None = None  # a GraderName or a file's name; None to guess from the question and its gold answer
    question_column: str = "question"
    answer_column: str = "answer"
    split: str | None = None  # split of a hub dataset; None for "train"
    own: OwnGrader | None = None  # the grader that `grader` names, if it is the user's own

    @property
    def columns(self) -> set[str]:
        """Return the columns that are read, if they are there."""
        return {self.question_column, self.answer_column, *COLUMNS, *(self.own.columns if self.own else ())}

    @property
    def needs(self) -> str:
        return f"each row needs {self.question_column!r} and {self.answer_column!r}"


def perhaps(flag: str, column: str, names: Collection[str]) -> str:
    """Suggest the column that `column` may have been meant to name; "" if none is similar."""
    return "".join(f"; perhaps --{flag} {name}" for name in nearest(column, names, cutoff=0.75))


def read_row(place: str, row: Row, reading: Reading, task: str, source: str) -> tuple[Question, str]:
    """Return the row's question, and where in the gold answer its final answer was found, as FinalAnswer.where.

    Without a grader, the wording shows countdown and choice; otherwise the gold answer decides. Raises Dropped, naming
    the row, if it gives no question; ValueError if all rows would be misread.
    """
    text, answer = (_cell(place, row, flag, reading) for flag in ("question_column", "answer_column"))
    grader: str | None = reading.grader
    if grader is None and countdown.facts_of(text) is not None:
        grader = "countdown"
    final = FinalAnswer(answer, WHOLE)
    # Published countdown questions have arbitrary text as gold answers.
    if grader != "countdown":
        try:
            final = final_answer(answer)
        except ValueError as error:
            raise Dropped(str(error), f"{place}: the gold answer has {error}: give the final answer alone") from error
    if grader is None:
        for other, columns, enough in _EXCLUSIVE:
            there = [column for column in columns if row.get(column) not in (None, [], {}, "")]
            if len(there) >= enough:
                told = f"{place} has {there[-1]!r}, which is read with --grader {other} alone"
                raise ValueError(f"{told}: give that, or --grader exact, number or math to leave the column unread")
        grader = "choice" if _bare(final.answer) in _options_in(text) else grader_of(final)
    answer, facts, own = final.answer, {}, reading.own
    if own is not None:
        facts = {column: _fact(place, row, column, own.name) for column in own.columns}
        return Question(text, answer, task, source, own.name, own.answer_type, facts, program=own.source), final.where
    if grader == "countdown":
        facts = _countdown(place, row, text)
    elif grader == "choice":
        text, answer, facts = _choice(place, row, text, answer)
    elif grader == "word":
        facts = _word(place, row)
    question = Question(text, answer, task, source, grader, ANSWER_TYPES[grader], facts)
    check_gold(place, question)
    return question, final.where


def _cell(place: str, row: Row, flag: str, reading: Reading) -> str:
    """Return the text in the column that this flag names. Raises Dropped, naming the row, if there is none."""
    column = getattr(reading, flag)
    value = row.get(column)
    if value is None:
        there = "it is null" if column in row else f"only {', '.join(row)[:200] or 'nothing'}"
        meant = "" if column in row else perhaps(flag, column, row)
        raise Dropped(f"no {column!r}", f"{place} has no {column!r} ({there}): {reading.needs}{meant}")
    if isinstance(value, float):
        reason, told = "no exact number", f"is {value}, and no more is known of it: give what is meant as a text"
    elif not isinstance(value, str | int if flag == "answer_column" else str) or isinstance(value, bool):
        reason, told = "no text", f"must be text, not {type(value).__name__}"
    elif not collapse_spaces(str(value)):
        reason, told = "empty", "is empty; fill it in, or leave the row out"
    elif any("\ud800" <= character <= "\udfff" for character in str(value)):
        reason, told = "no text", "holds half a character (a lone surrogate); write it anew"
    else:
        return str(value)
    raise Dropped(f"{column!r} is {reason}", f"{place}: {column!r} {told}")


def _fact(place: str, row: Row, column: str, grader: str) -> Any:
    """Return what the column holds. Raises Dropped if it is missing, or holds what JSON cannot."""
    if column not in row:
        there = ", ".join(row)[:200]
        raise Dropped(f"no {column!r}", f"{place} has no {column!r}, which COLUMNS of {grader} names; only {there}")
    try:
        return json.loads(json.dumps(row[column], allow_nan=False))
    except (TypeError, ValueError) as error:
        raise Dropped(f"{column!r} is no JSON", f"{place}: {column!r} cannot be written as JSON: {error}") from error


def _countdown(place: str, row: Row, text: str) -> dict[str, Any]:
    if facts := countdown.facts_of(text):
        return facts
    reason, column = "no countdown question", "nums" if row.get("numbers") is None else "numbers"
    numbers, target = row.get(column), row.get("target")
    if numbers is None or target is None:
        raise Dropped(reason, f"{place} is {reason}: word it as ours, or give the columns 'numbers' and 'target'")
    whole = isinstance(numbers, list) and all(type(number) is int for number in numbers)
    if not numbers or not whole or type(target) is not int:
        told = f"{column!r} must be a list of whole numbers and 'target' one, not {numbers!r:.40} and {target!r:.20}"
        raise Dropped(reason, f"{place} is {reason}: {told}")
    return {"numbers": numbers, "target": target}


def _choice(place: str, row: Row, text: str, answer: str) -> tuple[str, str, dict[str, Any]]:
    """Return question, gold letter and facts; options are a list, {label, text}, {letter: text}, or in the question."""
    given, labels = row.get("choices"), []
    if isinstance(given, dict) and {"label", "text"} <= given.keys():
        labels, given = list(map(str, given["label"])), given["text"]
    elif isinstance(given, dict):
        labels = [label for label, text in given.items() if text is not None]
        given = [given[label] for label in labels]
    if given:
        try:
            found = lettered(given)
        except Dropped as error:
            raise Dropped(error.reason, f"{place} has {error}: mend its 'choices'") from error
        text = with_choices(text, found)
    elif not (found := _options_in(text)):
        told = f"{place} shows no choices: give them in a column 'choices', or as lines such as 'A) first'"
        raise Dropped("shows no choices", told)
    by_label = dict(zip(labels, found, strict=False)) if given else {}
    return text, _letter(place, answer.strip(), found, by_label), {"choices": found}


def _options_in(text: str) -> dict[str, str]:
    """Return the options listed in a question, one per line, from A on; empty if there are fewer than two."""
    found: dict[str, str] = {}
    for letter, choice in _OPTION.findall(text):
        if letter == ascii_uppercase[len(found) : len(found) + 1]:
            found[letter] = choice
    return found if len(found) > 1 else {}


def _letter(place: str, said: str, found: Mapping[str, str], labels: Mapping[str, str]) -> str:
    """Return the gold letter for a label, else for a letter, an option's text and an index from 0, if these agree."""
    whole = said.removesuffix(".0")  # integer columns become float when values are missing
    if said in labels or whole in labels:  # the row's own names for its options come first
        return labels.get(said) or labels[whole]
    letters = list(found)
    number = int(whole) if _PLACE.fullmatch(whole) else -1
    meant = {
        "as a letter": _bare(said) if _bare(said) in found else None,
        "by its text": next((letter for letter, text in found.items() if text in (said, whole)), None),
        "by its place counted from 0": letters[number] if 0 <= number < len(letters) else None,
    }
    by = {how: letter for how, letter in meant.items() if letter is not None}
    told = f"{place}: the answer {said[:60]!r}"
    if len(set(by.values())) > 1:
        ways = " and ".join(f"{letter} {how}" for how, letter in by.items())
        raise Dropped("an answer that names two options", f"{told} is option {ways}: give the letter")
    if by:
        return next(iter(by.values()))
    told += f" is none of the choices {', '.join(letters)}"
    if number == len(letters) and not any(re.search("[0-9]", text) for text in found.values()):
        raise ValueError(f"{told}; a place is counted from 0, and these seem to be counted from 1: give letters")
    raise Dropped("an answer that is no choice", told)


def _bare(said: str) -> str:
    """Strip and capitalize, so that "(b)" and "B." become B."""
    return said.strip(" ().").upper()


def _word(place: str, row: Row) -> dict[str, Any]:
    letters = row.get("letters")
    if isinstance(letters, list):
        letters = "".join(map(str, letters))
    if not isinstance(letters, str) or not letters.isalpha():
        told = f"{place} has no 'letters': the grader word needs those that may be used, such as 'tsrae'"
        raise Dropped("no letters", told)
    # A CSV column holds strings.
    least, in_order = str(row.get("min_length", "") or 1), str(row.get("in_order") or False).lower()
    if not _PLACE.fullmatch(least):
        raise Dropped("no min_length", f"{place}: 'min_length' must be a whole number, not {least[:40]!r}")
    if in_order not in ("true", "false"):
        raise Dropped("no in_order", f"{place}: 'in_order' must be true or false, not {in_order[:40]!r}")
    return {"letters": letters.lower(), "min_length": int(least), "in_order": in_order == "true"}
