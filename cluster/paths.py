"""Local paths as users type them: `~` is expanded, and what would lead elsewhere than intended is refused."""

import errno
import os
import re
import unicodedata
from functools import partial
from pathlib import Path

_ELSEWHERE = re.compile(r"[\w+.@-]+:/")
# What `datasets` (5.2.0) does not take literally in a folder's path; see tests/test_paths.py.
_READ_OTHERWISE = dict.fromkeys("*?[]", "a pattern") | {"$": "a variable", "::": "a chain of URLs"}


def expanded(text: str) -> str:
    """Expand the `~` of a text that may begin with a path, such as FROM:TO. Raises ValueError if that is impossible."""
    kinds = set(map(unicodedata.category, text))
    if not text.strip():
        raise ValueError(f"{text!r} is blank: give a path")
    if kinds & {"Cc", "Zl", "Zp"}:
        raise ValueError(f"{text!r} holds a control character: rename it, or leave that out")
    if "Cs" in kinds:
        raise ValueError(f"{text!r} is no UTF-8: rename it")
    if (path := os.path.expanduser(text)).startswith("~"):
        raise ValueError(f"{text!r}: {path.partition('/')[0]} is nobody's home here; give the whole path, or ./{text}")
    try:
        os.stat(path)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ValueError(f"{text!r} leads in a circle of links: give the path that is meant") from error
    return path


def local(text: str, remedy: str = "give a path here, and copy what is there to it first") -> str:
    """Return the path with `~` expanded. Raises ValueError for a URL, and for what cannot be a path on this machine."""
    if _ELSEWHERE.match(text):
        raise ValueError(f"{text!r} is no place on this machine: {remedy}")
    return expanded(text)


folder = partial(local, remedy="give a folder here, and copy it there afterwards")
"""Parse the path of a folder to create."""
local_or_name = partial(local, remedy="give a path here, or owner/name of the hub")
"""Parse a path, or a hub name such as owner/name, which stays as it is."""


def check_file(name: str, path: Path) -> None:
    """Raise ValueError, naming the flag, if no file can be written to this path."""
    parent = path.absolute().parent
    # A device, such as /dev/null, would be replaced by the file.
    if not os.access(parent, os.W_OK) or not parent.is_dir() or (path.exists() and not path.is_file()):
        raise ValueError(f"{name} {path} cannot be written: give a file in a folder that is there")


def dataset_folder(text: str) -> str:
    """Parse the path of a folder to create datasets in. Raises ValueError also as check_dataset_folder does."""
    path = folder(text)
    check_dataset_folder(path)
    return path


def check_dataset_folder(path: str | Path) -> None:
    """Raise ValueError if a character of the absolute path makes `datasets` read another folder, or none."""
    whole = os.path.abspath(path)
    for sign, meaning in _READ_OTHERWISE.items():
        if sign in whole:
            held = "" if sign in str(path) else f", which lies in {os.path.dirname(whole)!r},"
            taken = f"{sign!r}, which `datasets` takes for {meaning} when it reads the folder"
            raise ValueError(f"{str(path)!r}{held} holds {taken}: give an --out without it")


def each_part(text: str) -> str:
    """Expand the `~` of each part of a comma-separated list, such as gsm8k:9,~/my_task.py:9. Raises ValueError."""
    return ",".join(local(part.strip()) if part.strip() else part for part in text.split(","))
