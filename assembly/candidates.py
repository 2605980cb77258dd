"""Which samples may stand in a trace and with which reflections, and why the others may not.

The published rule (skillfactory.md §4): a reflection counts when its verdict equals the sample's
correctness, a sample when it keeps at least one. Decided for many rows at a time on Arrow columns;
knows nothing of formats.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assembly.arithmetic_check import states_false_arithmetic
from assembly.reasons import BLANK, FRAME_TAG, HINT, OTHER_VARIANT, UNDECIDED, UNQUOTABLE, UNREFLECTED
from assembly.settings import SftSettings
from assembly.traces import has_frame_tag, is_plain_answer
from generation.raw.arrow_lists import is_blank, kept_items, lengths
from generation.records import CUT, WITHOUT_ANSWER, stable_hash
from reflection.verdict import parse_verdicts

_MAY_HOLD_FRAME_TAG = r"(?i)<[^<>]*(think|sample|reflect)"
_MAY_NOT_BE_PLAIN = r"[<>]"
_SHOWN = 60
"""Characters of a text in a message."""


POOL = pa.schema(
    [
        ("order", pa.uint64()),
        *((name, pa.string()) for name in ("question_key", "question", "task", "variant", "response")),
        ("correct", pa.bool_()),
        ("answer", pa.string()),
        ("gold", pa.string()),
        ("cut", pa.bool_()),
        ("reflections", pa.list_(pa.string())),
        ("counting", pa.list_(pa.int32())),
        ("left_out", pa.string()),
    ]
)
"""Rows of RAW_DATA as the assembly uses them. `order` is a hash of the key, by which questions are sorted;
`answer` is the sample's, ready to be quoted; `counting` are the places of the reflections that count; `left_out`
says why a sample stands in no trace, and is empty where it may."""


def choose(rows: pa.Table, settings: SftSettings) -> pa.Table:
    """The rows, of schema ROWS, as rows of schema POOL, in their order."""
    columns = {name: _whole(rows[name]) for name in rows.column_names}
    correct = pc.equal(columns["outcome"], "right")
    answer = pc.utf8_trim_whitespace(pc.fill_null(columns["extracted_answer"], ""))
    counting, why_none = _counting(columns["reflections"], correct, settings)
    left_out = _left_out(columns, answer, why_none, settings)
    keys = columns["question_key"].dictionary_encode()
    arrays = {
        **{
            name: columns[name]
            for name in ("question_key", "question", "task", "variant", "response", "cut", "reflections")
        },
        "order": pc.take(orders(keys.dictionary), keys.indices),
        "correct": correct,
        "answer": answer,
        "gold": pc.utf8_trim_whitespace(columns["answer"]),
        "counting": counting,
        "left_out": left_out,
    }
    return pa.Table.from_arrays([arrays[name] for name in POOL.names], schema=POOL)


def orders(keys: pa.Array) -> pa.Array:
    """The `order` of each question key, uint64."""
    return pa.array([int(stable_hash(key)[:16], 16) for key in keys.to_pylist()], pa.uint64())


def _whole(column: pa.ChunkedArray) -> pa.Array:
    """As one array, copied only where it is not one already."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _left_out(columns: dict[str, pa.Array], answer: pa.Array, unreflected: pa.Array, settings: SftSettings) -> pa.Array:
    """The first reason that holds, in this order; empty where none does. `unreflected` is that of the reflections."""
    unanswered = pc.is_in(columns["reason"], pa.array(sorted(WITHOUT_ANSWER)))
    unknown = pc.or_(pc.equal(columns["outcome"], "unknown"), pc.is_null(columns["is_correct"]))
    if settings.keep_unanswered:
        unknown = pc.and_not(unknown, unanswered)
    reasons = [
        (unknown, pc.if_else(unanswered, columns["reason"], UNDECIDED)),
        (is_blank(columns["response"]), BLANK),
        (columns["mentions_hint"], HINT),
        (_flagged(columns["response"], _MAY_HOLD_FRAME_TAG, has_frame_tag), FRAME_TAG),
        (_flagged(answer, _MAY_NOT_BE_PLAIN, lambda text: not is_plain_answer(text)), UNQUOTABLE),
        (pc.not_equal(unreflected, ""), unreflected),
    ]
    if not settings.keep_unanswered:
        reasons.insert(5, (pc.equal(answer, ""), UNQUOTABLE))
    if settings.drop_cut:
        reasons.insert(0, (columns["cut"], CUT))
    if settings.variants:
        known = pc.is_in(pc.fill_null(columns["variant"], ""), pa.array(settings.variants))
        reasons.insert(0, (pc.invert(known), OTHER_VARIANT))
    conditions = pa.StructArray.from_arrays(
        [condition for condition, _ in reasons], [str(n) for n in range(len(reasons))]
    )
    return pc.case_when(conditions, *(reason for _, reason in reasons), "")


