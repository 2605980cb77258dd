"""Which samples may stand in a trace and with which reflections, and why the others may not.

The published rule (arXiv 2512.04072): a reflection is valid when its verdict equals the sample's correctness, a
sample is usable when it has a valid reflection. Decided on Arrow columns; knows nothing of formats.
"""

import itertools
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assembly.settings import SftSettings
from assembly.traces import has_frame_tag, is_plain_answer
from generation.grading.countdown import Number, read
from generation.grading.errors import OutOfBoundsError, UnreadableError
from generation.grading.text import ascii_typing
from generation.raw.schema import is_blank, kept_items, owners
from generation.records import CUT, WITHOUT_ANSWER, stable_hash
from reflection.verdict import parse_verdicts

_LONGEST = 200
"""Characters of an expression that are looked at."""
_LEFT = " 0123456789.()+-*/×÷−·"
"""What an expression is written in."""
_RIGHT = re.compile(r" *([-−]?\d{1,18}(?:\.\d{1,18})?)(?! *[-+*/×÷−·^(=%]| *\d)(?!\.\d)(?![^\W\d])")
_OPERATION = re.compile(r"[\d)] *[-+*/×÷−·] *[-−(\d]")


def states_false_arithmetic(text: str) -> bool:
    """True when at least one equation that the text states is false."""
    return next(false_equations(text), None) is not None


def false_equations(text: str) -> Iterator[str]:
    """The false equations, as they stand in the text."""
    place = -1
    while (place := text.find("=", place + 1)) >= 0:
        right = _RIGHT.match(text, place + 1)
        if right is None:
            continue
        left = _before(text, place)
        value = _value(left) if _OPERATION.search(left) else None
        if value is not None and not _is(right[1].replace("−", "-"), value):
            yield f"{left} = {right[1]}"


def _value(expression: str) -> Number | None:
    """None for what cannot be read, and for a division by zero."""
    try:
        return read(ascii_typing(expression)).value
    except (UnreadableError, OutOfBoundsError):
        return None


def _before(text: str, end: int) -> str:
    """The expression that ends there; empty where it grows out of a word, such as "x2 + 3"."""
    seen = text[max(0, end - _LONGEST) : end]
    outside = seen.rstrip(_LEFT)
    left = seen[len(outside) :]
    return "" if outside and outside[-1].isalnum() and not left.startswith(" ") else left.strip()


def _is(stated: str, value: Number) -> bool:
    """Whether the stated number is the value, or the value rounded to as many places as are stated."""
    if "." not in stated:
        return int(stated) == value
    _, _, places = stated.partition(".")
    slack = Fraction(1, 2 * 10 ** len(places))
    return abs(Fraction(stated) - value) <= slack


UNDECIDED = "correctness undecided"
BLANK = "its response is blank"
HINT = "mentions its hint"
FRAME_TAG = "holds `<think>`, `<sample>` or `<reflect>`, the tags of a trace"
UNQUOTABLE = "its answer cannot be quoted"
NO_REFLECTION = "no reflection with the right verdict"
FRAMED_REFLECTION = "each reflection with the right verdict holds tags of a trace"
FALSE_REFLECTION = "each reflection with the right verdict states a false equation"
OTHER_VARIANT = "under a prompt variant that was not asked for"

UNREFLECTED = (NO_REFLECTION, FRAMED_REFLECTION, FALSE_REFLECTION)
"""Nothing is wrong with these samples themselves: they may stand alone. In the order in which it is checked."""

POOL = pa.schema(
    [
        ("order", pa.uint64()),
        *((name, pa.string()) for name in ("question_key", "question", "task", "variant", "response")),
        ("correct", pa.bool_()),
        ("answer", pa.string()),
        ("gold", pa.string()),
        ("cut", pa.bool_()),
        ("reflections", pa.list_(pa.string())),
        ("left_out", pa.string()),
    ]
)
"""Samples as the assembly uses them. `order` is a hash of the key, by which questions are sorted; `answer` is the
sample's, ready to be quoted; `reflections` are the valid ones; `left_out` says why a sample may stand in no trace with
reflections, and is empty where it may."""

_MAY_HOLD_FRAME_TAG = r"(?i)<[^<>]*(think|sample|reflect)"
_MAY_NOT_BE_PLAIN = r"[<>]"
_BY_QUESTION = [("order", "ascending"), ("question_key", "ascending")]
_SHOWN = 60
"""Characters of a text in a message."""


class Candidate(NamedTuple):
    """A sample that may stand in a trace. Candidates sort by their contents alone."""

    variant: str
    """Empty in repositories without a variant column."""
    response: str
    correct: bool
    answer: str
    """Ready to be quoted; empty for an unanswered sample that is kept."""
    reflections: list[str]
    """The valid ones."""
    cut: bool


class QuestionSamples(NamedTuple):
    """One question and its usable samples, sorted."""

    key: str
    question: str
    task: str
    candidates: tuple[Candidate, ...]
    unreflected: tuple[Candidate, ...]
    """Correct samples that lack nothing but a valid reflection."""


