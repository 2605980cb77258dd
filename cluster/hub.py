"""The hub: whether it can be asked, what its refusals mean to a person, pushing a dataset folder.

The token is the hub client's own affair.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, HFValidationError, RepositoryNotFoundError

from cluster.atomic import MADE_HERE

HUB_TIMEOUT_S = 10.0


def offline() -> bool:
    """Whether the user keeps us from the hub; what its client has in its cache still counts."""
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}


@contextlib.contextmanager
def asking_hub(wanted: str) -> Iterator[None]:
    """Turn whatever the hub client raises into a ValueError: `wanted` is not here, why, and what to do."""
    try:
        yield
    except Exception as error:
        # It raises a dozen kinds, some of them the HTTP library's own: each means that there is nothing.
        raise ValueError(f"{wanted} is not here, and {_refusal(error)}") from error


def _refusal(error: Exception) -> str:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
    if isinstance(error, GatedRepoError):
        return "the hub keeps it behind terms: accept them on its page and log in with `hf auth login`"
    if isinstance(error, RepositoryNotFoundError):
        return "the hub has none of this name, or a private one: check the name, or log in with `hf auth login`"
    if isinstance(error, HfHubHTTPError | HFValidationError):
        return f"the hub says: {reason}"
    if offline():
        return "HF_HUB_OFFLINE keeps us from the hub, and its cache on this machine does not hold it"
    return (
        f"the hub cannot be reached ({reason}): give a local one, or set HF_HUB_OFFLINE=1 to take it from"
        " the cache of an earlier download"
    )


def check_push(namespace: str) -> None:
    """Raise ValueError when the hub does not let us in, before any work is done for nothing."""
    if offline():
        raise ValueError(f"--push_to {namespace} needs the hub, and HF_HUB_OFFLINE keeps us from it: unset one")
    with asking_hub(f"--push_to {namespace}: a login"):
        HfApi().whoami()


def push(folder: Path, repository: str) -> str:
    """Make the repository, private, if it is not there, and upload the folder; where it is now."""
    hub = HfApi()
    hub.create_repo(repository, repo_type="dataset", private=True, exist_ok=True)
    hub.upload_folder(folder_path=folder, repo_id=repository, repo_type="dataset", ignore_patterns=[MADE_HERE])
    return f"{hub.endpoint}/datasets/{repository}"
