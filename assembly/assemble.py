"""RAW_DATA to SFT_DATA on any number of processes; the result depends neither on how many, nor on the order of rows.

A shuffle: each part of RAW_DATA becomes an Arrow file with its rows grouped by bucket, a range of hashes of question
keys; then each bucket is read from all files and its questions become traces, by hash; a process holds one at a time.
"""

import itertools
import json
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assembly import feasibility
from assembly.asked import asked_by, lengths_of, notes_on_template
from assembly.candidates import OTHER_VARIANT, POOL, choose, questions_of
from assembly.feasibility import NothingMadeError, Supply
from assembly.sessions import choose_sessions, sessions_beside, write_sessions
from assembly.settings import SftSettings, choose_formats
from assembly.several import Raws, open_raws, without_copies
from assembly.sft import (
    ANALYSIS,
    BUCKET_SCHEMA,
    DATASET_INFO,
    DATASET_NAME,
    TOKENS,
    BucketTraces,
    Map,
    Summary,
    choose_traces,
    read_traces,
    write_sft,
)
from assembly.sft_report import sft_card
from assembly.traces import FAULTS, assemble_question, framed
from cluster.inference.engine import Message
from cluster.inference.tokenizer import ChatTokenizer
from cluster.jobs.atomic import check_replaceable, replace_folder
from cluster.jobs.card import UNKNOWN
from cluster.jobs.processes import workers
from cluster.jobs.progress import follow
from cluster.jobs.run_directory import now, this_command
from cluster.paths import check_dataset_folder
from generation.raw.files import Part
from generation.raw.reader import read_part
from generation.records import request_seed

BUCKET_BYTES = 48 << 20
MOST_BUCKETS = 512  # enough that each gets only a few rows of a batch; larger data makes larger buckets


def assemble(
    raw: str | Path | Sequence[str | Path],
    out: Path,
    settings: SftSettings,
    processes: int | None = None,
    *,
    license: str = UNKNOWN,
    published: str = "",
    starts: Sequence[Mapping[str, Any]] | None = None,
    sessions: int | None = None,
) -> Summary:
    """Replace `out` with SFT_DATA made from a RAW_DATA folder, file or hub repository, or from several of these.

    Uses as many processes as cores by default, or as parts if there are fewer. The card shows `license`, `published`
    (the repository that a local RAW_DATA is pushed to) and the `starts` of the run, by default this command alone.
    With `sessions` so many of the traces are written for the hub's viewer too, beside `out`.
    Raises ValueError for unusable paths and files, NothingMadeError if there are no traces; `out` is unchanged then.
    """
    for one in [raw] if isinstance(raw, str | Path) else raw:
        check_destination(out, one)
    if sessions is not None:
        check_replaceable(sessions_beside(out))
    begun, command = time.monotonic(), this_command(state="assembled")
    raws = open_raws(raw, published)
    source = raws.source
    chat = settings.chat()
    shown = list[pa.Table]()
    summary = Summary(notes=[*source.notes, *(notes_on_template(chat) if chat else ())])

    def build(folder: Path) -> None:
        count = processes or min(len(raws.parts), os.cpu_count() or 1)
        pool = workers(count)
        with TemporaryDirectory(dir=folder) as work, pool or nullcontext():
            map_ = pool.map if pool else map
            made = _make(map_, raws, settings, Path(work), summary)
            split = write_sft(map_, made, settings, summary, folder)
            if sessions is not None:
                shown.append(_shown(made, settings, sessions))
        alone = {"ended": now(), "seconds": time.monotonic() - begun, "questions": summary.questions}
        told = starts if starts is not None else [command | alone]
        card = sft_card(summary, settings, split, source, folder, license=license, starts=told)
        (folder / "README.md").write_text(card, encoding="utf-8")

    replace_folder(build, out)
    for traces in shown:
        count = summary.traces.total()
        write_sessions(traces, settings, sessions_beside(out), of=count, source=source, license=license)
    return summary


def _shown(made: Sequence[BucketTraces], settings: SftSettings, most: int) -> pa.Table:
    """Return the traces that become sessions."""
    labels = [label for bucket in made for label in bucket.labels]
    places = choose_sessions(labels, choose_traces(made, settings.subsample), most)
    return read_traces(places, [(bucket.path, len(bucket.labels)) for bucket in made])


def check_destination(out: Path, raw: str | Path) -> None:
    """Raise ValueError unless `out` can become an SFT_DATA: it is absent, an empty folder, or an earlier SFT_DATA."""
    check_dataset_folder(out)
    if out.suffix == ".py":
        raise ValueError(f"{out}: `datasets` takes the name of a folder that ends in .py for a script; give another")
    try:
        source = Path(raw).resolve()
        if _is_sft_data(source):
            raise ValueError(f"{raw} is an SFT_DATA; give the RAW_DATA, or the run, that it was made from")
        if source.exists() and out.resolve() in (source, *source.parents):
            raise ValueError(f"{out} would be replaced, and holds the RAW_DATA to read; give another folder")
        check_replaceable(out)
        # A run's other folders are replaceable too, but never by this one.
        if out.exists() and any(out.iterdir()) and not _is_sft_data(out):
            raise ValueError(f"{out} holds something else than an SFT_DATA; give another folder")
    except OSError as error:
        raise ValueError(f"{out} cannot be used: {error.strerror}; give another folder") from error


def _is_sft_data(folder: Path) -> bool:
    for name, known in ((ANALYSIS, FAULTS), (DATASET_INFO, (DATASET_NAME,))):
        with suppress(OSError, ValueError, TypeError):
            if any(key in json.loads((folder / name).read_text(encoding="utf-8")) for key in known):
                return True
    return False


