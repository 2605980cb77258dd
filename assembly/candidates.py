"""Selects the samples that may be used in traces, with their reflections, and says why others may not.

The published rule (arXiv 2512.04072): a reflection is valid if its verdict matches the sample's correctness, and a
sample is usable if it has a valid reflection. Works on Arrow columns; knows nothing about formats.
"""

import itertools
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assembly.claims import contradicts_grade, denies_given, names_hint, states_false_arithmetic
from assembly.inner import unfolded, with_inner_reflections
from assembly.retried import FIRST, of_retries
from assembly.settings import SftSettings
from generation.raw.retries import variants_of
from generation.raw.schema import is_blank, kept_items, owners
from generation.records import CUT, CUT_THOUGHT, ONLY_THOUGHT, WITHOUT_ANSWER, stable_hash
from generation.tasks.countdown import facts_of
from generation.variants import hint_pattern
from reflection.verdict import parse_verdicts

UNDECIDED = "correctness undecided"
BLANK = "its response is blank"
HINT = "mentions its hint"
FRAME_TAG = "holds a tag of a trace, such as `<think>`"
_OURS = ("reflect", "sample", "think")
UNQUOTABLE = "its answer cannot be quoted"
NO_REFLECTION = "no reflection with the right verdict"
FRAMED_REFLECTION = "each reflection with the right verdict holds tags of a trace"
FALSE_REFLECTION = "each reflection with the right verdict states a false equation"
DENYING_REFLECTION = "each reflection with the right verdict denies a number that was given"
HINTING_REFLECTION = "each reflection with the right verdict names a hint"
CONTRADICTORY = "its end contradicts its grade"
FALSE_SAMPLE = "states a false equation"
HINTING = "names a hint"
OTHER_VARIANT = "under a prompt variant that was not asked for"

Words = tuple[str, ...]  # that stand for a hint
_OF_SAMPLE: Mapping[str, tuple[str, Callable[[str, bool, Words], bool]]] = {
    "sample_contradicts_verdict": (CONTRADICTORY, lambda text, correct, _: contradicts_grade(text, correct)),
    "sample_states_false_arithmetic": (FALSE_SAMPLE, lambda text, *_: states_false_arithmetic(text)),
    "names_hint": (HINTING, lambda text, _, words: names_hint(text, words)),
}
"""Faults of a response alone: the reason to leave it out, and whether a response, correct or not, has the fault."""
_OF_REFLECTION: Mapping[str, tuple[str, Callable[[str, tuple[int, ...], str, Words], bool]]] = {
    "reflection_states_false_arithmetic": (FALSE_REFLECTION, lambda text, *_: states_false_arithmetic(text)),
    "reflection_denies_a_given_number": (DENYING_REFLECTION, lambda *one: denies_given(*one[:3])),
    "names_hint": (HINTING_REFLECTION, lambda text, *one: names_hint(text, one[-1])),
}
"""Faults of a reflection alone: given it, the question's numbers and the sample's answer."""
UNREFLECTED = (NO_REFLECTION, FRAMED_REFLECTION, *(reason for reason, _ in _OF_REFLECTION.values()))
"""Reasons, in the order they are checked, that concern only the reflections: such samples may be used alone."""

_TEXTS = ("question_key", "question", "numbers", "gold", "task", "variant", "response", "answer", "left_out")
POOL = pa.schema(
    {"order": pa.uint64(), **dict.fromkeys(_TEXTS, pa.string())}
    | dict.fromkeys(("correct", "cut", "rated", "is_retry"), pa.bool_())
    | {"reflections": pa.list_(pa.string()), "first": FIRST}
)
"""Samples and retries as the assembly uses them. `order` is a hash of the key, which questions are sorted by; `numbers`
are those that the question gives, with commas between; `answer` is the sample's, ready to be quoted; `reflections` are
the valid ones; `left_out` is why it may not be used in a trace with reflections, empty if it may; `first` is null but
for retries that may follow it in a trace; `rated` is what counts in a pass rate: whether the sample is right, null if
that is undecided, if its prompt was not asked for or told it the answer, and of a retry."""

