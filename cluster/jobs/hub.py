"""The hub: whether it can be asked, what its refusals mean to a person, pushing a dataset folder.

The token is the hub client's own affair, and so is how bytes travel. Everything here may be done again:
a push that broke off goes on where it was, and what lies on the hub already is not sent twice.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
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

from cluster.console import bars
from cluster.jobs.atomic import MADE_HERE
from cluster.messages import first_line

HUB_TIMEOUT_S = 10.0
COMMIT_TIMEOUT_S = 300.0
"""Until the hub answers anything while a folder is pushed; large commits take it a minute."""
WAITS_S = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Before each new try of what the hub cannot do just now."""
LONGEST_WAIT_S = 120.0
"""Where the hub itself says when to come again; later than this is given up."""
PATIENCE_S = 600.0
"""After so long no new try is made; the client may have tried many times within one of ours."""

_BUSY = frozenset({408, 429, 500, 502, 503, 504})
_Answer = TypeVar("_Answer")


class NotPushed(Exception):
    """A folder did not reach the hub, in words for a person; the folder itself is untouched."""


class Pushed(NamedTuple):
    """A repository that holds what the folder holds."""

    url: str
    private: bool


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


def _refusal(error: BaseException) -> str:
    if isinstance(error, GatedRepoError):
        return "the hub keeps it behind terms: accept them on its page and log in with `hf auth login`"
    if isinstance(error, RepositoryNotFoundError):
        return "the hub has none of this name, or a private one: check the name, or log in with `hf auth login`"
    if isinstance(error, HfHubHTTPError | HFValidationError):
        return f"the hub says: {_first_line(error)}"
    if isinstance(error, LocalTokenNotFoundError):
        return "there is no token for the hub: log in with `hf auth login`, or set HF_TOKEN"
    if offline():
        return "HF_HUB_OFFLINE keeps us from the hub, and its cache on this machine does not hold it"
    return (
        f"the hub cannot be reached ({_first_line(error)}): give a local one, or set HF_HUB_OFFLINE=1 to take it from"
        " the cache of an earlier download"
    )


def _first_line(error: BaseException) -> str:
    return first_line(error)[:160]


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
            raise ValueError(f"--push_to {namespace}: {_first_line(error)}") from error
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

    def patiently(call: Callable[..., _Answer], *args: Any, **named: Any) -> _Answer:
        return _patiently(lambda: call(*args, **named), waits=WAITS_S, timeout=COMMIT_TIMEOUT_S, tell=tell)

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
        raise NotPushed(f"{repository}: {_push_refusal(_answer_below(error))}") from error
    return Pushed(f"{hub.endpoint}/datasets/{repository}", private and not public)


def _push_refusal(error: BaseException) -> str:
    status = _status(error)
    if status in (401, 403):
        return f"the hub does not take the token ({_first_line(error)}): log in with `hf auth login`, or set HF_TOKEN"
    if status is not None:
        return f"the hub says: {_first_line(error)}"
    return f"the hub cannot be reached, or broke off ({type(error).__name__}: {_first_line(error)})"


def _patiently(
    call: Callable[[], _Answer],
    *,
    waits: Sequence[float],
    timeout: float,
    tell: Callable[[str], None] = lambda _: None,
) -> _Answer:
    """The answer of a call that may be made again, which it is where the hub cannot answer just now.

    The client itself does that for some of its calls, not for whoami, create_repo and commits.
    """
    began = time.monotonic()
    for wait in (*waits, None):
        # by default it waits for ever; set each time, since it makes a new session after some failures
        get_session().timeout = timeout
        try:
            return call()
        except Exception as error:
            below = _answer_below(error)
            told = _told_wait(below)
            late = time.monotonic() - began > PATIENCE_S
            if wait is None or late or told > LONGEST_WAIT_S or not _may_pass(below):
                raise
            seconds = max(wait, told)
            tell(f"once more in {seconds:.0f} s: {_first_line(below)}")
        time.sleep(seconds)
    raise AssertionError("the last try answers or raises")


def _answer_below(error: BaseException) -> BaseException:
    """What the hub answered, where that was wrapped; else the first cause of all."""
    while _status(error) is None and error.__cause__ is not None:
        error = error.__cause__
    return error


def _status(error: BaseException) -> int | None:
    return error.response.status_code if isinstance(error, HfHubHTTPError) and error.response is not None else None


def _told_wait(error: BaseException) -> float:
    """Seconds of a Retry-After, 0 without."""
    told = error.response.headers.get("Retry-After", "") if isinstance(error, HfHubHTTPError) else ""
    return float(told) if told.isdecimal() else 0.0


def _may_pass(error: BaseException) -> bool:
    """Whether to try again: not where the hub or its client said no."""
    status = _status(error)
    if status is not None:
        return status in _BUSY
    # A busy hub may answer in HTML where its client reads JSON before it looks at the status.
    if isinstance(error, json.JSONDecodeError):
        return True
    return not isinstance(error, ValueError | LocalTokenNotFoundError | OfflineModeIsEnabled)
