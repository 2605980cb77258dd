"""RAW_DATA to SFT_DATA: rows go to buckets, the questions of each become traces, the traces are written.

All three steps are shared out among processes. What comes out does not depend on how many, nor on the order of the rows
in RAW_DATA.
"""

import gc
import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from assembly.buckets import BucketTraces, SortedPart, count_buckets, make_bucket, most_samples, sort_part
from assembly.cards import AssemblySummary
from assembly.exports import check_destination, write_sft
from assembly.feasibility import NothingMadeError, Supply, check_variants, foresee, notes_on_missing, why_nothing
from assembly.settings import SftSettings
from cluster.jobs.atomic import replace_folder
from cluster.jobs.card import UNKNOWN
from cluster.jobs.progress import follow
from cluster.jobs.run_directory import now, this_command
from generation.raw.files import Part, source_of
from generation.raw.reader import open_parts

Map = Callable[..., Iterator[Any]]
"""As the built-in `map`, perhaps in other processes; results come in order."""


def assemble(
    raw: str | Path,
    out: Path,
    settings: SftSettings,
    processes: int | None = None,
    *,
    license: str = UNKNOWN,
    published: str = "",
    starts: Sequence[Mapping[str, Any]] | None = None,
) -> AssemblySummary:
    """Make SFT_DATA in the place of `out` from a RAW_DATA folder, file or hub repository.

    By default as many processes as cores, and one where there is little to do. The card names `license`,
    `published`, the repository that a local RAW_DATA is pushed to, and the `starts` of the run that the set belongs
    to. Raises ValueError for places and files that are wrong, NothingMadeError where no trace comes of them;
    what lies in `out` stays then.
    """
    check_destination(out, raw)
    begun, command = time.monotonic(), this_command(state="assembled")
    parts = open_parts(raw)
    source = source_of(raw, parts, published)
    summary = AssemblySummary(source=source, license=license, notes=[*source.notes])

    def build(folder: Path) -> None:
        work = folder / ".work"
        work.mkdir()
        with workers(processes or min(len(parts), os.cpu_count() or 1)) as map_:
            made = _make(map_, parts, settings, work, summary)
            labels = Counter[tuple[str, str]]()
            for bucket in made:
                labels.update({label: len(places) for label, places in bucket.labels.items()})
            if not labels:
                raise NothingMadeError(why_nothing(summary, settings))
            summary.notes += notes_on_missing(summary, settings, labels)
            alone = {"ended": now(), "seconds": time.monotonic() - begun, "questions": summary.questions}
            summary.starts = starts if starts is not None else [command | alone]
            write_sft(map_, made, settings, summary, folder)
        shutil.rmtree(work)

    replace_folder(build, out)
    return summary


def _make(
    map_: Map, parts: Sequence[Part], settings: SftSettings, work: Path, summary: AssemblySummary
) -> list[BucketTraces]:
    """Make all traces in the folder `work`, and count in the summary. Raises ValueError where none can come."""
    buckets = count_buckets(parts)
    files = [work / f"part-{number:06}.arrow" for number in range(len(parts))]
    sort = partial(sort_part, buckets=buckets, settings=settings)
    held: list[SortedPart] = list(follow(map_(sort, parts, files), len(parts), "reading", "parts"))
    for part in held:
        summary.samples += part.samples
        summary.left_out.update(part.left_out)
    there = frozenset[str]().union(*(part.variants for part in held))
    check_variants(settings.variants, there)
    variants = tuple(sorted(set(settings.variants) or there))
    reflected = any("reflections" in part.columns for part in parts)
    more = "`python -m reflection.run` adds some; --formats star needs none"
    foresee(settings, Supply(most_samples(held), variants, reflected, "", more))
    make = partial(make_bucket, files=files, buckets=buckets, settings=settings)
    paths = [work / f"bucket-{number:06}.arrow" for number in range(buckets)]
    made: list[BucketTraces] = list(follow(map_(make, range(buckets), paths), buckets, "assembling", "parts"))
    for file in files:
        file.unlink()
    for bucket in made:
        summary.questions += bucket.questions
        summary.not_given.update(bucket.not_given)
        summary.too_long.update(bucket.too_long)
    summary.shortest = min((bucket.shortest for bucket in made if bucket.shortest), default=0)
    return made


@contextmanager
def workers(processes: int) -> Iterator[Map]:
    """Yield a `map` over so many processes, or the built-in one. They end with the context, or with this process."""
    if processes == 1:
        yield map
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_initialize) as pool:
        yield pool.map


def _initialize() -> None:
    # Ctrl-C and Slurm's signals reach every process; what becomes of the work is the parent's to say.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    # Each is one of as many as there are cores, and makes no reference cycles worth looking for.
    pa.set_cpu_count(1)
    gc.disable()
    # Gives less back to the system between two batches than the default does: a twentieth of all the time.
    if "jemalloc" in pa.supported_memory_backends():
        pa.set_memory_pool(pa.jemalloc_memory_pool())


def _die_with_parent() -> None:
    """A worker whose parent is killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
