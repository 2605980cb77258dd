"""Rows of RAW_DATA to traces, question by question, on any number of processes.

A shuffle: each part of RAW_DATA becomes an Arrow file with its rows grouped by bucket, a range of the hashes of their
question keys; then each bucket is read from all files and its questions become traces, in order of those hashes, as the
buckets are. Memory holds a bucket at a time.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assembly.analysis import faults_of
from assembly.candidates import OTHER_VARIANT, POOL, QuestionSamples, choose, questions_of
from assembly.cards import SFT_SCHEMA
from assembly.formats import choose_formats
from assembly.question_traces import Made, assemble_question
from assembly.settings import SftSettings, load_tokenizer
from cluster.inference.engine import Message
from generation.raw.files import Part
from generation.raw.reader import read_part
from generation.records import request_seed

BUCKET_BYTES = 48 << 20
MOST_BUCKETS = 512
"""A few rows of each batch that is read go to each; beyond it buckets grow."""


class SortedPart(NamedTuple):
    """What a part of RAW_DATA held, now in a file of its own."""

    path: Path
    samples: int
    left_out: Counter[str]
    variants: frozenset[str]
    """All prompt variants that there are; "" where a row names none."""
    questions: pa.Table
    """Columns `order` and `samples`: how many there are of each question under the variants asked for."""


class BucketTraces(NamedTuple):
    """The traces of a bucket's questions: rows of schema SFT_SCHEMA, in order, in a file."""

    path: Path
    questions: int
    traces: int
    labels: Mapping[tuple[str, str], np.ndarray]
    """By (format, label): of each trace its place in the file, and a score by which a subsample takes the smallest;
    int64, of shape (traces, 2)."""
    not_given: Counter[tuple[str, str]]
    """Questions by (format, reason)."""
    too_long: Counter[tuple[str, str]]
    """Traces left out for their length, by (format, label)."""
    shortest: int
    """Tokens of the shortest of those; 0 where there is none."""


def count_buckets(parts: Sequence[Part]) -> int:
    """Return the number of buckets for RAW_DATA of this size."""
    return max(1, min(MOST_BUCKETS, sum(part.size for part in parts) // BUCKET_BYTES))


def sort_part(part: Part, path: Path, *, buckets: int, settings: SftSettings) -> SortedPart:
    """Write the part's rows, of schema POOL, to the Arrow file `path`, in turn a record batch for each bucket.

    Raises ValueError for rows that cannot be read.
    """
    left_out, variants, orders = Counter[str](), set[str](), [np.array([], np.uint64)]
    samples = 0
    with pa.ipc.new_file(path, POOL) as file:
        for rows in read_part(part):
            pool = choose(rows, settings)
            samples += pool.num_rows
            left_out.update({one["values"]: one["counts"] for one in pc.value_counts(pool["left_out"]).to_pylist()})
            variants.update(pc.fill_null(pool["variant"], "").unique().to_pylist())
            orders.append(pool["order"].filter(pc.not_equal(pool["left_out"], OTHER_VARIANT)).to_numpy())
            bucket_of = ((pool["order"].to_numpy() >> 32) * buckets >> 32).astype(np.int64)
            (batch,) = pool.take(np.argsort(bucket_of, kind="stable")).combine_chunks().to_batches()
            ends = np.cumsum(np.bincount(bucket_of, minlength=buckets)).tolist()
            for start, end in itertools.pairwise([0, *ends]):
                file.write_batch(batch.slice(start, end - start))
    del left_out[""]
    every, counts = np.unique(np.concatenate(orders), return_counts=True)
    questions = pa.table({"order": every, "samples": counts})
    return SortedPart(path, samples, left_out, frozenset(variants), questions)


def most_samples(parts: Sequence[SortedPart]) -> int:
    """Return the number of samples of the question that has most, wherever its rows lie."""
    counts = pa.concat_tables(part.questions for part in parts).group_by("order").aggregate([("samples", "sum")])
    return pc.max(counts["samples_sum"]).as_py() or 0


def make_bucket(bucket: int, path: Path, *, files: Sequence[Path], buckets: int, settings: SftSettings) -> BucketTraces:
    """Make all traces of the bucket's questions into the file `path`.

    Raises ValueError where a question key stands for several questions.
    """
    formats = choose_formats(settings.formats, settings.bounds)
    not_given, too_long = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    labels: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    rows: list[dict[str, Any]] = []
    questions, shortest = 0, 0
    for asked in questions_of(_read_bucket(files, bucket, buckets)):
        questions += 1
        traces = assemble_question(asked, formats, settings)
        not_given.update(traces.not_given)
        for number, made in enumerate(traces.made):
            row = _row(asked, made)
            if tokens := _too_long(row["conversations"], settings):
                too_long[made.format, made.label] += 1
                shortest = min(shortest or tokens, tokens)
                continue
            score = request_seed(settings.seed, "subsample", asked.key, made.format, number)
            labels[made.format, made.label].append((len(rows), score))
            rows.append(row)
    table = pa.Table.from_pylist(rows, SFT_SCHEMA)
    with pa.ipc.new_file(path, SFT_SCHEMA) as file:
        file.write_table(table)
    places = {label: np.array(found, np.int64) for label, found in labels.items()}
    return BucketTraces(path, questions, len(rows), places, not_given, too_long, shortest)


def _read_bucket(files: Sequence[Path], bucket: int, buckets: int) -> pa.Table:
    """All rows of a bucket, of schema POOL, in the order of RAW_DATA."""
    batches = []
    for path in files:
        with pa.memory_map(str(path)) as mapped:
            file = pa.ipc.open_file(mapped)
            batches += [file.get_batch(number) for number in range(bucket, file.num_record_batches, buckets)]
    return pa.Table.from_batches([batch for batch in batches if batch.num_rows], POOL)


def _row(asked: QuestionSamples, made: Made) -> dict[str, Any]:
    """A row of schema SFT_SCHEMA."""
    turns = [Message(role="user", content=asked.question), Message(role="assistant", content=made.text)]
    return {
        "conversations": turns,
        "sft_template_type_idx": made.label,
        "format": made.format,
        "question_key": asked.key,
        "task": asked.task,
        "variants": [one.variant for one in made.attempts],
        "faults": faults_of(made),
    }


def _too_long(conversation: list[Message], settings: SftSettings) -> int:
    """The tokens of a conversation that is longer than asked for; 0 for any other."""
    if settings.tokenizer is None or settings.max_trace_tokens is None:
        return 0
    tokens = len(load_tokenizer(settings.tokenizer).encode(conversation))
    return tokens if tokens > settings.max_trace_tokens else 0