_ANSWER_TAG = re.compile(r"<[\s/]*answer\b[^<>]*>", re.IGNORECASE)
_BY_QUESTION = [("order", "ascending"), ("question_key", "ascending")]


class Candidate(NamedTuple):
    """A sample that may be used in a trace. Candidates sort by their contents alone."""

    variant: str  # empty if there is no variant column
    response: str
    correct: bool
    answer: str  # ready to be quoted; empty for an unanswered sample kept by --keep_unanswered
    reflections: list[str]  # the valid ones
    cut: bool


class Retry(NamedTuple):
    """A wrong sample, with the reflection that found it so, and the right answer of a retry that saw both."""

    first: Candidate
    after: Candidate
    cut_place: int  # in `first`, behind its first false step; 0 if none is known


class QuestionSamples(NamedTuple):
    """A question with its usable samples, sorted."""

    key: str
    question: str
    task: str
    candidates: tuple[Candidate, ...]
    unreflected: tuple[Candidate, ...]  # correct samples that only lack a valid reflection
    numbers: tuple[int, ...] = ()  # that the question gives, if it gives any
    retries: tuple[Retry, ...] = ()


@cache
def _tag_pattern(tags: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"<[\s/]*(?:{'|'.join(tags)})\b[^<>]*>", re.IGNORECASE)


def has_frame_tag(text: str, tags: tuple[str, ...] = _OURS) -> bool:
    """Return True if the text contains an opening or closing tag of these names, in any spelling.

    A model trained on a stray one would learn broken traces.
    """
    return "<" in text and _tag_pattern(tags).search(text) is not None


def _with_frame_tag(texts: pa.Array, tags: tuple[str, ...]) -> pa.Array:
    may = f"(?i)<[^<>]*({'|'.join(tags)})"
    return _flagged(texts, may, partial(has_frame_tag, tags=tags))


def is_plain_answer(text: str) -> bool:
    """Return True if the text can be quoted in the final <answer>."""
    return bool(text) and text == text.strip() and not _ANSWER_TAG.search(text) and not has_frame_tag(text)


def choose(rows: pa.Table, settings: SftSettings) -> pa.Table:
    """Convert rows of schema ROWS to schema POOL, in the same order; with --inner_attempts as `unfolded` has them."""
    if settings.inner_attempts:
        rows = unfolded(rows)
    elif not settings.reflected_under:
        rows = with_inner_reflections(rows)
    (batch,) = rows.combine_chunks().to_batches()
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    keys = columns["question_key"].dictionary_encode()
    hashes = pa.array([int(stable_hash(key)[:16], 16) for key in keys.dictionary.to_pylist()], pa.uint64())
    columns["order"] = hashes.take(keys.indices)
    if settings.thoughts == "show":
        columns["response"] = _with_thought(columns["thought"], columns["response"])
        for name, variant in settings.words.variants.known.items():
            if variant.rationalized:
                found = pc.match_substring_regex(columns["thought"], hint_pattern(variant.hint_word))
                tells = pc.and_(pc.equal(columns["variant"], name), found)
                columns["mentions_hint"] = pc.or_(columns["mentions_hint"], pc.fill_null(tells, False))
    columns["correct"] = pc.equal(columns["outcome"], "right")
    columns["is_retry"] = columns["parent"].is_valid()
    rated = _rated(columns["is_correct"], pc.fill_null(columns["variant"], ""), settings)
    columns["rated"] = pc.if_else(columns["is_retry"], None, rated)
    columns["gold"] = pc.utf8_trim_whitespace(columns["answer"])
    columns["answer"] = pc.utf8_trim_whitespace(pc.fill_null(columns["extracted_answer"], ""))
    given = pc.coalesce(columns["metadata"], columns["question"]).dictionary_encode()
    columns["numbers"] = pa.array(map(_numbers_in, given.dictionary.to_pylist()), pa.string()).take(given.indices)
    columns["reflections"], unreflected = _valid(columns, settings)
    columns["left_out"] = _left_out(columns, unreflected, settings)
    columns["first"] = pa.nulls(batch.num_rows, FIRST)
    if columns["is_retry"].true_count:
        columns |= of_retries(
            batch, columns, partial(choose, settings=settings), shown=any(one.retried for one in settings.chosen)
        )
    return pa.Table.from_arrays([columns[name] for name in POOL.names], schema=POOL)


