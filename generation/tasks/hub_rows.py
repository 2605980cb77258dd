"""Rows as they stand in files and in datasets of the hub, at one commit: the only home of `datasets`.

A number with a point becomes the text that was written, so that no digit is lost or added; a float that stays a float
is not known exactly. The hub is asked for the commit first, so that the recorded one is the one that was read.
Without the hub the cache of an earlier run is used, if it holds that commit. Knows nothing of questions.
"""

import gzip
import json
import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.utils import disable_progress_bars
from huggingface_hub.utils import logging as hub_logging

from cluster.jobs.hub import HUB_TIMEOUT_S, asking_hub, offline
from cluster.texts import bars

_COMMIT = re.compile(r"[0-9a-f]{40}")
_GUESSED = frozenset({"json", "csv"})
"""Builders of `datasets` that guess types: dates of texts, floats of whole numbers, numbers of "007"."""


class Place(NamedTuple):
    """Where rows lie on the hub."""

    repository: str
    configuration: str | None = None
    split: str = "train"
    revision: str | None = None
    """A commit, branch or tag; None for the newest."""

    @property
    def shown(self) -> str:
        """Name it as a person would."""
        return self.repository + (f":{self.configuration}" if self.configuration else "")


class Rows(NamedTuple):
    """Rows and their origin."""

    rows: Iterable[tuple[str, dict[str, Any]]]
    """Each with its place, in words."""
    columns: Sequence[str] = ()
    revision: str | None = None
    """The commit of a hub dataset; None if neither the hub nor the cache says it."""


def json_object(text: str) -> dict[str, Any]:
    """Read one JSON object, its decimals as texts.

    Raises KeyError with a name that occurs twice, TypeError for another kind of JSON, ValueError or RecursionError for
    what is no JSON.
    """
    row = json.loads(text, parse_float=str, object_pairs_hook=_each_once)
    if not isinstance(row, dict):
        raise TypeError(f"is no JSON object but {type(row).__name__}")
    return row


def _each_once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise KeyError(Counter(name for name, _ in pairs).most_common(1)[0][0])
    return found


