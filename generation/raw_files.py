"""The parquet files of a RAW_DATA: where they are, and what is said when one cannot be read. Knows no columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
from huggingface_hub import snapshot_download

from cluster.hub import asking_hub
from cluster.messages import first_line
from cluster.run_directory import RUN_FILE
from generation.dataset_card import HUB_ID
from generation.raw_data import RAW_DATA

CARD = "README.md"
_LONGEST_CARD = 100_000


def find_files(raw: str | Path) -> tuple[Path, ...]:
    """The parquet files of a RAW_DATA: the file itself, or those in its folder, in `data/`, or in a run's RAW_DATA."""
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
    patterns = ("data/*.parquet", "*.parquet", f"{RAW_DATA}/data/*.parquet")
    files = next((found for pattern in patterns if (found := sorted(path.glob(pattern)))), [])
    if not files and (path / RUN_FILE).exists():
        raise ValueError(f"{raw}: is a run that has made no {RAW_DATA} yet; let its command go on to the end")
    if not files:
        raise ValueError(f"{raw}: holds no parquet file; expected data/*.parquet or *.parquet")
    return tuple(files)


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
        where = "cannot be read as parquet" if row is None else f"torn after row {row()}"
        raise ValueError(f"{path}: {where}: {first_line(error)}") from error