def _rated(right: pa.Array, variants: pa.Array, settings: SftSettings) -> pa.Array:
    hints = [name for name, variant in settings.words.variants.known.items() if variant.rationalized]
    counts = pc.invert(pc.is_in(variants, pa.array(hints, pa.string())))
    if settings.variants:
        counts = pc.and_(counts, pc.is_in(variants, pa.array(settings.variants)))
    return pc.if_else(counts, right, None)


def _with_thought(thoughts: pa.Array, replies: pa.Array) -> pa.Array:
    """Return each thought, if there is one, as text before its reply."""
    thoughts = pc.fill_null(thoughts, "")
    both = pc.binary_join_element_wise(thoughts, replies, "\n\n")
    return pc.if_else(is_blank(thoughts), replies, pc.if_else(is_blank(replies), thoughts, both))


def _numbers_in(told: str) -> str:
    """Return the whole numbers that a question gives, with commas between, by its metadata or else its wording."""
    try:
        known = json.loads(told)
        facts = known.get("facts") if isinstance(known, dict) else None
    except (ValueError, RecursionError):
        facts = facts_of(told)
    numbers = facts.get("numbers") if isinstance(facts, dict) else None
    if isinstance(numbers, list) and all(type(number) is int for number in numbers):
        return ",".join(map(str, numbers))
    return ""


def _numbers(told: str) -> tuple[int, ...]:
    return tuple(map(int, told.split(","))) if told else ()


def _valid(columns: Mapping[str, pa.Array], settings: SftSettings) -> tuple[pa.Array, pa.Array]:
    """Return the valid reflections of each row that can be shown, and why it has none, empty if it has some."""
    reflections = columns["reflections"]
    texts, rows = reflections.flatten(), owners(reflections)
    keep = parse_verdicts(texts) == columns["correct"].to_numpy(zero_copy_only=False)[rows]
    last_step = np.zeros(len(reflections), dtype=np.int8)
    last_step[rows[keep]] = 1
    keep &= ~_with_frame_tag(texts, settings.tags).to_numpy(zero_copy_only=False)
    last_step[rows[keep]] = 2
    for step, (fault, (_, shows)) in enumerate(_OF_REFLECTION.items(), 3):
        if fault in settings.dropped:
            of = pa.array(rows[keep])
            numbers, answers = (columns[name].take(of).to_pylist() for name in ("numbers", "answer"))
            those = zip(texts.filter(pa.array(keep)).to_pylist(), map(_numbers, numbers), answers, strict=True)
            keep[keep] = [not shows(*one, settings.hint_words) for one in those]
        last_step[rows[keep]] = step
    return kept_items(reflections, keep), pa.array([*UNREFLECTED, ""]).take(pa.array(last_step))


def _left_out(columns: dict[str, pa.Array], unreflected: pa.Array, settings: SftSettings) -> pa.Array:
    """Return each row's first reason to leave it out, "" if there is none; `unreflected` is that of its reflections."""
    answer = columns["answer"]
    unanswered = pc.is_in(columns["reason"], pa.array(sorted(WITHOUT_ANSWER)))
    thinking = pc.is_in(columns["reason"], pa.array([CUT_THOUGHT, ONLY_THOUGHT]))
    unknown = pc.or_(pc.equal(columns["outcome"], "unknown"), pc.is_null(columns["is_correct"]))
    unquotable = _flagged(answer, "[<>]", lambda text: not is_plain_answer(text))
    if settings.keep_unanswered:
        unknown = pc.and_not(unknown, unanswered)
    else:
        unquotable = pc.or_(unquotable, pc.equal(answer, ""))
    reasons = [
        (unknown, pc.if_else(unanswered, columns["reason"], UNDECIDED)),
        (is_blank(columns["response"]), pc.if_else(thinking, columns["reason"], BLANK)),
        (columns["mentions_hint"], HINT),
        (_with_frame_tag(columns["response"], settings.tags), FRAME_TAG),
        (unquotable, UNQUOTABLE),
        (pc.not_equal(unreflected, ""), unreflected),
    ]
    for fault, (why, shows) in _OF_SAMPLE.items():
        if fault in settings.dropped:
            told = zip(columns["response"].to_pylist(), columns["correct"].to_pylist(), strict=True)
            reasons.insert(-1, (pa.array([shows(*one, settings.hint_words) for one in told], pa.bool_()), why))
    if "cut_at_the_length_limit" in settings.dropped:
        reasons.insert(0, (columns["cut"], pc.if_else(thinking, columns["reason"], CUT)))
    if settings.variants:
        under = pc.coalesce(variants_of(columns["parent"]), columns["variant"], "")
        wanted = pc.is_in(under, pa.array(settings.variants))
        reasons.insert(0, (pc.invert(wanted), OTHER_VARIANT))
    conditions, texts = zip(*reasons, strict=True)
    return pc.case_when(pc.make_struct(*conditions), *texts, "")


