"""The hub: whether it can be asked, its errors in plain words, and pushing a dataset folder, which may be repeated."""

import contextlib
import errno
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import HfApi, constants, errors
from huggingface_hub.utils import disable_progress_bars, get_session, validate_repo_id

from cluster.errors import NotPushed
from cluster.jobs.atomic import MADE_HERE
from cluster.texts import bars, first_line

HUB_TIMEOUT_S = 10.0
_COMMIT_TIMEOUT_S = 300.0  # until the hub answers anything during a push; a large commit takes it a minute
_WAITS_S = (1.0, 2.0, 4.0, 8.0, 16.0)  # before each retry when the hub is busy
_LONGEST_WAIT_S = 120.0  # if the hub asks for a longer wait, the call is given up
_PATIENCE_S = 600.0  # after this there are no retries; the client may have made many within one call
_LONGEST = 160  # characters shown of the hub's message
_BUSY = frozenset({408, 429, 500, 502, 503, 504})
T = TypeVar("T")
Tell = Callable[[str], None]


@contextlib.contextmanager
def asking_hub(wanted: str) -> Iterator[None]:
    """Turn any exception of the hub's client into a ValueError: `wanted` is not available, why, and what to do."""
    try:
        yield
    except Exception as error:
        # It raises a dozen types, some of them the HTTP library's: each means that we got nothing.
        raise ValueError(f"{wanted} is not here, and {_refusal(error)}") from error


def _refusal(error: BaseException) -> str:
    match error:
        case errors.GatedRepoError():
            return "the hub keeps it behind terms: accept them on its page and log in with `hf auth login`"
        case errors.RepositoryNotFoundError():
            return "the hub has none of this name, or a private one: check the name, or log in with `hf auth login`"
        case errors.HfHubHTTPError() | errors.HFValidationError():
            return f"the hub says: {_said(error)}"
        case errors.LocalTokenNotFoundError():
            return "there is no token for the hub: log in with `hf auth login`, or set HF_TOKEN"
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return f"there is no room: make some in {constants.HF_HUB_CACHE}, or set HF_HOME to a folder elsewhere"
        case OSError(errno=errno.EACCES | errno.EPERM | errno.EROFS):
            return f"{constants.HF_HUB_CACHE} cannot be written ({_said(error)}): set HF_HOME to a folder that can"
    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE keeps us from the hub, and its cache on this machine does not hold it"
    remedy = "give a local one, or set HF_HUB_OFFLINE=1 to take it from the cache of an earlier download"
    return f"the hub cannot be reached ({_said(error)}): {remedy}"


def _said(error: BaseException) -> str:
    return first_line(error)[:_LONGEST]


def check_push(namespace: str, names: Iterable[str], *, ask: bool = True) -> None:
    """Raise ValueError if the hub would reject the repositories or the token. Unless `ask`, only check the names."""
    flag = f"--push_to {namespace}"
    if not re.fullmatch(r"[\w.-]+", namespace):
        raise ValueError(f"{flag} is no namespace: give the name of a user or an organization alone")
    if ask and constants.HF_HUB_OFFLINE:
        raise ValueError(f"{flag} needs the hub, and HF_HUB_OFFLINE keeps us from it: unset one")
    for name in names:
        try:
            validate_repo_id(f"{namespace}/{name}")
        except errors.HFValidationError as error:
            raise ValueError(f"{flag}: {_said(error)}") from error
    if not ask:
        return
    with asking_hub(f"{flag}: a login"):
        user = _retrying(HfApi().whoami, waits=_WAITS_S[:3], timeout=HUB_TIMEOUT_S)
    if user.get("auth", {}).get("accessToken", {}).get("role") == "read":
        raise ValueError(f"{flag}: the token may only read; give one that may write")
    mine = [user["name"], *(organization["name"] for organization in user.get("orgs", ()))]
    if namespace.casefold() not in map(str.casefold, mine):
        raise ValueError(f"{flag}: the token is not of that namespace, but of {', '.join(mine)}")


def push(folder: Path, repository: str, *, public: bool, tell: Tell) -> str:
    """Upload the folder, creating the repository if necessary; return its URL and visibility. Raises NotPushed.

    A new one is private unless `public`; an existing one may be made public, never private. `tell` is told of retries.
    """
    hub = HfApi()
    if not bars():
        disable_progress_bars()
    retrying = partial(_retrying, waits=_WAITS_S, timeout=_COMMIT_TIMEOUT_S, tell=tell)
    try:
        retrying(hub.create_repo, repository, repo_type="dataset", private=not public, exist_ok=True)
        retrying(
            hub.upload_folder,
            folder_path=folder,
            repo_id=repository,
            repo_type="dataset",
            ignore_patterns=[MADE_HERE],
            # An earlier push may have had more files, and `datasets` would read those too.
            delete_patterns=["*.parquet"],
        )
        private = bool(retrying(hub.dataset_info, repository).private)
        if public and private:
            retrying(hub.update_repo_settings, repository, repo_type="dataset", private=False)
    except Exception as error:
        # As in asking_hub: whatever it is, this push has failed, and nothing else is lost.
        below, response = _unwrapped(error)
        if response is None:
            why = f"the hub cannot be reached, or broke off ({type(below).__name__}: {_said(below)})"
        elif response.status_code in (401, 403):
            why = f"the hub does not take the token ({_said(below)}): log in with `hf auth login`, or set HF_TOKEN"
        else:
            why = f"the hub says: {_said(below)}"
        raise NotPushed(f"{repository}: {why}") from error
    return f"{hub.endpoint}/datasets/{repository}, {'private' if private and not public else 'public'}"


def _retrying(
    call: Callable[..., T], *args: Any, waits: Sequence[float], timeout: float, tell: Tell = lambda _: None, **more: Any
) -> T:
    """Call the hub's client, retrying while the hub is busy, which the client itself does only for some calls."""
    began = time.monotonic()
    for wait in (*waits, None):
        # There is none by default; set each time, since the client makes a new session after some failures.
        get_session().timeout = timeout
        try:
            return call(*args, **more)
        except Exception as error:
            below, response = _unwrapped(error)
            asked = _retry_after(below, response)
            if wait is None or asked is None or asked > _LONGEST_WAIT_S or time.monotonic() - began > _PATIENCE_S:
                raise
            seconds = max(wait, asked)
            tell(f"once more in {seconds:.0f} s: {_said(below)}")
        time.sleep(seconds)
    raise AssertionError("the last try answers or raises")


def _unwrapped(error: BaseException) -> tuple[BaseException, Any]:
    """Return the error that has the hub's response, and that response; if none has, the root cause and None."""
    while not (isinstance(error, errors.HfHubHTTPError) and error.response is not None):
        if error.__cause__ is None:
            return error, None
        error = error.__cause__
    return error, error.response


def _retry_after(error: BaseException, response: Any) -> float | None:
    """Return the seconds of a Retry-After, 0 without one; None if the hub or its client refused the call."""
    if response is not None:
        seconds = response.headers.get("Retry-After", "0")
        return (float(seconds) if seconds.isdecimal() else 0.0) if response.status_code in _BUSY else None
    # A busy hub may answer in HTML, and its client reads JSON before it looks at the status.
    refused = isinstance(error, ValueError | errors.LocalTokenNotFoundError | errors.OfflineModeIsEnabled)
    return None if refused and not isinstance(error, json.JSONDecodeError) else 0.0
