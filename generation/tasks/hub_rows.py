"""Rows of a dataset on the hub, at one commit: the only home of `datasets`. Knows nothing of questions.

The commit is asked for first, so that what is recorded is what was read. Without the hub the cache of an
earlier run counts, if it holds that commit.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.utils import disable_progress_bars
from huggingface_hub.utils import logging as hub_logging

from cluster.console import bars
from cluster.jobs.hub import HUB_TIMEOUT_S, asking_hub, offline
from generation.tasks.written import as_written, json_rows, may_differ

_COMMIT = re.compile(r"[0-9a-f]{40}")
_GUESSED = frozenset({"json", "csv"})
"""Builders of `datasets` that guess types: dates of texts, floats of whole numbers, numbers of "007"."""


class Place(NamedTuple):
    """Where rows lie."""

    repository: str
    configuration: str | None = None
    split: str = "train"
    revision: str | None = None
    """A commit, branch or tag; None for the newest."""

    @property
    def shown(self) -> str:
        """As a person would name it."""
        return self.repository + (f":{self.configuration}" if self.configuration else "")


class Rows(NamedTuple):
    """What was found there."""

    columns: tuple[str, ...]
    rows: Iterator[dict[str, Any]]
    revision: str | None
    """The commit; None where the hub cannot be asked and the cache does not tell."""


def commit_of(place: Place, wanted: str) -> str | None:
    """Ask the hub for the commit of `place`. Raises ValueError, beginning with `wanted`, if it does not give it."""
    if offline():
        return place.revision
    # One look first: datasets asks six times, for half a minute, where nobody answers.
    with asking_hub(wanted):
        found = HfApi().dataset_info(place.repository, revision=place.revision, timeout=HUB_TIMEOUT_S).sha
    assert found is not None
    return found


def load(place: Place, wanted: str, columns: Collection[str] | None = None) -> Rows:
    """Load all rows of a split; with `columns` only these, with the values that stand in the files.

    Raises ValueError, beginning with `wanted`.
    """
    commit = commit_of(place, wanted)
    loaded = _load(wanted, place.split, path=place.repository, name=place.configuration, revision=commit)
    cached = _commit_in_cache([file["filename"] for file in loaded.cache_files])
    if commit is not None and _COMMIT.fullmatch(commit) and cached not in (None, commit):
        raise ValueError(f"{wanted} is wanted at commit {commit}, and the cache on this machine holds {cached} alone")
    found = place._replace(revision=cached or commit)
    rows = map(dict, loaded) if columns is None else _as_they_stand(loaded, found, columns)
    return Rows(tuple(loaded.column_names), rows, found.revision)


def load_files(place: Place, wanted: str, files: Sequence[str]) -> Iterator[Rows]:
    """Yield the rows of parquet files, file by file; each is fetched when it is its turn.

    Raises ValueError, beginning with `wanted`.
    """
    commit = commit_of(place, wanted)
    _quiet_hub_client()
    for file in files:
        with asking_hub(wanted):
            path = hf_hub_download(place.repository, file, repo_type="dataset", revision=commit)
        # streamed: there is no second copy of a large file then
        loaded = _load(wanted, "train", path="parquet", data_files=path, streaming=True)
        yield Rows(tuple(loaded.features), map(dict, loaded), commit)


def _load(wanted: str, split: str, **named: Any) -> Any:
    # datasets takes seconds to import, and only this needs it: its home.
    import datasets

    datasets.logging.set_verbosity_error()
    _quiet_hub_client()
    if not bars():
        datasets.disable_progress_bars()
    try:
        return datasets.load_dataset(split=split, **named)
    except Exception as error:
        # datasets raises a dozen kinds; each means that these questions cannot be had.
        there = "" if "data_files" in named else _what_is_there(split, **named)
        reasons = (str(one) or type(one).__name__ for one in (error, error.__cause__) if one is not None)
        reason = " ".join(": ".join(reasons).split())[:240]
        if isinstance(error, ConnectionError) and offline():
            raise ValueError(
                f"{wanted} is not in the hub's cache of this machine: run --dry_run once where there is a network"
            ) from error
        raise ValueError(f"{wanted} {there or f'has no split {split!r} that can be loaded: {reason}'}") from error


def _what_is_there(split: str, *, path: str, name: str | None, revision: str | None) -> str:
    """The configurations or splits of a dataset that lacks the one that was asked for; "" where it is not that."""
    import datasets

    try:
        names = datasets.get_dataset_config_names(path, revision=revision)
        chosen = name or datasets.get_dataset_default_config_name(path, revision=revision)
        if chosen not in names:
            lacks = f"configuration {name!r}, only" if name else "default one of the configurations"
            return f"has no {lacks} {', '.join(names)}: name one, as {path}:{names[0]}"
        builder = datasets.load_dataset_builder(path, chosen, revision=revision)
        splits = [str(one) for one in builder.info.splits or builder.config.data_files or ()]
    except Exception:
        # It was asked for a better word only.
        return ""
    if not splits or split in splits:
        return ""
    return f"has no split {split!r}: give one of {', '.join(splits)} with --split"


def _as_they_stand(loaded: Any, place: Place, columns: Collection[str]) -> Iterator[dict[str, Any]]:
    """The rows with the texts and numbers of the files, not those that a loader made of them where it can differ."""
    kept = [name for name in loaded.column_names if name in columns]
    kinds = {name: loaded.features.arrow_schema.field(name).type for name in kept}
    if loaded.info.builder_name in _GUESSED and any(map(may_differ, kinds.values())):
        rows = _read_again(place, loaded, kept)
        if rows is not None and len(rows) == loaded.num_rows:
            return iter(rows)
    named = {name: loaded.features[name] for name in kept if hasattr(loaded.features[name], "int2str")}

    def cell(name: str, value: Any) -> Any:
        if name in named and isinstance(value, int):
            return named[name].int2str(value) if value >= 0 else None  # -1 stands for none
        return as_written(value, kinds[name])

    return ({name: cell(name, row[name]) for name in kept} for row in loaded.select_columns(kept))


def _read_again(place: Place, loaded: Any, columns: Sequence[str]) -> list[dict[str, Any]] | None:
    """The columns, read from the files that lie in the hub's cache; None where these cannot be read so."""
    import datasets

    repository, configuration, split, revision = place
    try:
        folder = snapshot_download(repository, repo_type="dataset", revision=revision, local_files_only=True)
        builder = datasets.load_dataset_builder(folder, name=configuration)
        if loaded.info.builder_name == "json":
            read = (row for file in builder.config.data_files[split] for row in json_rows(Path(file)))
        else:
            texts = datasets.Features(dict.fromkeys(loaded.column_names, datasets.Value("string")))
            read = datasets.load_dataset(folder, name=configuration, split=split, features=texts)
        return [{name: row.get(name) for name in columns} for row in read]
    except Exception:
        # What is left out is found in what was loaded, where whatever cannot be told exactly is refused.
        return None


def _quiet_hub_client() -> None:
    hub_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    if not bars():
        disable_progress_bars()


def _commit_in_cache(files: Sequence[str]) -> str | None:
    """The commit that `datasets` names its folder after."""
    parents = {Path(file).parent.name for file in files}
    return next((name for name in parents if _COMMIT.fullmatch(name)), None)