class _Counting(NamedTuple):
    """The reflections of each row that count."""

    places: pa.Array
    """Among the row's reflections."""
    why_none: pa.Array
    """Empty where there is one."""


def _counting(reflections: pa.Array, correct: pa.Array, settings: SftSettings) -> _Counting:
    """Those whose verdict equals the row's correctness, and that can be shown."""
    texts, counts = reflections.flatten(), lengths(reflections)
    wanted = np.repeat(correct.to_numpy(zero_copy_only=False), counts)
    keep = parse_verdicts(texts) == np.where(wanted, 1, 0)
    rows = np.repeat(np.arange(len(counts)), counts)
    last_step = np.zeros(len(counts), dtype=np.int8)
    last_step[rows[keep]] = 1
    keep &= ~_flagged(texts, _MAY_HOLD_FRAME_TAG, has_frame_tag).to_numpy(zero_copy_only=False)
    last_step[rows[keep]] = 2
    if settings.true_arithmetic:
        keep[keep] = [not states_false_arithmetic(text) for text in texts.filter(pa.array(keep)).to_pylist()]
    last_step[rows[keep]] = 3
    ends = np.cumsum(counts)
    places = (np.arange(len(texts)) - np.repeat(ends - counts, counts)).astype(np.int32)
    bounds = np.concatenate(([0], ends)).astype(np.int32)
    kept = kept_items(pa.ListArray.from_arrays(pa.array(bounds), pa.array(places)), keep)
    return _Counting(kept, pc.take(pa.array([*UNREFLECTED, ""]), pa.array(last_step)))


def _flagged(texts: pa.Array, may: str, exactly: Callable[[str], bool]) -> pa.Array:
    """`exactly` of each text, asked only of those in which the pattern `may`, a weaker one, is found."""
    flags = pc.match_substring_regex(texts, may).to_numpy(zero_copy_only=False).copy()
    for place in np.flatnonzero(flags):
        flags[place] = exactly(texts[place].as_py())
    return pa.array(flags)


class Texts:
    """Texts of an array by their places, made when they are asked for: most reflections stand in no trace."""

    __slots__ = ("_all", "_places")

    def __init__(self, all_texts: pa.Array, places: np.ndarray) -> None:
        self._all, self._places = all_texts, places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, place: int) -> str:
        return str(self._all[int(self._places[place])].as_py())

    def __iter__(self) -> Iterator[str]:
        return map(self.__getitem__, range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Texts) and list(self) == list(other)

    def __lt__(self, other: Texts) -> bool:
        return list(self) < list(other)

    __hash__ = None  # type: ignore[assignment]


class Candidate(NamedTuple):
    """A sample that may stand in a trace."""

    variant: str
    """Empty in repositories without a variant column."""
    response: str
    correct: bool
    answer: str
    """Ready to be quoted; empty for an unanswered sample that is kept."""
    reflections: Texts
    """Those that count."""
    cut: bool


