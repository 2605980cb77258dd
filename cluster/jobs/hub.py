"""The hub: whether it can be asked, what its refusals mean to a person, pushing a dataset folder.

The token is the hub client's own affair, and so is how bytes travel. Everything here may be done again:
a push that broke off goes on where it was, and what lies on the hub already is not sent twice.
"""

import contextlib
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from huggingface_hub import HfApi
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import disable_progress_bars, get_session, validate_repo_id

from cluster.errors import NotPushed
from cluster.jobs.atomic import MADE_HERE
from cluster.texts import bars, first_line

HUB_TIMEOUT_S = 10.0
COMMIT_TIMEOUT_S = 300.0
"""Until the hub answers anything while a folder is pushed; large commits take it a minute."""
WAITS_S = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Before each new try of what the hub cannot do just now."""
LONGEST_WAIT_S = 120.0
"""Where the hub itself says when to come again; later than this is given up."""
PATIENCE_S = 600.0
"""After so long no new try is made; the client may have tried many times within one of ours."""

_LONGEST = 160
"""Characters of what the hub says."""
_BUSY = frozenset({408, 429, 500, 502, 503, 504})
_Answer = TypeVar("_Answer")


class Pushed(NamedTuple):
    """A repository that holds what the folder holds."""

    url: str
    private: bool


def offline() -> bool:
    """Return whether HF_HUB_OFFLINE is set. Cached files are still used."""
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}


@contextlib.contextmanager
def asking_hub(wanted: str) -> Iterator[None]:
    """Turn whatever the hub client raises into a ValueError: `wanted` is not here, why, and what to do."""
    try:
        yield
    except Exception as error:
        # It raises a dozen kinds, some of them the HTTP library's own: each means that there is nothing.
        raise ValueError(f"{wanted} is not here, and {_refusal(error)}") from error


def _refusal(error: BaseException) -> str:
    said = first_line(error)[:_LONGEST]
    if isinstance(error, GatedRepoError):
        return "the hub keeps it behind terms: accept them on its page and log in with `hf auth login`"
    if isinstance(error, RepositoryNotFoundError):
        return "the hub has none of this name, or a private one: check the name, or log in with `hf auth login`"
    if isinstance(error, HfHubHTTPError | HFValidationError):
        return f"the hub says: {said}"
    if isinstance(error, LocalTokenNotFoundError):
        return "there is no token for the hub: log in with `hf auth login`, or set HF_TOKEN"
    if offline():
        return "HF_HUB_OFFLINE keeps us from the hub, and its cache on this machine does not hold it"
    return (
        f"the hub cannot be reached ({said}): give a local one, or set HF_HUB_OFFLINE=1 to take it from the cache"
        " of an earlier download"
    )


def check_push(namespace: str, names: Iterable[str], *, ask: bool = True) -> None:
    """Raise ValueError when the hub would not take repositories of these names, before any work is done for nothing.

    That needs a token that is accepted, may write, and belongs to the namespace or a member of it; unless `ask`,
    only the names are looked at, and nothing is asked of the hub.
    """
    if not re.fullmatch(r"[\w.-]+", namespace):
        raise ValueError(f"--push_to {namespace} is no namespace: give the name of a user or an organization alone")
    if ask and offline():
        raise ValueError(f"--push_to {namespace} needs the hub, and HF_HUB_OFFLINE keeps us from it: unset one")
    for name in names:
        try:
            validate_repo_id(f"{namespace}/{name}")
        except HFValidationError as error:
            raise ValueError(f"--push_to {namespace}: {first_line(error)[:_LONGEST]}") from error
    if not ask:
        return
    with asking_hub(f"--push_to {namespace}: a login"):
        told = _patiently(HfApi().whoami, waits=WAITS_S[:3], timeout=HUB_TIMEOUT_S)
    if told.get("auth", {}).get("accessToken", {}).get("role") == "read":
        raise ValueError(f"--push_to {namespace}: the token may only read; give one that may write")
    mine = [told["name"], *(organization["name"] for organization in told.get("orgs", ()))]
    if namespace.casefold() not in map(str.casefold, mine):
        raise ValueError(f"--push_to {namespace}: the token is not of that namespace, but of {', '.join(mine)}")


def push(folder: Path, repository: str, *, public: bool, tell: Callable[[str], None]) -> Pushed:
    """Make the dataset repository if it is not there, and let it hold what the folder holds.

    A new one is private unless `public`; of one that is there, `public` opens it and nothing closes it.
    Tells of each new try. Raises NotPushed.
    """
    hub = HfApi()
    if not bars():
        disable_progress_bars()
    patiently = partial(_patiently, waits=WAITS_S, timeout=COMMIT_TIMEOUT_S, tell=tell)
    try:
        patiently(hub.create_repo, repository, repo_type="dataset", private=not public, exist_ok=True)
        patiently(
            hub.upload_folder,
            folder_path=folder,
            repo_id=repository,
            repo_type="dataset",
            ignore_patterns=[MADE_HERE],
            # an earlier push may have had more files, and `datasets` would read those too
            delete_patterns=["*.parquet"],
        )
        private = bool(patiently(hub.dataset_info, repository).private)
        if public and private:
            patiently(hub.update_repo_settings, repository, repo_type="dataset", private=False)
    except Exception as error:
        # As in asking_hub: whatever it is, this folder is not there, and that is all that is lost.
        below = _answer_below(error)
        said, status = first_line(below)[:_LONGEST], _status(below)
        if status is None:
            why = f"the hub cannot be reached, or broke off ({type(below).__name__}: {said})"
        elif status in (401, 403):
            why = f"the hub does not take the token ({said}): log in with `hf auth login`, or set HF_TOKEN"
        else:
            why = f"the hub says: {said}"
        raise NotPushed(f"{repository}: {why}") from error
    return Pushed(f"{hub.endpoint}/datasets/{repository}", private and not public)


def _patiently(
    call: Callable[..., _Answer],
    *args: Any,
    waits: Sequence[float],
    timeout: float,
    tell: Callable[[str], None] = lambda _: None,
    **named: Any,
) -> _Answer:
    """Make a call that may be made again, which it is where the hub cannot answer just now.

    The client itself does that for some of its calls, not for whoami, create_repo and commits.
    """
    began = time.monotonic()
    for wait in (*waits, None):
        # by default it waits for ever; set each time, since it makes a new session after some failures
        get_session().timeout = timeout
        try:
            return call(*args, **named)
        except Exception as error:
            below = _answer_below(error)
            told = _told_wait(below)
            late = time.monotonic() - began > PATIENCE_S
            if wait is None or late or told is None or told > LONGEST_WAIT_S:
                raise
            seconds = max(wait, told)
            tell(f"once more in {seconds:.0f} s: {first_line(below)[:_LONGEST]}")
        time.sleep(seconds)
    raise AssertionError("the last try answers or raises")


def _answer_below(error: BaseException) -> BaseException:
    """Return what the hub answered, where that was wrapped; else the first cause of all."""
    while _status(error) is None and error.__cause__ is not None:
        error = error.__cause__
    return error


def _status(error: BaseException) -> int | None:
    return error.response.status_code if isinstance(error, HfHubHTTPError) and error.response is not None else None


def _told_wait(error: BaseException) -> float | None:
    """Return the seconds of a Retry-After, 0 without; None where the hub or its client said no."""
    if isinstance(error, HfHubHTTPError) and error.response is not None:
        told = error.response.headers.get("Retry-After", "0")
        return (float(told) if told.isdecimal() else 0.0) if error.response.status_code in _BUSY else None
    # A busy hub may answer in HTML where its client reads JSON before it looks at the status.
    busy = isinstance(error, json.JSONDecodeError)
    refused = isinstance(error, ValueError | LocalTokenNotFoundError | OfflineModeIsEnabled)
    return None if refused and not busy else 0.0
