"""The parquet files of a RAW_DATA: finding, describing and checking them."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from huggingface_hub import snapshot_download

from cluster.jobs.card import HUB_ID, digest_of
from cluster.jobs.hub import asking_hub
from cluster.jobs.run_directory import RUN_FILE
from cluster.texts import first_line
from generation.raw.schema import RAW_DATA, SAMPLE_PROVENANCE, lengths

CARD = "README.md"
_HELD_OUT = {"SFT_DATA": "validation"}  # the folder of the split that is held out, by the kinds that may have one
_KINDS = (RAW_DATA, "EVAL_DATA")  # what a run makes of its rows
_LONGEST_CARD, _LONGEST_NAME = 100_000, 120  # characters
_NUMBERED = re.compile(r"(?P<set>.*)-(?P<number>\d{5})-of-(?P<total>\d{5})(-[0-9a-f]+)?\.parquet")
"""How `datasets` names the files of a table; older versions append a hash."""
_MODEL = re.compile(r"[\w.-]+(/[\w.-]+)?")
_SNAPSHOTS = "snapshots"  # the folder in the hub's cache with a subfolder per commit
_SAMPLE = ("question_key", "prompt_variant", "sample_index")  # the identity of a sample within its run
_BATCH_ROWS = 65_536

Columns = Mapping[str, str]  # the column of a file that plays each role


class Part(NamedTuple):
    """Consecutive row groups of one file: the unit of reading."""

    path: Path
    columns: Columns
    groups: tuple[int, ...]
    first_row: int  # index of its first row in the file
    rows: int
    size: int  # approximate size of the needed columns in memory, in bytes


class RawSource(NamedTuple):
    """Where a RAW_DATA was read from. Contains no local path, since it is published in cards."""

    name: str  # its repository, else the title of its card, else the name of its folder or file
    repository: str  # on the hub; empty if it has none
    revision: str  # the commit it was read at, if it was read from the hub
    digest: str  # hash of the bytes of its parquet files, 16 hex digits
    card: str  # its README.md; "" if it has none
    models: tuple[str, ...]
    """The models that wrote the samples: the first value of column `model` in each file, if it is a model name."""
    notes: tuple[str, ...]


def find_files(raw: str | Path, kind: str = RAW_DATA) -> tuple[Path, ...]:
    """Return the parquet files of a file, folder, run or hub repository. Raises ValueError if one is missing.

    `kind` is the name of the folder that they have in a run. Those of a split that is held out come last.
    """
    path = Path(raw)
    try:
        exists = path.exists()
    except OSError as error:
        raise ValueError(f"{raw}: cannot be looked at: {error.strerror}") from error
    if path.is_file():
        return (path,)
    if not exists and not HUB_ID.fullmatch(str(raw)):
        raise ValueError(f"{raw}: no such file or folder")
    if not exists:
        with asking_hub(f"{raw}: a file or folder of this name"):
            wanted = ["data/*.parquet", "*.parquet", CARD]
            wanted += [f"{_HELD_OUT[kind]}/*.parquet"] if kind in _HELD_OUT else []
            path = Path(snapshot_download(str(raw), repo_type="dataset", allow_patterns=wanted))
    # Other parquet files in a run's folder are not its dataset.
    folder = path / kind if (path / RUN_FILE).exists() or (path / kind).is_dir() else path
    files = sorted(folder.glob("data/*.parquet")) or sorted(folder.glob("*.parquet"))
    files += sorted((folder / _HELD_OUT[kind]).glob("*.parquet")) if files and kind in _HELD_OUT else []
    others = [name for name in _KINDS if name != kind and (path / name).is_dir()]
    if not files and others:
        raise ValueError(f"{raw}: holds {others[0]} and no {kind}: it is a run of another command")
    if not files and (path / RUN_FILE).exists():
        raise ValueError(f"{raw}: is a run that has made no {kind} yet; let its command go on to the end")
    if not files:
        raise ValueError(f"{raw}: holds no parquet file; expected data/*.parquet or *.parquet")
    _check_whole(files)
    return tuple(files)


def _check_whole(files: Sequence[Path]) -> None:
    """Raise ValueError if the files' numbering shows that one is missing."""
    folder, named = files[0].parent, [*filter(None, (_NUMBERED.fullmatch(path.name) for path in files))]
    firsts: dict[str, re.Match[str]] = {}
    for one in named:
        if (first := firsts.setdefault(one["set"], one))["total"] != one["total"]:
            raise ValueError(f"{folder}: {first[0]} and {one[0]} are of two sets of files; keep the files of one")
    for name, first in firsts.items():
        total, there = int(first["total"]), {int(one["number"]) for one in named if one["set"] == name}
        if missing := [number for number in range(total) if number not in there]:
            lost = f"{name}-{missing[0]:05}-of-{total:05}.parquet"
            more = "" if len(missing) == 1 else f", nor are {len(missing) - 1:,} more"
            raise ValueError(f"{folder}: {lost} is not there{more}: its {total:,} files belong together")


def _card_of(file: Path) -> str:
    folder = file.parent.parent if file.parent.name == "data" else file.parent
    try:
        with (folder / CARD).open(encoding="utf-8", errors="replace") as card:
            text = card.read(_LONGEST_CARD)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise ValueError(f"{folder / CARD}: cannot be read: {error.strerror}") from error
    # A dataset card starts with a YAML block; a README.md next to a single file may be something else.
    return text if text.startswith("---") else ""


def source_of(raw: str | Path, parts: Sequence[Part], published: str = "") -> RawSource:
    """Describe the files of `raw`, pushed to `published` if any. Raises ValueError for unreadable or duplicate rows."""
    check_copies(raw, parts)
    files = [*dict.fromkeys(part.path for part in parts)]
    return origin_of(raw, files, published)._replace(notes=tuple(notes_on_responses(parts)))


