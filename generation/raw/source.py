"""Which RAW_DATA something was made from, as a card says it: a name, a commit where there is one, a digest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cluster.jobs.card import digest_of
from generation.raw.files import card_of, reading

_LONGEST = 120
"""Characters of a name."""
_SNAPSHOTS = "snapshots"
"""Below it the hub's cache has a folder for each commit."""


class RawSource(NamedTuple):
    """A RAW_DATA that was read. No place on this machine is in it: cards travel."""

    name: str
    """Its repository, the name that its card gives it, or that of its folder or file."""
    repository: str
    """On the hub; empty where it has none."""
    revision: str
    """The repository's commit, where it was read from there."""
    digest: str
    """Of the bytes of its parquet files, 16 hex digits."""


def source_of(raw: str | Path, files: Sequence[Path], published: str = "") -> RawSource:
    """What the card says of the files of `raw`; `published` is the repository that they are pushed to.

    Raises ValueError where a file cannot be read.
    """
    local = Path(raw).exists()
    repository = published if local else str(raw)
    above = files[0].parts
    revision = above[above.index(_SNAPSHOTS) + 1] if not local and _SNAPSHOTS in above else ""
    with reading(Path(raw)):
        digest = digest_of(files)
    return RawSource(repository or _title(files[0]) or Path(raw).resolve().name, repository, revision, digest)


def _title(file: Path) -> str:
    """The first heading of the card, as it may stand in another one."""
    lines = card_of(file).splitlines()
    heading = next((line.removeprefix("# ") for line in lines if line.startswith("# ")), "")
    return heading.replace("`", "").strip()[:_LONGEST]
