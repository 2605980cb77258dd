"""The flags of a server instead of engines: what does not go with them, what is a URL, and where the key is."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields
from typing import Any
from urllib.parse import urlsplit

_OF_ENGINES = {
    "engines",
    "tensor_parallel",
    "address",
    "engine_args",
    "adapter",
    "revision",
    "chat_template",
    "run_model_code",
}
_OF_SERVERS = {"api_key_env", "concurrency"}
_KEY = re.compile("[!-~]+")  # what an HTTP header can carry


def check_server_flags(settings: Any) -> None:
    """Raise ValueError for flags that do not go with --server, for what is no URL, and for a key that is not there."""
    given = [one.name for one in fields(settings) if getattr(settings, one.name) != one.default]
    if not settings.server:
        if of_servers := [name for name in given if name in _OF_SERVERS]:
            raise ValueError(f"--{of_servers[0]} is for a server: give --server URL, or leave it out")
        return
    server_urls(settings.server)
    if of_engines := [f"--{name}" for name in given if name in _OF_ENGINES]:
        raise ValueError(f"{of_engines[0]} is for engines started here: leave it out with --server")
    if settings.api_key_env is not None and not _KEY.fullmatch(os.environ.get(settings.api_key_env, "")):
        # Not by its name, which may be the key itself, given by mistake.
        raise ValueError("--api_key_env names no environment variable that holds a key: set it, and give its name")


def server_urls(given: Sequence[str]) -> tuple[str, ...]:
    """Return the URLs as requests take them, with /v1 where no path is given. Raises ValueError for what is no URL."""
    urls = []
    for text in given:
        parts, is_url = urlsplit(""), False
        with suppress(ValueError):
            parts = urlsplit(text)
            is_url = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        if not is_url or re.search(r"\s", text):
            raise ValueError(f"--server {text!r} is no URL of a server: give one such as http://localhost:8000/v1")
        if parts.username is not None or parts.query or parts.fragment:
            told = "give it without, and a key by --api_key_env"
            raise ValueError(f"--server {parts.scheme}://{parts.hostname} has a login, a query or a fragment: {told}")
        urls.append(f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/') or '/v1'}")
    if twice := [url for url, times in Counter(urls).items() if times > 1]:
        raise ValueError(f"--server names {twice[0]} twice: give it once, with a larger --concurrency")
    return tuple(urls)
