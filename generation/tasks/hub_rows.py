"""Rows exactly as they are in files and hub datasets, at one commit; the only module that imports `datasets`.

A decimal becomes its text, so that no digit is lost or added; a value that stays a float is not known exactly. The
commit is resolved first, so that the recorded one is the one that was read. Offline, the cache of an earlier run is
used if it holds that commit. Knows nothing about questions.
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
from huggingface_hub import HfApi, constants, hf_hub_download, snapshot_download
from huggingface_hub.utils import disable_progress_bars
from huggingface_hub.utils import logging as hub_logging

from cluster.jobs.hub import HUB_TIMEOUT_S, asking_hub
from cluster.texts import bars

_COMMIT = re.compile(r"[0-9a-f]{40}")
_GUESSED = frozenset({"json", "csv"})
"""Builders of `datasets` that infer types: dates from text, floats from integers, a number from "007"."""


class Place(NamedTuple):
    """Where the rows are on the hub."""

    repository: str
    configuration: str | None = None
    split: str = "train"
    revision: str | None = None  # a commit, branch or tag; None for the latest

    @property
    def shown(self) -> str:
        """Return its name as shown to the user."""
        return self.repository + (f":{self.configuration}" if self.configuration else "")


class Rows(NamedTuple):
    rows: Iterable[tuple[str, dict[str, Any]]]  # each with its place, as shown to the user
    columns: Sequence[str] = ()
    revision: str | None = None  # the commit of a hub dataset; None if unknown to both the hub and the cache


def json_object(text: str) -> dict[str, Any]:
    """Parse one JSON object, with decimals as strings.

    Raises KeyError with a duplicate name, TypeError for any other JSON value, ValueError or RecursionError for no JSON.
    """
    row = json.loads(text, parse_float=str, object_pairs_hook=_reject_duplicates)
    if not isinstance(row, dict):
        raise TypeError(f"is no JSON object but {type(row).__name__}")
    return row


def _reject_duplicates(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise KeyError(Counter(name for name, _ in pairs).most_common(1)[0][0])
    return found


def as_written(value: Any, kind: pa.DataType) -> Any:
    """Return a cell of a column of type `kind` with its floats and decimals as strings, digit for digit.

    A float that may be inexact stays a float: NaN, infinity, and integers that its width cannot represent exactly.
    """
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, float) and pa.types.is_floating(kind):
        exact = {16: 2**11, 32: 2**24}.get(kind.bit_width, 2**53)
        if not math.isfinite(value) or (value.is_integer() and abs(value) >= exact):
            return value
        # A float column cannot tell 7 from 7.0: most were integers, converted because of another row.
        return str(int(value)) if value.is_integer() else str(kind.to_pandas_dtype()(value))
    if isinstance(value, list) and (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        return [as_written(one, kind.value_type) for one in value]
    if isinstance(value, dict) and pa.types.is_struct(kind):
        return {name: as_written(one, kind.field(name).type) for name, one in value.items()}
    return value


def parquet_rows(place: str, file: pq.ParquetFile, columns: Collection[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the rows of an open file, each with its place, limited to those of the columns that exist."""
    kinds = {name: file.schema_arrow.field(name).type for name in file.schema_arrow.names if name in columns}
    batches = file.iter_batches(1000, columns=list(kinds))
    for number, row in enumerate((row for batch in batches for row in batch.to_pylist()), 1):
        yield f"{place} row {number}", {name: as_written(cell, kinds[name]) for name, cell in row.items()}


