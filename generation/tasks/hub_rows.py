"""Rows of a dataset on the hub, at one commit: the only home of `datasets`. Knows nothing of questions.

The commit is asked for first, so that what is recorded is what was read. Without the hub the cache of an
earlier run counts, if it holds that commit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import HfApi

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


def load(place: Place, wanted: str, files: Sequence[str] | None = None) -> Rows:
    """All rows of a split, or of these files alone. Raises ValueError, beginning with `wanted`."""
    commit = commit_of(place, wanted)
    # datasets takes seconds to import, and only this needs it: its home.
    import datasets

    try:
        loaded = datasets.load_dataset(
            place.repository,
            place.configuration,
            split=place.split,
            revision=commit,
            data_files=None if files is None else list(files),
            # the sizes that a card names are those of all its files
            verification_mode=None if files is None else "no_checks",
        )
    except Exception as error:
        # datasets raises a dozen kinds; each means that these questions cannot be had.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ValueError(f"{wanted} has no split {place.split!r} that can be loaded: {reason}") from error
    cached = _commit_in_cache([file["filename"] for file in loaded.cache_files])
    if commit is not None and _COMMIT.fullmatch(commit) and cached not in (None, commit):
        raise ValueError(f"{wanted} is wanted at commit {commit}, and the cache on this machine holds {cached} alone")
    return Rows(tuple(loaded.column_names), (dict(row) for row in loaded), cached or commit)


def _commit_in_cache(files: Sequence[str]) -> str | None:
    """The commit that `datasets` names its folder after."""
    parents = {Path(file).parent.name for file in files}
    return next((name for name in parents if _COMMIT.fullmatch(name)), None)
