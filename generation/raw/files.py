"""The parquet files of a RAW_DATA: where they are, and what is said when one cannot be read. Knows no columns."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
from huggingface_hub import snapshot_download

from cluster.jobs.card import HUB_ID
from cluster.jobs.hub import asking_hub
from cluster.jobs.run_directory import RUN_FILE
from cluster.messages import first_line
from generation.raw.schema import RAW_DATA

CARD = "README.md"
_LONGEST_CARD = 100_000
_NUMBERED = re.compile(r"(?P<set>.*)-(?P<number>\d{5})-of-(?P<total>\d{5})(-[0-9a-f]+)?\.parquet")
"""As `datasets` names the files of one table; an older one puts a hash behind."""


def find_files(raw: str | Path) -> tuple[Path, ...]:
    """The parquet files of a RAW_DATA: the file itself, or those in its folder or in `data/`; of a run, its RAW_DATA's.

    Raises ValueError where there are none, and where names say that one is missing.
    """
    path = Path(raw)
    try:
        exists = path.exists()
    except OSError as error:
        raise ValueError(f"{raw}: cannot be looked at: {error.strerror}") from error
    if path.is_file():
        return (path,)
    if not exists:
        if not HUB_ID.fullmatch(str(raw)):
            raise ValueError(f"{raw}: no such file or folder")
        path = _download(str(raw))
    # What else lies in a run's folder is not its RAW_DATA.
    run = (path / RUN_FILE).exists() or (path / RAW_DATA).is_dir()
    folder = path / RAW_DATA if run else path
    files = next((found for where in ("data/*", "*") if (found := sorted(folder.glob(f"{where}.parquet")))), [])
    if not files and (path / RUN_FILE).exists():
        raise ValueError(f"{raw}: is a run that has made no {RAW_DATA} yet; let its command go on to the end")
    if not files:
        raise ValueError(f"{raw}: holds no parquet file; expected data/*.parquet or *.parquet")
    _check_whole(files)
    return tuple(files)


def _check_whole(files: Sequence[Path]) -> None:
    """Raise ValueError where a file that the names of others count is not there."""
    first: dict[str, re.Match[str]] = {}
    numbers: dict[str, set[int]] = {}
    for path in files:
        if (named := _NUMBERED.fullmatch(path.name)) is None:
            continue
        of_set = first.setdefault(named["set"], named)
        if named["total"] != of_set["total"]:
            raise ValueError(
                f"{path.parent}: {of_set.string} and {named.string} are of two sets of files; keep the files of one"
            )
        numbers.setdefault(named["set"], set()).add(int(named["number"]))
    for name, there in numbers.items():
        total = int(first[name]["total"])
        if missing := [number for number in range(total) if number not in there]:
            lost = f"{name}-{missing[0]:05}-of-{total:05}.parquet"
            more = "" if len(missing) == 1 else f", nor are {len(missing) - 1:,} more"
            raise ValueError(f"{files[0].parent}: {lost} is not there{more}: its {total:,} files belong together")


def _download(repository: str) -> Path:
    """The repository's parquet files and card, in the hub's own cache."""
    with asking_hub(f"{repository}: a file or folder of this name"):
        return Path(
            snapshot_download(repository, repo_type="dataset", allow_patterns=["data/*.parquet", "*.parquet", CARD])
        )


def card_of(file: Path) -> str:
    """The card of the repository that the parquet file lies in, cut where it is very long; "" without one."""
    folder = file.parent.parent if file.parent.name == "data" else file.parent
    try:
        with (folder / CARD).open(encoding="utf-8", errors="replace") as card:
            text = card.read(_LONGEST_CARD)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise ValueError(f"{folder / CARD}: cannot be read: {error.strerror}") from error
    # A dataset's begins with its YAML block; another README.md may lie beside a lonely file.
    return text if text.startswith("---") else ""


@contextmanager
def reading(path: Path, row: Callable[[], int] | None = None) -> Iterator[None]:
    """What a file's bytes make pyarrow raise as a ValueError that names it, and after which row where that is told."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise unreadable(path, error, None if row is None else row()) from error


def unreadable(path: Path, error: Exception, row: int | None = None) -> ValueError:
    """Return what to raise for a file that cannot be read, or no further than this row."""
    if isinstance(error, FileNotFoundError):
        lost = "is a link to a file that is not there" if path.is_symlink() else "is not there any more"
        return ValueError(f"{path}: {lost}; get it again")
    where = "cannot be read as parquet" if row is None else f"torn after row {row}"
    return ValueError(f"{path}: {where}: {first_line(error)}")