class Asked(NamedTuple):
    """One question and all its samples."""

    order: int
    """By which questions are sorted: a hash of the key."""
    key: str
    question: str
    task: str
    samples: int
    candidates: tuple[Candidate, ...]
    """In an order that depends on their contents alone."""
    unreflected: tuple[Candidate, ...]
    """Correct samples that lack nothing but a reflection that counts."""
    left_out: Counter[str]


def questions_of(pool: pa.Table) -> Iterator[Asked]:
    """The questions of a table of schema POOL, in its `order`. ValueError where a key stands for several."""
    if not pool.num_rows:
        return
    # Only places are sorted: the texts are most of the memory and stay where they are.
    by_order = pc.sort_indices(pool, [("order", "ascending"), ("question_key", "ascending")])
    keys = _whole(pool["question_key"].take(by_order))
    changes = pc.not_equal(keys.slice(1), keys.slice(0, len(keys) - 1)).to_numpy(zero_copy_only=False)
    starts = [0, *(np.flatnonzero(changes) + 1).tolist(), len(keys)]
    rows = by_order.to_numpy()
    _check_one(pool, "question", "several questions", rows, starts[:-1])
    _check_one(pool, "gold", "a question with several gold answers", rows, starts[:-1])
    firsts = pool.select(["order", "question_key", "question", "task"]).take(rows[starts[:-1]]).to_pylist()
    left_out = pool["left_out"].to_pylist()
    candidates = [one for batch in pool.to_batches() for one in _candidates(batch)]
    for (start, end), first in zip(itertools.pairwise(starts), firsts, strict=True):
        places = rows[start:end].tolist()
        yield _asked(first, [left_out[place] for place in places], [candidates[place] for place in places])


def _check_one(pool: pa.Table, column: str, several: str, rows: np.ndarray, starts: list[int]) -> None:
    """Raise ValueError where the rows of one key differ in a column; an empty value goes with any."""
    texts = _whole(pool[column].dictionary_encode())
    codes = texts.indices.to_numpy()[rows]
    empty = pc.equal(texts.dictionary, "").to_numpy(zero_copy_only=False)[codes]
    most = np.maximum.reduceat(np.where(empty, -1, codes), starts)
    least = np.minimum.reduceat(np.where(empty, len(texts.dictionary), codes), starts)
    differ = np.flatnonzero(least < most)
    if len(differ):
        here = differ[0]
        key = pool["question_key"][int(rows[starts[here]])].as_py()
        shown = " and ".join(f"{texts.dictionary[int(code)].as_py()[:_SHOWN]!r}" for code in (least[here], most[here]))
        raise ValueError(f"RAW_DATA: question_key {key!r} stands for {several}, such as {shown}; give each its own")


def _candidates(rows: pa.RecordBatch) -> list[Candidate]:
    """Every row as a candidate, also those that are none."""
    variants = pc.fill_null(rows["variant"], "").to_pylist()
    responses, correct, answers, cut = (rows[name].to_pylist() for name in ("response", "correct", "answer", "cut"))
    columns = (variants, responses, correct, answers, _texts(rows), cut)
    return list(map(Candidate, *columns))


def _texts(rows: pa.RecordBatch) -> list[Texts]:
    """Of each row the reflections that count."""
    texts, counting = rows["reflections"].flatten(), rows["counting"]
    held, counts = lengths(rows["reflections"]), lengths(counting)
    places = counting.flatten().to_numpy() + np.repeat(np.cumsum(held) - held, counts)
    ends = np.cumsum(counts)
    return [Texts(texts, places[start:end]) for start, end in zip((ends - counts).tolist(), ends.tolist(), strict=True)]


def _asked(first: dict[str, Any], left_out: list[str], candidates: list[Candidate]) -> Asked:
    usable = sorted(one for why, one in zip(left_out, candidates, strict=True) if why == "")
    others = sorted(one for why, one in zip(left_out, candidates, strict=True) if why in UNREFLECTED)
    return Asked(
        first["order"],
        first["question_key"],
        first["question"],
        first["task"],
        len(left_out),
        tuple(usable),
        tuple(one for one in others if one.correct),
        Counter(why for why in left_out if why),
    )
