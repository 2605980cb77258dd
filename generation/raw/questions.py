"""The question that a stored row asks, with how its answers are graded.

Rows of ours say so in `metadata`; of others, the wording shows countdown and choices, and the gold answer the rest.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple, cast

from generation.grading import GRADERS
from generation.grading.answers import places_of, read_answer_in
from generation.grading.own import SUFFIX, OwnGrader
from generation.records import ANSWER_IN, Question, collapse_spaces
from generation.tasks.custom_facts import ANSWER_TYPES, GraderName, Reading, read_row
from generation.tasks.gold import check_gold, final_answer
from generation.tasks.task import Dropped

FACTS: Mapping[str, tuple[str, ...]] = {
    "choice": ("choices",),
    "countdown": ("numbers", "target"),
    "gym": ("generator", "entry"),
    "word": ("letters", "min_length", "in_order"),
}
"""What a grader needs besides the gold answer."""
_OPTIONAL = frozenset({"choice"})  # graders that can do without, where a row of ours has none
_PLACE = "the row"  # how messages call it; whoever reads rows puts its place before them


class Chosen(NamedTuple):
    """How rows are graded that are not graded by their own question; None leaves that to the question."""

    grader: str | None = None
    answer_in: str | None = None  # as --answer_in
    task: str | None = None  # of these rows alone
    own: OwnGrader | None = None  # the grader that `grader` names, if it is the user's own


def question_of(text: str, answer: str, task: str, source: str, metadata: str | None) -> Question:
    """Return the question of a row. Raises Dropped, or another ValueError, in one line, if it cannot be graded by it.

    `metadata` is JSON, as RAW_DATA and EVAL_DATA have it; a text without a grader is not ours.
    """
    if not collapse_spaces(text):
        raise ValueError(f"{_PLACE} has no question")
    if (known := _known(metadata)) is None:
        question, _ = read_row(_PLACE, {"question": text, "answer": answer}, Reading(), task, source)
        return replace(question, answer_in=places_of(question.grader, None))
    grader, facts, places = known["grader"], known.get("facts", {}), known.get("answer_in", list(ANSWER_IN))
    if grader.endswith(SUFFIX):
        # A program that comes with data is never executed.
        raise ValueError(f"graded by {grader:.60}, a file of its maker's own: give that file with --grader or --task")
    if grader not in GRADERS:
        raise ValueError(f"no grader is called {grader!r:.60}; the graders are {', '.join(GRADERS)}")
    if not isinstance(facts, dict) or not isinstance(places, list) or not all(isinstance(one, str) for one in places):
        raise ValueError(f"{_PLACE} has metadata that is not as written here")
    kind = str(known.get("answer_type", ANSWER_TYPES.get(grader, "answer")))
    question = Question(text, answer, task, source, grader, kind, facts, read_answer_in(",".join(places)))
    return _checked(question, optional=_OPTIONAL)


def chosen_question(row: tuple[str, str, str, str, str | None], chosen: Chosen) -> Question:
    """Return the question of a row, the arguments of question_of, as graded by `chosen`. Raises as question_of does.

    Facts that another grader needs are those in `metadata`, or else in the wording.
    """
    text, answer, task, source, metadata = row
    if chosen.task not in (None, task):
        return question_of(*row)
    if chosen.grader is None:
        question = question_of(*row)
        places = question.answer_in if chosen.answer_in is None else read_answer_in(chosen.answer_in)
        return replace(question, answer_in=places)
    known = _known(metadata) or {}
    facts, needed = known.get("facts"), FACTS.get(chosen.grader, ())
    if chosen.own is not None:
        question = _by_own(Question(text, answer, task, source, "", "", facts or {}), chosen.own, is_ours=bool(known))
    elif known and isinstance(facts, dict) and {*needed} <= facts.keys():
        kind = ANSWER_TYPES.get(chosen.grader, "answer")
        question = _checked(Question(text, answer, task, source, chosen.grader, kind, facts))
        check_gold(_PLACE, question)
    elif chosen.grader in ANSWER_TYPES:
        reading = Reading(cast(GraderName, chosen.grader))
        question, _ = read_row(_PLACE, {"question": text, "answer": answer}, reading, task, source)
    else:
        raise ValueError(f"{_PLACE} has no {needed[0]!r}, which the grader {chosen.grader} needs")
    stated = known.get("answer_in", [*ANSWER_IN] if known.get("grader") == chosen.grader else None)
    if chosen.answer_in is None and isinstance(stated, list):
        return replace(question, answer_in=read_answer_in(",".join(map(str, stated))))
    return replace(question, answer_in=places_of(chosen.grader, chosen.answer_in))


def _by_own(question: Question, own: OwnGrader, *, is_ours: bool) -> Question:
    """Return the question as graded by the user's own grader. Raises ValueError if it lacks a fact."""
    if lacking := [column for column in own.columns if column not in question.facts]:
        raise ValueError(f"{_PLACE} has no {lacking[0]!r}, which the grader {own.name} needs")
    gold = question.answer
    if not is_ours:
        try:
            gold = final_answer(gold).answer
        except ValueError as error:
            raise Dropped(f"a gold answer that has {error}", f"{_PLACE}: the gold answer has {error}") from error
    return replace(question, answer=gold, grader=own.name, answer_type=own.answer_type, program=own.source)


def _known(metadata: str | None) -> dict[str, Any] | None:
    """Return what our metadata says; None for what is not ours."""
    try:
        known = json.loads(metadata or "null")
    except (ValueError, RecursionError):
        return None
    return known if isinstance(known, dict) and isinstance(known.get("grader"), str) else None


def _checked(question: Question, optional: frozenset[str] = frozenset()) -> Question:
    """Return the question. Raises ValueError if its grader lacks a fact, or cannot read one."""
    lacking = [name for name in FACTS.get(question.grader, ()) if name not in question.facts]
    if lacking and question.grader not in optional:
        raise ValueError(f"{_PLACE} has no {lacking[0]!r}, which the grader {question.grader} needs")
    try:
        if question.grader != "gym" and question.grader in FACTS:
            # No grader can read "?", so this only finds facts of the wrong kind, before a response would.
            GRADERS[question.grader]("?", question)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{_PLACE} has facts that the grader {question.grader} cannot read: {error!r:.80}") from error
    return question