def as_written(value: Any, kind: pa.DataType) -> Any:
    """Return a cell of a column of this kind with its floats and decimals as texts, digit for digit.

    A float whose digits are not known stays one: NaN, and a whole number beyond what its width holds.
    """
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, float) and pa.types.is_floating(kind):
        exact = {16: 2**11, 32: 2**24}.get(kind.bit_width, 2**53)
        if not math.isfinite(value) or (value.is_integer() and abs(value) >= exact):
            return value
        # A column of floats cannot tell 7 from 7.0: most were whole numbers, made floats by a neighbour.
        return str(int(value)) if value.is_integer() else str(kind.to_pandas_dtype()(value))
    if isinstance(value, list) and (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        return [as_written(one, kind.value_type) for one in value]
    if isinstance(value, dict) and pa.types.is_struct(kind):
        return {name: as_written(one, kind.field(name).type) for name, one in value.items()}
    return value


def parquet_rows(place: str, file: pq.ParquetFile, columns: Collection[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the rows of an open file, each with its place, with those of the columns that it has."""
    kinds = {name: file.schema_arrow.field(name).type for name in file.schema_arrow.names if name in columns}
    batches = file.iter_batches(1000, columns=list(kinds))
    for number, row in enumerate((row for batch in batches for row in batch.to_pylist()), 1):
        yield f"{place} row {number}", {name: as_written(cell, kinds[name]) for name, cell in row.items()}


def load(place: Place, wanted: str, columns: Collection[str] | None = None) -> Rows:
    """Load a split, or these `columns` as the files have them. Raises ValueError, beginning with `wanted`."""
    # It takes seconds to import, and only this needs it: its home.
    import datasets

    commit = _ask_commit(place, wanted)
    datasets.logging.set_verbosity_error()
    if not bars():
        datasets.disable_progress_bars()
    try:
        loaded = datasets.load_dataset(place.repository, place.configuration, split=place.split, revision=commit)
    except Exception as error:
        # datasets raises a dozen kinds; each means that there are no questions.
        there = _what_is_there(place, commit)
        reasons = (str(one) or type(one).__name__ for one in (error, error.__cause__) if one is not None)
        reason = " ".join(": ".join(reasons).split())[:240]
        if isinstance(error, ConnectionError) and offline():
            there = "is not in the hub's cache of this machine: run --dry_run once where there is a network"
        there = there or f"has no split {place.split!r} that can be loaded: {reason}"
        raise ValueError(f"{wanted} {there}") from error
    # `datasets` names a folder of its cache after the commit.
    folders = {Path(file["filename"]).parent.name for file in loaded.cache_files}
    cached = next(filter(_COMMIT.fullmatch, folders), None)
    if commit is not None and _COMMIT.fullmatch(commit) and cached not in (None, commit):
        raise ValueError(f"{wanted} is wanted at commit {commit}, and the cache on this machine holds {cached} alone")
    found = place._replace(revision=cached or commit)
    rows = map(dict, loaded) if columns is None else _as_they_stand(loaded, found, columns)
    numbered = ((f"{place.shown} row {number}", row) for number, row in enumerate(rows, 1))
    return Rows(numbered, loaded.column_names, found.revision)


def load_files(place: Place, wanted: str, files: Sequence[str]) -> Iterator[Rows]:
    """Yield the rows of each parquet file, fetched when it is its turn. Raises ValueError, beginning with `wanted`."""
    commit = _ask_commit(place, wanted)
    for file in files:
        with asking_hub(wanted):
            path = hf_hub_download(place.repository, file, repo_type="dataset", revision=commit)
        with pq.ParquetFile(path) as opened:
            names = opened.schema_arrow.names
            yield Rows(parquet_rows(f"{place.shown} {file}", opened, names), names, commit)


def _ask_commit(place: Place, wanted: str) -> str | None:
    """Return the commit that the hub names, or what was asked for if offline; from here on its client is quiet."""
    hub_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    if not bars():
        disable_progress_bars()
    if offline():
        return place.revision
    # Asked once, before datasets, which asks six times, for half a minute, where nobody answers.
    with asking_hub(wanted):
        found = HfApi().dataset_info(place.repository, revision=place.revision, timeout=HUB_TIMEOUT_S).sha
    assert found is not None
    return found


def _what_is_there(place: Place, commit: str | None) -> str:
    """List configurations or splits if the one that was asked for is missing; "" if that is not the fault."""
    import datasets

    path, name = place.repository, place.configuration
    try:
        names = datasets.get_dataset_config_names(path, revision=commit)
        chosen = name or datasets.get_dataset_default_config_name(path, revision=commit)
        if chosen not in names:
            lacks = f"configuration {name!r}, only" if name else "default one of the configurations"
            return f"has no {lacks} {', '.join(names)}: name one, as {path}:{names[0]}"
        builder = datasets.load_dataset_builder(path, chosen, revision=commit)
        splits = [str(one) for one in builder.info.splits or builder.config.data_files or ()]
    except Exception:
        # This was only to explain an error better.
        return ""
    missing = splits and place.split not in splits
    return f"has no split {place.split!r}: give one of {', '.join(splits)} with --split" if missing else ""


def _as_they_stand(loaded: Any, place: Place, columns: Collection[str]) -> Iterable[dict[str, Any]]:
    """Return the rows with the texts and numbers of the files, not with what a loader made of them."""
    kept = [name for name in loaded.column_names if name in columns]
    if loaded.info.builder_name in _GUESSED:
        with suppress(Exception):  # then whatever is not known exactly is refused
            rows = [{name: row.get(name) for name in kept} for row in _read_again(place, loaded)]
            if len(rows) == loaded.num_rows:
                return rows
    kinds = {name: loaded.features.arrow_schema.field(name).type for name in kept}
    named = {name: loaded.features[name] for name in kept if hasattr(loaded.features[name], "int2str")}

    def cell(name: str, value: Any) -> Any:
        if name in named and isinstance(value, int):
            return named[name].int2str(value) if value >= 0 else None  # -1 stands for none
        return as_written(value, kinds[name])

    return ({name: cell(name, row[name]) for name in kept} for row in loaded.select_columns(kept))


def _read_again(place: Place, loaded: Any) -> Iterable[dict[str, Any]]:
    """Read the rows from the files in the hub's cache. Raises whatever `datasets` raises."""
    import datasets

    repository, configuration, split, revision = place
    folder = snapshot_download(repository, repo_type="dataset", revision=revision, local_files_only=True)
    if loaded.info.builder_name == "json":
        files = datasets.load_dataset_builder(folder, name=configuration).config.data_files[split]
        return (row for file in files for row in _json_rows(Path(file)))
    texts = datasets.Features(dict.fromkeys(loaded.column_names, datasets.Value("string")))
    rows: Iterable[dict[str, Any]] = datasets.load_dataset(folder, name=configuration, split=split, features=texts)
    return rows


def _json_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON file, one a line or all in one list, perhaps compressed by gzip."""
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8-sig") as file:
        first = next(filter(str.strip, file), "")
        if first.lstrip().startswith("["):
            yield from json.loads(first + file.read(), parse_float=str)
        else:
            yield from map(json_object, filter(str.strip, (first, *file)))
