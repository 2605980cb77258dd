"""The work of one process of an assembly: rows of RAW_DATA sorted into buckets, and the traces of a bucket.

A bucket is a range of hashes of question keys, so that all rows of a question are in one.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assembly.asked import asked_by, lengths_of
from assembly.candidates import OTHER_VARIANT, POOL, QuestionSamples, choose, questions_of
from assembly.faults import FAULTS
from assembly.pairs import write_bucket_pairs
from assembly.rates import ABOVE, BELOW, NO_RATE, UNKNOWN, PassRates, rates_in
from assembly.reflected import only_under
from assembly.rendering import framed
from assembly.selection import Told, read_weights, repeats_for, side_of
from assembly.settings import SftSettings
from assembly.several import without_copies
from assembly.sft import Summary
from assembly.sft_files import BUCKET_SCHEMA, TOKENS, BucketTraces
from assembly.traces import assemble_question
from cluster.inference.engine import Message
from cluster.inference.values import read_shares
from generation.raw.files import Part
from generation.raw.reader import read_batches
from generation.raw.schema import PROVENANCE
from generation.records import request_seed

IN_GIVEN_SET = "it stands in a set of --exclude"
RATE_REASONS = {
    BELOW: "its pass rate is below those wanted",
    ABOVE: "its pass rate is above those wanted",
    UNKNOWN: "its pass rate is unknown, since no sample counts",
}


def sort_part(part: Part, path: Path, *, buckets: int, settings: SftSettings) -> Summary:
    """Write the part's rows, of schema POOL, as one record batch per bucket in turn. Raises ValueError for bad rows."""
    counts, more, prepare = Summary(), list[str](), None
    if settings.reflected_under:
        names = frozenset[str]().union(*settings.reflected_under.values())
        more, column = [PROVENANCE], part.columns.get("reflections")
        prepare = partial(only_under, column=column, names=names, counts=counts.reflected_under)
    with pa.ipc.new_file(path, POOL) as file:
        for _, rows in read_batches(part, more, thoughts=settings.thoughts == "show", prepare=prepare):
            pool = choose(rows, settings)
            retries = pc.sum(pool["is_retry"]).as_py() or 0
            counts.retries += retries
            counts.samples += pool.num_rows - retries
            counts.left_out.update(pool["left_out"].to_pylist())
            counts.variants.update(pc.fill_null(pool["variant"].filter(pc.invert(pool["is_retry"])), "").to_pylist())
            bucket_of = ((pool["order"].to_numpy() >> 32) * buckets >> 32).astype(np.int64)
            (batch,) = pool.take(np.argsort(bucket_of, kind="stable")).combine_chunks().to_batches()
            ends = np.cumsum(np.bincount(bucket_of, minlength=buckets)).tolist()
            for start, end in itertools.pairwise([0, *ends]):
                file.write_batch(batch.slice(start, end - start))
    del counts.left_out[""]
    return counts


def make_bucket(
    bucket: int,
    path: Path,
    *,
    files: Sequence[tuple[Path, int]],
    buckets: int,
    settings: SftSettings,
    excluded: Collection[str] = frozenset(),
) -> BucketTraces:
    """Write the traces of the bucket's questions to `path`, and with --pairs their pairs beside it.

    `files` are those of `sort_part`, each with the place of its RAW_DATA among those given. No question of the
    `excluded` keys gives any. Raises ValueError if a key stands for several questions.
    """
    pool, copies = without_copies(*_read_bucket(files, bucket, buckets))
    retries = pc.sum(copies["is_retry"]).as_py() or 0
    counts = Summary(samples=retries - copies.num_rows, retries=-retries, repeated=copies.num_rows)
    counts.left_out.subtract(filter(None, copies["left_out"].to_pylist()))
    counts.variants.subtract(pc.fill_null(copies["variant"].filter(pc.invert(copies["is_retry"])), "").to_pylist())
    wanted = pool["question_key"].filter(pc.and_not(pc.not_equal(pool["left_out"], OTHER_VARIANT), pool["is_retry"]))
    counts.most_samples = max(Counter(wanted.to_pylist()).values(), default=0)
    kept, rows = set[str](), list[dict[str, Any]]()
    weights = read_weights(settings.weights).items()
    heavier = {
        task: replace(settings, repeats=repeats_for(weight, settings.repeats)) for task, weight in weights if weight > 1
    }
    why = _why_left_out(pool, settings, excluded, counts.chosen)
    for asked in questions_of(pool):
        counts.questions += 1
        counts.tasks[asked.task] += 1
        if reason := why(asked.key):
            counts.left_questions[reason] += 1
            continue
        kept.add(asked.key)
        rows += _rows_of(asked, settings, heavier.get(asked.task), counts)
    with pa.ipc.new_file(path, BUCKET_SCHEMA) as file:
        file.write_table(pa.Table.from_pylist(rows, BUCKET_SCHEMA))
    if settings.pairs is not None:
        write_bucket_pairs(pool.filter(pc.is_in(pool["question_key"], pa.array([*kept], pa.string()))), settings, path)
    return BucketTraces(path, [(row["format"], row["sft_template_type_idx"]) for row in rows], counts)