def choose(rows: pa.Table, settings: SftSettings) -> pa.Table:
    """Return the rows, of schema ROWS, as rows of schema POOL in the same order."""
    columns = {name: _whole(rows[name]) for name in rows.column_names}
    keys = columns["question_key"].dictionary_encode()
    hashes = pa.array([int(stable_hash(key)[:16], 16) for key in keys.dictionary.to_pylist()], pa.uint64())
    columns["order"] = hashes.take(keys.indices)
    columns["correct"] = pc.equal(columns["outcome"], "right")
    columns["gold"] = pc.utf8_trim_whitespace(columns["answer"])
    columns["answer"] = pc.utf8_trim_whitespace(pc.fill_null(columns["extracted_answer"], ""))
    columns["reflections"], unreflected = _valid(columns["reflections"], columns["correct"], settings)
    columns["left_out"] = _left_out(columns, unreflected, settings)
    return pa.Table.from_arrays([columns[name] for name in POOL.names], schema=POOL)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    """As one array, copied only where it is not one already."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _valid(reflections: pa.Array, correct: pa.Array, settings: SftSettings) -> tuple[pa.Array, pa.Array]:
    """The valid reflections of each row that can be shown, and why it has none, empty where it has."""
    texts, rows = reflections.flatten(), owners(reflections)
    keep = parse_verdicts(texts) == correct.to_numpy(zero_copy_only=False)[rows]
    last_step = np.zeros(len(reflections), dtype=np.int8)
    last_step[rows[keep]] = 1
    keep &= ~_flagged(texts, _MAY_HOLD_FRAME_TAG, has_frame_tag).to_numpy(zero_copy_only=False)
    last_step[rows[keep]] = 2
    if settings.true_arithmetic:
        keep[keep] = [not states_false_arithmetic(text) for text in texts.filter(pa.array(keep)).to_pylist()]
    last_step[rows[keep]] = 3
    return kept_items(reflections, keep), pa.array([*UNREFLECTED, ""]).take(pa.array(last_step))


def _left_out(columns: dict[str, pa.Array], unreflected: pa.Array, settings: SftSettings) -> pa.Array:
    """The first reason that holds, in this order; empty where none does. `unreflected` is that of the reflections."""
    answer = columns["answer"]
    unanswered = pc.is_in(columns["reason"], pa.array(sorted(WITHOUT_ANSWER)))
    unknown = pc.or_(pc.equal(columns["outcome"], "unknown"), pc.is_null(columns["is_correct"]))
    unquotable = _flagged(answer, _MAY_NOT_BE_PLAIN, lambda text: not is_plain_answer(text))
    if settings.keep_unanswered:
        unknown = pc.and_not(unknown, unanswered)
    else:
        unquotable = pc.or_(unquotable, pc.equal(answer, ""))
    reasons = [
        (unknown, pc.if_else(unanswered, columns["reason"], UNDECIDED)),
        (is_blank(columns["response"]), BLANK),
        (columns["mentions_hint"], HINT),
        (_flagged(columns["response"], _MAY_HOLD_FRAME_TAG, has_frame_tag), FRAME_TAG),
        (unquotable, UNQUOTABLE),
        (pc.not_equal(unreflected, ""), unreflected),
    ]
    if settings.drop_cut:
        reasons.insert(0, (columns["cut"], CUT))
    if settings.variants:
        wanted = pc.is_in(pc.fill_null(columns["variant"], ""), pa.array(settings.variants))
        reasons.insert(0, (pc.invert(wanted), OTHER_VARIANT))
    holds = pa.StructArray.from_arrays([condition for condition, _ in reasons], list(map(str, range(len(reasons)))))
    return pc.case_when(holds, *(reason for _, reason in reasons), "")


def _flagged(texts: pa.Array, may: str, exactly: Callable[[str], bool]) -> pa.Array:
    """`exactly` of each text, asked only of those in which the pattern `may`, a weaker one, is found."""
    flags = pc.match_substring_regex(texts, may).to_numpy(zero_copy_only=False).copy()
    for place in np.flatnonzero(flags):
        flags[place] = exactly(texts[place].as_py())
    return pa.array(flags)


def questions_of(pool: pa.Table) -> Iterator[QuestionSamples]:
    """Yield the questions of a table of schema POOL by `order`. Raises ValueError where a key stands for several."""
    _check_one(pool, "question", "several questions")
    _check_one(pool, "gold", "a question with several gold answers")
    keys, questions, tasks, left_out = (
        pool[name].to_pylist() for name in ("question_key", "question", "task", "left_out")
    )
    columns = {name: pool[name] for name in Candidate._fields} | {"variant": pc.fill_null(pool["variant"], "")}
    samples = list(map(Candidate, *(column.to_pylist() for column in columns.values())))
    rows = pc.sort_indices(pool, _BY_QUESTION).to_pylist()
    for key, group in itertools.groupby(rows, keys.__getitem__):
        places = list(group)
        usable = sorted(samples[place] for place in places if not left_out[place])
        alone = sorted(samples[place] for place in places if left_out[place] in UNREFLECTED and samples[place].correct)
        yield QuestionSamples(key, questions[places[0]], tasks[places[0]], tuple(usable), tuple(alone))


def _check_one(pool: pa.Table, column: str, several: str) -> None:
    """Raise ValueError where the rows of one key differ in a column; an empty value goes with any."""
    rows = pool.select(["order", "question_key", column]).filter(pc.not_equal(pool[column], ""))
    pairs = rows.group_by(rows.column_names, use_threads=False).aggregate([]).sort_by(_BY_QUESTION)
    keys = pairs["question_key"].to_pylist()
    for place, (key, other) in enumerate(itertools.pairwise(keys)):
        if key == other:
            shown = " and ".join(repr(text[:_SHOWN]) for text in pairs[column].slice(place, 2).to_pylist())
            raise ValueError(f"RAW_DATA: question_key {key!r} stands for {several}, such as {shown}; give each its own")
