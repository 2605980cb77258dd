"""Grades the rows of a batch again: what they are read as, their grades, and the columns these give."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cluster.inference.engine import FinishReason
from generation.evaluation.equivalence import same_answers
from generation.grading import find_answer, grade
from generation.raw.questions import FACTS, Chosen, chosen_question
from generation.raw.reader import UNDECIDED, parted
from generation.raw.schema import as_lists, attempt_entry, is_list, lengths, lists_of
from generation.records import NO_ANSWER, Grade, InnerAttempt, Outcome, Question, collapse_spaces
from generation.regrading.columns import BEFORE, Layout
from generation.rollout import grade_inner
from generation.tasks.task import Dropped

NO_RESPONSE, NO_QUESTION = "no response", "no question"
_QUESTIONS = 4096  # kept in memory; the rows of a question are neighbours in most sets
_TRACE = "<sample>"
Row = tuple[str, str, str, str, str | None]
"""Question, gold answer, task, source and metadata."""


class Read(NamedTuple):
    """A row's question, or why it has none: the reason by which such rows are counted, and the whole message."""

    question: Question | None
    reason: str = ""
    told: str = ""
    needed: bool = False  # True if the grader that was asked for needs a fact that the row lacks


class Responses(NamedTuple):
    """The responses of a batch, one after another."""

    owner: np.ndarray  # the index of each one's row
    counts: np.ndarray  # how many each row has
    texts: list[str | None]  # without thoughts
    thoughts: list[str | None]
    finish: list[FinishReason]
    traces: np.ndarray  # True for those whose thought may be a trace
    before: list[Grade]
    known: list[bool]  # True if the file gives the reason of the grade before


class Graded(NamedTuple):
    grades: list[Grade]
    inner: list[tuple[InnerAttempt, ...]]
    kept: np.ndarray  # True for each row that keeps its grades
    keeps: list[tuple[int, Read]]  # its index, for each row of which a response keeps its grade, and why


def reader_of(chosen: Chosen) -> Any:
    """Return a function that reads the question of a Row, and remembers the last ones."""

    @lru_cache(_QUESTIONS)
    def read(row: Row) -> Read:
        if not collapse_spaces(row[0]):
            return Read(None, NO_QUESTION, NO_QUESTION)
        try:
            return Read(chosen_question(row, chosen))
        except ValueError as error:
            reason = error.reason if isinstance(error, Dropped) else str(error)
            needs = chosen.grader in FACTS or (chosen.own is not None and chosen.own.columns)
            is_chosen = bool(needs) and chosen.task in (None, row[2])
            # Other rows may have a gold answer that can be read; a fact that is missing is a fault of the choice.
            of_gold = isinstance(error, Dropped) and "answer" in error.reason
            return Read(None, reason, str(error), needed=is_chosen and not of_gold)

    return read


def responses_of(batch: pa.RecordBatch, layout: Layout) -> Responses:
    """Read the responses of a batch, with their grades so far."""
    lists = as_lists(batch[layout.response])
    counts = lengths(lists)

    def flat(role: str, type_: pa.DataType | None) -> pa.Array:
        return _flat(batch, layout.there.get(role), counts, type_)

    texts = lists.flatten().cast(pa.string())
    told = "thought" in layout.there
    thoughts, replies = parted(flat("thought", pa.string()), texts, told=told, graded=True)
    traces = pc.fill_null(pc.match_substring(thoughts, _TRACE, ignore_case=True), False)
    cut = pc.fill_null(flat("cut", pa.bool_()), False).to_pylist()
    finish: list[FinishReason] = ["length" if one else "stop" for one in cut]
    requests = flat("requests", None)
    if pa.types.is_struct(requests.type) and requests.type.get_field_index("finish_reason") >= 0:
        ended = pc.struct_field(requests, "finish_reason").to_pylist()
        finish = ["error" if end == "error" else one for end, one in zip(ended, finish, strict=True)]
    said = [flat(role, pa.string()).to_pylist() for role in ("outcome", "reason", "extracted", "found")]
    correct = flat("correct", pa.bool_()).to_pylist()
    if "extracted" not in layout.there:
        said[2] = [None if text is None else find_answer(text) for text in replies.to_pylist()]
    return Responses(
        np.repeat(np.arange(len(counts)), counts),
        counts,
        replies.to_pylist(),
        thoughts.to_pylist(),
        finish,
        traces.to_numpy(zero_copy_only=False),
        [_before(*one) for one in zip(correct, *said, strict=True)],
        [outcome is not None for outcome in said[0]],
    )


