"""Several RAW_DATA assembled as one: their parts, where they come from, and the rows that more than one of them has."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from generation.raw.files import Part, RawSource, source_of
from generation.raw.reader import open_parts
from generation.raw.schema import lengths

_SAME = ("question_key", "question", "gold", "variant", "response")
"""The columns in which the same sample agrees wherever it is; reflections may have been added to it since."""
_SEEN = ("response", "reflection")
"""What the same retry saw; of a retry that stands in no trace this is not known, and does not matter."""


class Raws(NamedTuple):
    """What is assembled."""

    parts: tuple[Part, ...]
    owners: tuple[int, ...]  # of each part, the place of its RAW_DATA among those given
    source: RawSource


def open_raws(given: str | Path | Sequence[str | Path], published: str = "") -> Raws:
    """Open one RAW_DATA, or several. Raises ValueError if one cannot be used, or is given twice.

    `published` is the repository that a local one is pushed to.
    """
    raws = [given] if isinstance(given, str | Path) else [*given]
    opened = [open_parts(raw) for raw in raws]
    sources = [source_of(raw, parts, published) for raw, parts in zip(raws, opened, strict=True)]
    files = [parts[0].path.resolve() for parts in opened]
    for place, file in enumerate(files):
        if (first := files.index(file)) < place:
            raise ValueError(f"--raw {raws[first]} and {raws[place]} are the same RAW_DATA: give it once")
    owners = tuple(owner for owner, parts in enumerate(opened) for _ in parts)
    return Raws(tuple(part for parts in opened for part in parts), owners, _joined(sources, opened))


def _joined(sources: Sequence[RawSource], opened: Sequence[Sequence[Part]]) -> RawSource:
    """Describe several as one; a list of repositories, commits or digests is written with commas."""
    if len(sources) == 1:
        return sources[0]
    notes = [f"{one.name}: {note}" for one in sources for note in one.notes]
    for one, parts in zip(sources, opened, strict=True):
        by = f" by {', '.join(one.models)}" if one.models else ""
        notes.append(f"{one.name}: {sum(part.rows for part in parts):,} rows{by}")
    return RawSource(
        name=", ".join(one.name for one in sources),
        repository=", ".join(one.repository for one in sources if one.repository),
        revision=", ".join(one.revision for one in sources if one.revision),
        digest=", ".join(one.digest for one in sources),
        card="",
        models=tuple(dict.fromkeys(model for one in sources for model in one.models)),
        notes=tuple(notes),
    )


def without_copies(pool: pa.Table, owners: np.ndarray) -> tuple[pa.Table, pa.Table]:
    """Split rows of schema POOL, given the RAW_DATA of each, into those that stay and those that another one has too.

    A sample that one RAW_DATA holds several times stays as often. Of copies the one with the most valid reflections
    stays, or the first of these.
    """
    if len(np.unique(owners)) < 2:
        return pool, pool.slice(0, 0)
    counts = lengths(pool["reflections"].combine_chunks())
    met, best = Counter[tuple[object, ...]](), dict[tuple[object, ...], int]()
    seen = [pc.struct_field(pool["first"], name) for name in _SEEN]
    columns = zip(*(column.to_pylist() for column in (*(pool[name] for name in _SAME), *seen)), strict=True)
    for row, (owner, same) in enumerate(zip(owners.tolist(), columns, strict=True)):
        met[owner, same] += 1
        place = (*same, met[owner, same])
        if (there := best.get(place)) is None or counts[row] > counts[there]:
            best[place] = row
    keep = np.zeros(pool.num_rows, dtype=bool)
    keep[[*best.values()]] = True
    return pool.filter(pa.array(keep)), pool.filter(pa.array(~keep))