def _make(map_: Map, raws: Raws, settings: SftSettings, work: Path, summary: Summary) -> list[BucketTraces]:
    """Write all traces into the folder `work` and add to the summary. Raises ValueError if there can be none."""
    parts = raws.parts
    buckets = max(1, min(MOST_BUCKETS, sum(part.size for part in parts) // BUCKET_BYTES))
    files = [work / f"part-{number:06}.arrow" for number in range(len(parts))]
    sort = partial(sort_part, buckets=buckets, settings=settings)
    for counts in follow(map_(sort, parts, files), len(parts), "reading", "parts"):
        summary.extend(counts)
    feasibility.check_variants(settings.variants, summary.variants)
    make = partial(make_bucket, files=[*zip(files, raws.owners, strict=True)], buckets=buckets, settings=settings)
    paths = [work / f"bucket-{number:06}.arrow" for number in range(buckets)]
    made: list[BucketTraces] = list(follow(map_(make, range(buckets), paths), buckets, "assembling", "parts"))
    for bucket in made:
        summary.extend(bucket.counts)
    summary.left_out, summary.variants = +summary.left_out, +summary.variants
    for file in files:
        file.unlink()
    labels = Counter(label for bucket in made for label in bucket.labels)
    if not labels:
        variants = set(settings.variants) or summary.variants
        reflected = any("reflections" in part.columns for part in parts)
        feasibility.notes_on_supply(settings, Supply(summary.most_samples, len(variants), reflected))
        raise NothingMadeError(feasibility.why_nothing(summary, settings))
    summary.notes += feasibility.notes_on_missing(summary, settings, labels)
    return made


def sort_part(part: Part, path: Path, *, buckets: int, settings: SftSettings) -> Summary:
    """Write the part's rows, of schema POOL, as one record batch per bucket in turn. Raises ValueError for bad rows."""
    counts = Summary()
    with pa.ipc.new_file(path, POOL) as file:
        for rows in read_part(part, thoughts=settings.thoughts == "show"):
            pool = choose(rows, settings)
            counts.samples += pool.num_rows
            counts.left_out.update(pool["left_out"].to_pylist())
            counts.variants.update(pc.fill_null(pool["variant"], "").to_pylist())
            bucket_of = ((pool["order"].to_numpy() >> 32) * buckets >> 32).astype(np.int64)
            (batch,) = pool.take(np.argsort(bucket_of, kind="stable")).combine_chunks().to_batches()
            ends = np.cumsum(np.bincount(bucket_of, minlength=buckets)).tolist()
            for start, end in itertools.pairwise([0, *ends]):
                file.write_batch(batch.slice(start, end - start))
    del counts.left_out[""]
    return counts


def make_bucket(
    bucket: int, path: Path, *, files: Sequence[tuple[Path, int]], buckets: int, settings: SftSettings
) -> BucketTraces:
    """Write the traces of the bucket's questions to `path`. Raises ValueError if a key stands for several questions.

    `files` are those of `sort_part`, each with the place of its RAW_DATA among those given.
    """
    pool, owners = _read_bucket(files, bucket, buckets)
    pool, copies = without_copies(pool, owners)
    counts = Summary(samples=-copies.num_rows, repeated=copies.num_rows)
    counts.left_out.subtract(filter(None, copies["left_out"].to_pylist()))
    counts.variants.subtract(pc.fill_null(copies["variant"], "").to_pylist())
    wanted = pool["question_key"].filter(pc.not_equal(pool["left_out"], OTHER_VARIANT))
    counts.most_samples = max(Counter(wanted.to_pylist()).values(), default=0)
    formats = choose_formats(settings.formats, settings.bounds)
    tokenizer = settings.chat()
    rows: list[dict[str, Any]] = []
    scores = []
    for asked in questions_of(pool):
        counts.questions += 1
        traces = assemble_question(asked, formats, settings)
        counts.not_given.update(traces.not_given)
        texts = [framed(made.text, settings.frame) for made in traces.made]
        lengths = _lengths(tokenizer, asked.question, texts)
        for number, (made, text, tokens) in enumerate(zip(traces.made, texts, lengths, strict=True)):
            turns = [Message(role="user", content=asked.question), Message(role="assistant", content=text)]
            if settings.max_trace_tokens is not None and tokens > settings.max_trace_tokens:
                counts.too_long[made.format, made.label] += 1
                counts.shortest = min(counts.shortest or tokens, tokens)
                continue
            counts.longest = max(counts.longest, tokens)
            if settings.subsample is not None:
                scores.append(request_seed(settings.seed, "subsample", asked.key, made.format, number))
            row = {
                "conversations": turns,
                "sft_template_type_idx": made.label,
                "format": made.format,
                "question_key": asked.key,
                "task": asked.task,
                "variants": [one.variant for one in made.attempts],
                "faults": [fault for fault, shows in FAULTS.items() if shows(made)],
                TOKENS: tokens,
            }
            rows.append(row)
    with pa.ipc.new_file(path, BUCKET_SCHEMA) as file:
        file.write_table(pa.Table.from_pylist(rows, BUCKET_SCHEMA))
    return BucketTraces(path, [(row["format"], row["sft_template_type_idx"]) for row in rows], scores, counts)


def _lengths(tokenizer: ChatTokenizer | None, question: str, texts: Sequence[str]) -> list[int]:
    """Return the length of a question's rows in tokens, 0 if they are not counted."""
    if tokenizer is None:
        return [0] * len(texts)
    return lengths_of(tokenizer, asked_by(tokenizer, [(question, text) for text in texts]))


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
