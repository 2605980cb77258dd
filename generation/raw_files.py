"""The parquet files of a RAW_DATA: where they are. Knows no columns."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import snapshot_download

from cluster.hub import asking_hub
from generation.dataset_card import HUB_ID


def find_files(raw: str | Path) -> tuple[Path, ...]:
    """The parquet files of a RAW_DATA: the file itself, or those in its folder or `data/`."""
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
    files = sorted(path.glob("data/*.parquet")) or sorted(path.glob("*.parquet"))
    if not files:
        raise ValueError(f"{raw}: holds no parquet file; expected data/*.parquet or *.parquet")
    return tuple(files)


def _download(repository: str) -> Path:
    """The repository's parquet files, in the hub's own cache."""
    with asking_hub(f"{repository}: a file or folder of this name"):
        return Path(snapshot_download(repository, repo_type="dataset", allow_patterns=["data/*.parquet", "*.parquet"]))