def _flat(batch: pa.RecordBatch, name: str | None, counts: np.ndarray, type_: pa.DataType | None) -> pa.Array:
    """Return a value for each response: null where the column has none for it, or is not there."""
    if name is None:
        return pa.nulls(int(counts.sum()), type_ or pa.null())
    lists = as_lists(batch[name])
    there = lengths(lists)
    values = lists.flatten()
    if not (there == counts).all():
        within = np.concatenate([np.arange(count) for count in counts]) if len(counts) else counts
        owner = np.repeat(np.arange(len(counts)), counts)
        starts = np.cumsum(there) - there
        places = starts[owner] + within
        values = values.take(pa.array(places, mask=within >= there[owner]))
    return values if type_ is None else values.cast(type_)


def _before(
    correct: bool | None, outcome: Outcome | None, reason: str | None, extracted: str | None, found: str | None
) -> Grade:
    """Return the grade that a response has, its outcome derived as reading a RAW_DATA does if no column says it."""
    if outcome is not None:
        return Grade(outcome, reason or "", extracted, found or "")
    answered = bool(extracted and extracted.strip())
    if correct:
        return Grade("right", "", extracted)
    if correct is None:
        return Grade("unknown", UNDECIDED, extracted)
    return Grade("wrong", "", extracted) if answered else Grade("unknown", NO_ANSWER, extracted)


def rows_of(batch: pa.RecordBatch, layout: Layout) -> list[Row]:
    """Return what tells each row's question."""
    texts = []
    for role in ("question", "answer", "task", "source", "metadata"):
        column = batch[layout.there[role]] if role in layout.there else pa.nulls(batch.num_rows, pa.string())
        column = column.cast(pa.string()) if _is_text(column.type) else pa.nulls(batch.num_rows, pa.string())
        texts.append((column if role == "metadata" else pc.fill_null(column, "")).to_pylist())
    return list(zip(*texts, strict=True))


def _is_text(type_: pa.DataType) -> bool:
    type_ = type_.value_type if pa.types.is_dictionary(type_) else type_
    return bool(pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_))


def graded_again(questions: Sequence[Read], given: Responses) -> Graded:
    """Grade each response by its row's question; one that cannot be graded keeps its grade."""
    grades, inner, keeps = list[Grade](), list[tuple[InnerAttempt, ...]](), dict[int, Read]()
    known: dict[tuple[int, str, FinishReason, bool], Grade] = {}
    usable = np.zeros(len(given.texts), dtype=bool)
    for place, row in enumerate(given.owner.tolist()):
        question, text, ended = questions[row].question, given.texts[place], given.finish[place]
        if question is None or (text is None and ended != "error"):
            keeps[row] = Read(None, NO_RESPONSE, NO_RESPONSE)
            grades.append(given.before[place])
            inner.append(())
            continue
        usable[place] = True
        thought = given.thoughts[place]
        key = id(question), text or "", ended, thought is None
        if (judged := known.get(key)) is None:
            judged = known[key] = grade(text or "", question, ended, thought)
        grades.append(judged)
        inner.append(grade_inner(thought, question, judged) if given.traces[place] else ())
    kept = np.bincount(given.owner[usable], minlength=len(questions)) == 0
    for row in np.flatnonzero(kept).tolist():
        keeps[row] = questions[row] if questions[row].question is None else Read(None, NO_RESPONSE, NO_RESPONSE)
    return Graded(grades, inner, kept, sorted(keeps.items()))


class Work(NamedTuple):
    """A batch of rows with everything that was found out about it."""

    batch: pa.RecordBatch
    layout: Layout
    questions: Sequence[Read]
    given: Responses
    graded: Graded


def work_on(batch: pa.RecordBatch, layout: Layout, questions: Sequence[Read]) -> Work:
    """Grade a batch again."""
    given = responses_of(batch, layout)
    return Work(batch, layout, questions, given, graded_again(questions, given))