def load(place: Place, wanted: str, columns: Collection[str] | None = None) -> Rows:
    """Load a split, or only these `columns`, as in the files. Raises ValueError, starting with `wanted`."""
    # It takes seconds to import.
    import datasets

    commit = _ask_commit(place, wanted)
    datasets.logging.set_verbosity_error()
    if not bars():
        datasets.disable_progress_bars()
    try:
        loaded = datasets.load_dataset(place.repository, place.configuration, split=place.split, revision=commit)
    except Exception as error:
        # `datasets` raises a dozen kinds of error; each means that there are no questions.
        there = _list_available(place, commit)
        reasons = (str(one) or type(one).__name__ for one in (error, error.__cause__) if one is not None)
        reason = " ".join(": ".join(reasons).split())[:240]
        if isinstance(error, ConnectionError) and constants.HF_HUB_OFFLINE:
            there = "is not in the hub's cache of this machine: run --dry_run once where there is a network"
        there = there or f"has no split {place.split!r} that can be loaded: {reason}"
        raise ValueError(f"{wanted} {there}") from error
    # `datasets` names a folder of its cache after the commit.
    cached = next(filter(_COMMIT.fullmatch, {Path(file["filename"]).parent.name for file in loaded.cache_files}), None)
    if commit is not None and _COMMIT.fullmatch(commit) and cached not in (None, commit):
        raise ValueError(f"{wanted} is wanted at commit {commit}, and the cache on this machine holds {cached} alone")
    found = place._replace(revision=cached or commit)
    rows = map(dict, loaded) if columns is None else _exact_rows(loaded, found, columns)
    numbered = ((f"{place.shown} row {number}", row) for number, row in enumerate(rows, 1))
    return Rows(numbered, loaded.column_names, found.revision)


def load_files(place: Place, wanted: str, files: Sequence[str]) -> Iterator[Rows]:
    """Yield the rows of each parquet file, downloading it only then. Raises ValueError, starting with `wanted`."""
    commit = _ask_commit(place, wanted)
    for file in files:
        with asking_hub(wanted):
            path = hf_hub_download(place.repository, file, repo_type="dataset", revision=commit)
        with pq.ParquetFile(path) as opened:
            names = opened.schema_arrow.names
            yield Rows(parquet_rows(f"{place.shown} {file}", opened, names), names, commit)


def _ask_commit(place: Place, wanted: str) -> str | None:
    """Return the commit that the hub resolves, or the given revision if offline; also silences the hub's client."""
    hub_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    if not bars():
        disable_progress_bars()
    if constants.HF_HUB_OFFLINE:
        return place.revision
    # Ask once here: `datasets` would retry six times, for half a minute, if nobody answers.
    with asking_hub(wanted):
        found = HfApi().dataset_info(place.repository, revision=place.revision, timeout=HUB_TIMEOUT_S).sha
    assert found is not None
    return found


def _list_available(place: Place, commit: str | None) -> str:
    """List the configurations or splits if the requested one is missing; "" if that is not the problem."""
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
        # This would only have improved an error message.
        return ""
    missing = splits and place.split not in splits
    return f"has no split {place.split!r}: give one of {', '.join(splits)} with --split" if missing else ""


def _exact_rows(loaded: Any, place: Place, columns: Collection[str]) -> Iterable[dict[str, Any]]:
    """Return the rows with strings and numbers as in the files, not as a loader converted them."""
    kept = [name for name in loaded.column_names if name in columns]
    if loaded.info.builder_name in _GUESSED:
        with suppress(Exception):  # then inexact values are rejected later
            rows = [{name: row.get(name) for name in kept} for row in _read_again(place, loaded)]
            if len(rows) == loaded.num_rows:
                return rows
    kinds = {name: loaded.features.arrow_schema.field(name).type for name in kept}
    named = {name: loaded.features[name] for name in kept if hasattr(loaded.features[name], "int2str")}

    def cell(name: str, value: Any) -> Any:
        if name in named and isinstance(value, int):
            return named[name].int2str(value) if value >= 0 else None  # -1 means no label
        return as_written(value, kinds[name])

    return ({name: cell(name, row[name]) for name in kept} for row in loaded.select_columns(kept))


def _read_again(place: Place, loaded: Any) -> Iterable[dict[str, Any]]:
    """Read the rows again from the files in the hub's cache. Raises whatever `datasets` raises."""
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
    """Yield the objects of a JSON file, one per line or all in one list, perhaps gzipped."""
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8-sig") as file:
        first = next(filter(str.strip, file), "")
        if first.lstrip().startswith("["):
            yield from json.loads(first + file.read(), parse_float=str)
        else:
            yield from map(json_object, filter(str.strip, (first, *file)))