def _flagged(texts: pa.Array, may: str, exactly: Callable[[str], bool]) -> pa.Array:
    """Return `exactly(text)` for each text, calling it only if the weaker pattern `may` matches."""
    flags = pc.match_substring_regex(texts, may).to_numpy(zero_copy_only=False).copy()
    for place in np.flatnonzero(flags):
        flags[place] = exactly(texts[place].as_py())
    return pa.array(flags)


def questions_of(pool: pa.Table) -> Iterator[QuestionSamples]:
    """Yield the questions of a table of schema POOL by `order`. Raises ValueError if a key stands for several."""
    _check_one(pool, "question", "several questions")
    _check_one(pool, "gold", "a question with several gold answers")
    alone = pc.and_(pc.is_in(pool["left_out"], pa.array(UNREFLECTED)), pool["correct"])
    plain = pc.and_not(pc.or_(pc.equal(pool["left_out"], ""), alone), pool["is_retry"])
    standing = pool.filter(pc.or_(plain, pool["first"].is_valid()))
    columns = {name: standing[name] for name in Candidate._fields} | {"variant": pc.fill_null(standing["variant"], "")}
    samples = map(Candidate, *(column.to_pylist() for column in columns.values()))
    usable, unreflected = defaultdict[str, list[Candidate]](list), defaultdict[str, list[Candidate]](list)
    retries = defaultdict[str, list[Retry]](list)
    told = (standing[name].to_pylist() for name in ("question_key", "left_out", "first"))
    for key, why, first, sample in zip(*told, samples, strict=True):
        if first is None:
            (unreflected if why else usable)[key].append(sample)
        else:
            retries[key].append(_retry(first, sample))
    firsts = [("question", "first"), ("task", "first"), ("numbers", "first")]
    asked = pool.group_by(["order", "question_key"], use_threads=False).aggregate(firsts).sort_by(_BY_QUESTION)
    for _, key, question, task, numbers in zip(*(column.to_pylist() for column in asked.columns), strict=True):
        candidates, alone = tuple(sorted(usable[key])), tuple(sorted(unreflected[key]))
        yield QuestionSamples(key, question, task, candidates, alone, _numbers(numbers), tuple(sorted(retries[key])))


def _retry(first: Mapping[str, Any], after: Candidate) -> Retry:
    texts = first["variant"] or "", first["response"], False, first["answer"], [first["reflection"]]
    return Retry(Candidate(*texts, first["cut"]), after, first["cut_place"] or 0)


def _check_one(pool: pa.Table, column: str, several: str) -> None:
    """Raise ValueError if the rows of a key differ in a column; an empty value matches any."""
    rows = pool.select(["order", "question_key", column]).filter(pc.not_equal(pool[column], ""))
    pairs = rows.group_by(rows.column_names, use_threads=False).aggregate([]).sort_by(_BY_QUESTION)
    for place, (key, other) in enumerate(itertools.pairwise(pairs["question_key"].to_pylist())):
        if key == other:
            shown = " and ".join(repr(text[:60]) for text in pairs[column].slice(place, 2).to_pylist())
            raise ValueError(f"RAW_DATA: question_key {key!r} stands for {several}, such as {shown}; give each its own")
