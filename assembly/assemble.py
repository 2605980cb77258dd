"""RAW_DATA to SFT_DATA on any number of processes; the result depends neither on how many, nor on the order of rows.

A shuffle: each part of RAW_DATA becomes an Arrow file with its rows grouped by bucket, a range of hashes of question
keys; then each bucket is read from all files and its questions become traces, by hash; a process holds one at a time.
"""

import json
import os
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa

from assembly import feasibility
from assembly.asked import notes_on_template
from assembly.buckets import make_bucket, sort_part
from assembly.exclusion import exclude
from assembly.faults import FAULTS
from assembly.feasibility import NothingMadeError, Supply
from assembly.pairs import check_pairs, pairs_beside, write_pairs
from assembly.reflected import check_there
from assembly.selection import check_tasks, read_weights
from assembly.sessions import choose_sessions, sessions_beside, write_sessions
from assembly.settings import SftSettings
from assembly.sft import ANALYSIS, DATASET_INFO, DATASET_NAME, Summary
from assembly.sft_files import BucketTraces, Chosen, Map, choose_traces, read_traces, write_sft
from assembly.sft_report import sft_card
from cluster.jobs.atomic import check_replaceable, replace_folder
from cluster.jobs.card import UNKNOWN
from cluster.jobs.processes import workers
from cluster.jobs.progress import follow
from cluster.jobs.run_directory import now, this_command
from cluster.paths import check_dataset_folder
from generation.raw.files import Part, source_of
from generation.raw.reader import open_parts

BUCKET_BYTES = 48 << 20
MOST_BUCKETS = 512  # enough that each gets only a few rows of a batch; larger data makes larger buckets


def assemble(
    raw: str | Path,
    out: Path,
    settings: SftSettings,
    processes: int | None = None,
    *,
    license: str = UNKNOWN,
    published: str = "",
    starts: Sequence[Mapping[str, Any]] | None = None,
    sessions: int | None = None,
) -> Summary:
    """Replace `out` with SFT_DATA made from a RAW_DATA folder, file or hub repository.

    Uses as many processes as cores by default, or as parts if there are fewer. The card shows `license`, `published`
    (the repository that a local RAW_DATA is pushed to) and the `starts` of the run, by default this command alone.
    With `sessions` so many of the traces are written for the hub's viewer too, beside `out`.
    Raises ValueError for unusable paths and files, NothingMadeError if there are no traces; `out` is unchanged then.
    """
    check_destination(out, raw)
    if sessions is not None:
        check_replaceable(sessions_beside(out))
    if settings.pairs is not None:
        check_replaceable(pairs_beside(out))
    begun, command = time.monotonic(), this_command(state="assembled")
    parts = open_parts(raw)
    source = source_of(raw, parts, published)
    chat = settings.chat()
    shown = list[pa.Table]()
    summary = Summary(notes=[*source.notes, *(notes_on_template(chat) if chat else ())])

    def build(folder: Path) -> None:
        count = processes or min(len(parts), os.cpu_count() or 1)
        pool = workers(count)
        with TemporaryDirectory(dir=folder) as work, pool or nullcontext():
            map_ = pool.map if pool else map
            excluded = frozenset[str]()
            if settings.exclude:
                excluded = exclude(map_, parts, settings.exclude, summary.chosen, folder)
            made = _make(map_, parts, settings, Path(work), summary, excluded=excluded)
            kept = _choose(made, settings, summary)
            splits = write_sft(map_, made, kept.places, settings, summary, folder=folder)
            if sessions is not None:
                shown.append(_shown(made, kept, sessions))
            if settings.pairs is not None:
                paths = [bucket.path for bucket in made]
                to = pairs_beside(out)
                figures = write_pairs(paths, settings, to, cut=kept.cut, source=source, license=license)
                summary.notes += [f"{to.name}: {what}: {figure}" for what, figure in figures.rows]
        alone = {"ended": now(), "seconds": time.monotonic() - begun, "questions": summary.questions}
        told = starts if starts is not None else [command | alone]
        card = sft_card(summary, settings, splits, source, folder, license=license, starts=told)
        (folder / "README.md").write_text(card, encoding="utf-8")

    replace_folder(build, out)
    for traces in shown:
        count = summary.traces.total()
        write_sessions(traces, settings, sessions_beside(out), of=count, source=source, license=license)
    return summary


def _choose(made: Sequence[BucketTraces], settings: SftSettings, summary: Summary) -> Chosen:
    """Return the traces to keep, and add to the summary what was left out. Raises NothingMadeError if none is kept."""
    kept = choose_traces(made, settings)
    summary.chosen.update(kept.told)
    if not len(kept.all):
        raise NothingMadeError(f"no trace is kept with --weights {','.join(settings.weights)}: give another weight")
    return kept


def _shown(made: Sequence[BucketTraces], kept: Chosen, most: int) -> pa.Table:
    """Return the traces that become sessions."""
    labels = [label for bucket in made for label in bucket.labels]
    places = choose_sessions(labels, kept.all, most)
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


def _make(
    map_: Map,
    parts: Sequence[Part],
    settings: SftSettings,
    work: Path,
    summary: Summary,
    *,
    excluded: Collection[str],
) -> list[BucketTraces]:
    """Write all traces into the folder `work` and add to the summary. Raises ValueError if there can be none."""
    buckets = max(1, min(MOST_BUCKETS, sum(part.size for part in parts) // BUCKET_BYTES))
    files = [work / f"part-{number:06}.arrow" for number in range(len(parts))]
    sort = partial(sort_part, buckets=buckets, settings=settings)
    for counts in follow(map_(sort, parts, files), len(parts), "reading", "parts"):
        summary.extend(counts)
    feasibility.check_variants(settings.variants, summary.variants)
    if settings.reflected_under:
        check_there(settings.reflected_under, summary.reflected_under, summary.chosen)
    make = partial(make_bucket, files=files, buckets=buckets, settings=settings, excluded=excluded)
    paths = [work / f"bucket-{number:06}.arrow" for number in range(buckets)]
    made: list[BucketTraces] = list(follow(map_(make, range(buckets), paths), buckets, "assembling", "parts"))
    for bucket in made:
        summary.extend(bucket.counts)
    for file in files:
        file.unlink()
    check_tasks(read_weights(settings.weights), [*summary.tasks])
    if settings.pairs is not None:
        check_pairs(paths)
    labels = Counter(label for bucket in made for label in bucket.labels)
    if not labels and summary.left_questions.total() < summary.questions:
        variants = set(settings.variants) or summary.variants
        reflected, retried = (any(role in part.columns for part in parts) for role in ("reflections", "parent"))
        feasibility.notes_on_supply(settings, Supply(summary.most_samples, len(variants), reflected, retried))
    if not labels:
        raise NothingMadeError(feasibility.why_nothing(summary, settings))
    summary.notes += feasibility.notes_on_missing(summary, settings, labels)
    return made