def new_rows(work: Work) -> pa.RecordBatch:
    """Return the batch with its grades replaced, and those before in columns of their own."""
    batch, layout, grades = work.batch, work.layout, work.graded.grades
    roles = {column: role for role, column in layout.graded.items()}
    columns = []
    for name in layout.written.names:
        if name in roles:
            columns.append(_column(work, roles[name], _values(work, roles[name])))
        elif name.endswith(BEFORE) and name.removesuffix(BEFORE) in roles:
            columns.append(batch[name.removesuffix(BEFORE)])
        else:
            columns.append(batch[name])
    assert len(grades) == int(work.given.counts.sum()), "a response was lost"
    return pa.RecordBatch.from_arrays(columns, schema=layout.written)


def _values(work: Work, role: str) -> list[Any]:
    """Return a graded column's value for each response."""
    grades, inner = work.graded.grades, work.graded.inner
    if role in ("correct", "reflected"):
        return [one.is_correct for one in grades]
    if role == "inner_correct":
        return [[one.grade.is_correct for one in attempts] for attempts in inner]
    if role == "inner_extracted":
        return [[one.grade.extracted for one in attempts] for attempts in inner]
    if role == "attempts":
        made = [[attempt_entry(one) for one in attempts] for attempts in inner]
        return made if work.layout.is_eval else [one or None for one in made]
    if role == "same":
        return _same(work)
    if role == "seen":
        return []  # a value for each row, not for each response
    return [getattr(one, role) for one in grades]


def _same(work: Work) -> list[int | None]:
    found = list[int | None]()
    counts = work.given.counts
    for read, end, count in zip(work.questions, np.cumsum(counts).tolist(), counts.tolist(), strict=True):
        of_row = work.graded.grades[end - count : end]
        found += [None] * count if read.question is None else same_answers(read.question, of_row)
    return found


def _column(work: Work, role: str, values: list[Any]) -> pa.Array:
    batch, counts, kept = work.batch, work.given.counts, work.graded.kept
    name = work.layout.graded[role]
    type_ = work.layout.written.field(name).type
    there = batch[name] if name in batch.schema.names else None
    if role == "seen":
        return seen_again(there, work.questions).cast(type_)
    if role == "reflected":
        made = reflected_again(there, _firsts(values, counts)).cast(type_)
    elif is_list(type_) and (role != "attempts" or work.layout.is_eval):
        made = lists_of(pa.array(values, type_.value_type), counts).cast(type_)
    else:
        made = pa.array(_firsts(values, counts), type_)
    if there is None or not kept.any():
        return made
    count = batch.num_rows
    places = np.where(kept, count + np.arange(count), np.arange(count))
    return pa.concat_arrays([made, there.cast(type_)]).take(pa.array(places))


def seen_again(seen: pa.Array, questions: Sequence[Read]) -> pa.Array:
    """Return what retries saw, the samples in it graded again; null, and rows that cannot be graded, stay."""
    rows = seen.to_pylist()
    for row, read in zip(rows, questions, strict=True):
        if row is not None and read.question is not None:
            judged = grade(row["sample"], read.question, "length" if row["cut"] else "stop")
            row |= {"outcome": judged.outcome, "answer": judged.extracted}
    return pa.array(rows, seen.type)


def _firsts(values: Sequence[Any], counts: np.ndarray) -> list[Any]:
    """Return the value of each row's first response; None for a row without one."""
    starts = (np.cumsum(counts) - counts).tolist()
    return [values[start] if count else None for start, count in zip(starts, counts.tolist(), strict=True)]


def reflected_again(lists: pa.Array, correct: Sequence[bool | None]) -> pa.Array:
    """Return the provenance of reflections with `valid` as the correctness of the samples has it."""
    entries, counts = lists.flatten(), lengths(lists)
    of_sample = pa.array(correct, pa.bool_()).take(pa.array(np.repeat(np.arange(len(lists)), counts)))
    said = pc.equal(pc.struct_field(entries, "verdict"), "Correct")
    valid = pc.fill_null(pc.equal(said, of_sample), False)
    parts = [valid if one.name == "valid" else pc.struct_field(entries, one.name) for one in entries.type]
    made = pa.StructArray.from_arrays(parts, fields=list(entries.type), mask=entries.is_null())
    return lists_of(made, counts, lists.is_null())