def _why_left_out(pool: pa.Table, settings: SftSettings, excluded: Collection[str], told: Told) -> Callable[[str], str]:
    """Return what says why no trace of a question is wanted, by its key, "" if some are."""
    flag, between = f"--pass_rate {settings.pass_rate}", read_shares("--pass_rate", settings.pass_rate)
    wanted = PassRates(rates_in(pool) if between else {}, between)
    if between:
        counted = sum(rate.n for rate in wanted.rates.values())
        told[flag, "samples that count"] += counted
        others = pool.num_rows - (pc.sum(pool["is_retry"]).as_py() or 0) - counted
        told[flag, "samples that do not: undecided, or of prompts that tell the answer"] += others

    def why(key: str) -> str:
        if key in excluded:
            return IN_GIVEN_SET
        reason = wanted.why_left_out(wanted.rates.get(key, NO_RATE))
        if between:
            told[flag, f"questions left out: {RATE_REASONS[reason]}" if reason else "questions kept"] += 1
        return RATE_REASONS[reason] if reason else ""

    return why


def _rows_of(
    asked: QuestionSamples, settings: SftSettings, heavier: SftSettings | None, counts: Summary
) -> list[dict[str, Any]]:
    """Return the traces of a question as rows of BUCKET_SCHEMA, but those that are too long, which are counted.

    With the `heavier` settings of its task also the others that these give.
    """
    traces = assemble_question(asked, settings.chosen, settings)
    counts.not_given.update(traces.not_given)
    made, own = [*traces.made], len(traces.made)
    if heavier is not None:
        known = {one.text for one in made}
        made += [one for one in assemble_question(asked, heavier.chosen, heavier).made if one.text not in known]
    texts = [framed(one.text, settings.frame) for one in made]
    lengths = _lengths(settings, asked.question, texts)
    before = [] if settings.system is None else [Message(role="system", content=settings.system)]
    side = 0.0 if settings.validation is None else side_of(settings.seed, asked.question)
    rows = []
    for number, (one, text, tokens) in enumerate(zip(made, texts, lengths, strict=True)):
        if settings.max_trace_tokens is not None and tokens > settings.max_trace_tokens:
            counts.too_long[one.format, one.label] += 1
            counts.shortest = min(counts.shortest or tokens, tokens)
            continue
        counts.longest = max(counts.longest, tokens)
        turns = [Message(role="user", content=asked.question), Message(role="assistant", content=text)]
        row = {
            "conversations": [*before, *turns],
            "sft_template_type_idx": one.label,
            "format": one.format,
            "question_key": asked.key,
            "task": asked.task,
            "variants": [attempt.variant for attempt in one.attempts],
            "faults": [fault for fault, shows in FAULTS.items() if shows(one)],
            TOKENS: tokens,
            "score": request_seed(settings.seed, "subsample", asked.key, one.format, number) if settings.scored else 0,
            "more": number >= own,
            "side": side,
        }
        rows.append(row)
    return rows


def _lengths(settings: SftSettings, question: str, texts: Sequence[str]) -> list[int]:
    """Return the length of a question's rows in tokens, 0 if they are not counted."""
    if (chat := settings.chat()) is None:
        return [0] * len(texts)
    return lengths_of(chat, asked_by(chat, [(question, text) for text in texts], settings.system))


def _read_bucket(files: Sequence[tuple[Path, int]], bucket: int, buckets: int) -> tuple[pa.Table, np.ndarray]:
    """Return all rows of a bucket, of schema POOL, in the order of RAW_DATA, and the place of each row's RAW_DATA."""
    batches, owners = [], [np.empty(0, np.int64)]
    for path, owner in files:
        with pa.memory_map(str(path)) as mapped:
            file = pa.ipc.open_file(mapped)
            there = [file.get_batch(number) for number in range(bucket, file.num_record_batches, buckets)]
        batches += [batch for batch in there if batch.num_rows]
        owners.append(np.full(sum(batch.num_rows for batch in there), owner))
    return pa.Table.from_batches(batches, POOL), np.concatenate(owners)
