"""Pushing a dataset folder to a hub namespace. The token is the hub client's own affair."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from cluster.atomic import MADE_HERE


def check_push(namespace: str) -> None:
    """Raise ValueError when the hub does not know us, before any work is done for nothing."""
    try:
        HfApi().whoami()
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise ValueError(f"--push_to {namespace}: the hub does not let us in: {reason}") from error


def push(folder: Path, repository: str) -> str:
    """Make the repository, private, if it is not there, and upload the folder; where it is now."""
    hub = HfApi()
    hub.create_repo(repository, repo_type="dataset", private=True, exist_ok=True)
    hub.upload_folder(folder_path=folder, repo_id=repository, repo_type="dataset", ignore_patterns=[MADE_HERE])
    return f"{hub.endpoint}/datasets/{repository}"
