"""Rows of a dataset on the hub, at one commit: the only home of `datasets`. Knows nothing of questions.

The commit is asked for first, so that what is recorded is what was read. Without the hub the cache of an
earlier run counts, if it holds that commit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.utils import disable_progress_bars
from huggingface_hub.utils import logging as hub_logging

from cluster.console import bars
from cluster.hub import HUB_TIMEOUT_S, asking_hub, offline

_COMMIT = re.compile(r"[0-9a-f]{40}")


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
    """The commit that is meant. Raises ValueError, beginning with `wanted`, when the hub does not give it."""
    if offline():
        return place.revision
    # One look first: datasets asks six times, for half a minute, where nobody answers.
    with asking_hub(wanted):
        found = HfApi().dataset_info(place.repository, revision=place.revision, timeout=HUB_TIMEOUT_S).sha
    assert found is not None
    return found


def load(place: Place, wanted: str) -> Rows:
    """All rows of a split. Raises ValueError, beginning with `wanted`."""
    commit = commit_of(place, wanted)
    loaded = _load(wanted, place.split, path=place.repository, name=place.configuration, revision=commit)
    cached = _commit_in_cache([file["filename"] for file in loaded.cache_files])
    if commit is not None and _COMMIT.fullmatch(commit) and cached not in (None, commit):
        raise ValueError(f"{wanted} is wanted at commit {commit}, and the cache on this machine holds {cached} alone")
    return Rows(tuple(loaded.column_names), map(dict, loaded), cached or commit)


def load_files(place: Place, wanted: str, files: Sequence[str]) -> Iterator[Rows]:
    """The rows of parquet files, one file after the other, each fetched when it is its turn.

    Raises ValueError, beginning with `wanted`.
    """
    commit = commit_of(place, wanted)
    _speak_to_people_only()
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
    _speak_to_people_only()
    if not bars():
        datasets.disable_progress_bars()
    try:
        return datasets.load_dataset(split=split, **named)
    except Exception as error:
        # datasets raises a dozen kinds; each means that these questions cannot be had.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ValueError(f"{wanted} has no split {split!r} that can be loaded: {reason}") from error


def _speak_to_people_only() -> None:
    hub_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    if not bars():
        disable_progress_bars()


def _commit_in_cache(files: Sequence[str]) -> str | None:
    """The commit that `datasets` names its folder after."""
    parents = {Path(file).parent.name for file in files}
    return next((name for name in parents if _COMMIT.fullmatch(name)), None)