def origin_of(raw: str | Path, files: Sequence[Path], published: str = "") -> RawSource:
    """Describe these files of `raw`, without notes. Raises ValueError if they cannot be read."""
    local = Path(raw).exists()
    repository = published if local else str(raw)
    above = files[0].parts
    revision = above[above.index(_SNAPSHOTS) + 1] if not local and _SNAPSHOTS in above else ""
    card = _card_of(files[0])
    heading = next((line.removeprefix("# ") for line in card.splitlines() if line.startswith("# ")), "")
    name = repository or heading.replace("`", "").strip()[:_LONGEST_NAME] or Path(raw).resolve().name
    with reading(Path(raw)):
        digest = digest_of(files)
    found: list[object] = []
    for path in files:
        with reading(path), pq.ParquetFile(path) as file:
            if "model" in file.schema_arrow.names and file.metadata.num_row_groups:
                first = next(file.iter_batches(1, row_groups=[0], columns=["model"]), None)
                found += first.column(0).to_pylist() if first else []
    models = dict.fromkeys(model for model in found if isinstance(model, str) and _MODEL.fullmatch(model))
    return RawSource(name, repository, revision, digest, card, tuple(models), ())


@contextmanager
def reading(path: Path, row: Callable[[], int] | None = None) -> Iterator[None]:
    """Turn the errors of reading a file into ValueError, naming the file and, given `row`, the row."""
    try:
        yield
    except FileNotFoundError as error:
        lost = "is a link to a file that is not there" if path.is_symlink() else "is not there any more"
        raise ValueError(f"{path}: {lost}; get it again") from error
    except (pa.ArrowException, OSError) as error:
        where = "cannot be read as parquet" if row is None else f"torn after row {row()}"
        raise ValueError(f"{path}: {where}: {first_line(error)}") from error


def check_copies(raw: str | Path, parts: Sequence[Part]) -> None:
    """Raise ValueError if two rows are the same sample, in a RAW_DATA whose rows identify their samples.

    Rows of two runs may share that identity; copies agree in response, seed and model too. Compares 64-bit hashes.
    """
    files = {part.path: (*_SAMPLE, part.columns["response"], "model", f"{SAMPLE_PROVENANCE}.seed") for part in parts}
    if not _first_duplicate(dict.fromkeys(files, _SAMPLE)) or not (twice := _first_duplicate(files)):
        return
    first, second = (f"row {row:,} of {path.name}" for path, row in twice)
    path, row = twice[0]
    with reading(path), pq.ParquetFile(path) as file:
        sample = file.read(columns=list(_SAMPLE)).slice(row, 1).to_pylist()[0]
    key, variant, index = (sample[name] for name in _SAMPLE)
    told = f"sample {index} of question {key!r} under {variant!r}"
    raise ValueError(f"{raw}: holds the same rows twice, e.g. {told}: {first} and {second}")


def _first_duplicate(files: Mapping[Path, Sequence[str]]) -> list[tuple[Path, int]]:
    """Return file and row of the first duplicate by these columns, and of its copy; [] if there is none."""
    hashes = [_row_hashes(path, names) for path, names in files.items()]
    starts = np.cumsum([0, *map(len, hashes)])
    every = np.concatenate(hashes)
    _, firsts, counts = np.unique(every, return_index=True, return_counts=True)
    if not (counts > 1).any():
        return []
    places = np.flatnonzero(every == every[firsts[counts > 1].min()])[:2]
    owning = np.searchsorted(starts, places, side="right") - 1
    return [([*files][file], int(place - starts[file])) for file, place in zip(owning, places, strict=True)]


def _row_hashes(path: Path, names: Sequence[str]) -> np.ndarray:
    """Return an int64 hash per row, stable within this process; none for a file that does not identify its samples."""
    row, found = 0, [np.empty(0, np.int64)]
    with reading(path, lambda: row), pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        named = all(schema.names.count(name) == 1 for name in _SAMPLE)
        if not (named and pa.types.is_integer(schema.field(_SAMPLE[-1]).type)):
            return found[0]
        for batch in file.iter_batches(_BATCH_ROWS, columns=[*names]):
            values = zip(*(column.to_pylist() for column in batch.columns), strict=True)
            found.append(np.fromiter((hash(str(one)) for one in values), np.int64, batch.num_rows))
            row += batch.num_rows
    return np.concatenate(found)


def chunks_of(group: pq.RowGroupMetaData, names: Collection[str]) -> list[pq.ColumnChunkMetaData]:
    """Return the footer's metadata on these columns in a row group."""
    chunks = [group.column(place) for place in range(group.num_columns)]
    return [chunk for chunk in chunks if chunk.path_in_schema.split(".")[0] in names]


def notes_on_responses(parts: Sequence[Part]) -> list[str]:
    """Return a note on rows with several responses, of which only the first is read; [] if there are none."""
    rows = 0
    for part in parts:
        name = part.columns["response"]
        with reading(part.path), pq.ParquetFile(part.path) as file:
            groups = [file.metadata.row_group(number) for number in part.groups]
            # The footer suffices if there are no more values than rows.
            if sum(chunk.num_values for group in groups for chunk in chunks_of(group, [name])) > part.rows:
                batches = file.iter_batches(_BATCH_ROWS, row_groups=list(part.groups), columns=[name])
                rows += sum(int((lengths(batch.column(0)) > 1).sum()) for batch in batches)
    said = f"{rows:,} row{' holds' if rows == 1 else 's hold'} several responses; the first of each is used"
    return [said] if rows else []
