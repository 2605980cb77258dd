"""Paths as people type them: `~` is expanded, and what would lead to another place than the one meant is refused.

All paths are of this machine. Knows no flag and no command.
"""

import errno
import os
import re
import unicodedata
from functools import partial
from pathlib import Path

_ELSEWHERE = re.compile(r"[\w+.@-]+:/")
# What `datasets` (5.2.0) does not take literally in the path of a folder: see tests/test_paths.py.
_READ_OTHERWISE = dict.fromkeys("*?[]", "a pattern") | {"$": "a variable", "::": "a chain of URLs"}


def anywhere(text: str) -> str:
    """Return a text that may begin with a path, such as an image or FROM:TO of a mount, with `~` expanded.

    Raises ValueError if no path here may hold it.
    """
    kinds = set(map(unicodedata.category, text))
    if not text.strip():
        raise ValueError(f"{text!r} is blank: give a path")
    if kinds & {"Cc", "Zl", "Zp"}:
        raise ValueError(f"{text!r} holds a control character: rename it, or leave that out")
    if "Cs" in kinds:
        raise ValueError(f"{text!r} is no UTF-8: rename it")
    path = os.path.expanduser(text)
    if path.startswith("~"):
        raise ValueError(f"{text!r}: {path.partition('/')[0]} is nobody's home here; give the whole path, or ./{text}")
    try:
        os.stat(path)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ValueError(f"{text!r} leads in a circle of links: give the path that is meant") from error
    return path


def local(text: str, remedy: str = "give a path here, and copy what is there to it first") -> str:
    """Return the path with `~` expanded. Raises ValueError for a URL, and for a text that no path here may hold."""
    if _ELSEWHERE.match(text):
        raise ValueError(f"{text!r} is no place on this machine: {remedy}")
    return anywhere(text)


folder = partial(local, remedy="give a folder here, and copy it there afterwards")
"""Read the path of a folder to make."""
local_or_name = partial(local, remedy="give a path here, or owner/name of the hub")
"""Read a path, or a name of the hub such as owner/name, which stays as it is."""


def dataset_folder(text: str) -> str:
    """Read the path of a folder to make datasets in. Raises ValueError also if `datasets` would not find it again."""
    path = folder(text)
    check_dataset_folder(path)
    return path


def check_dataset_folder(path: str | Path) -> None:
    """Raise ValueError if a sign in the absolute path makes `datasets` read another folder, or none."""
    whole = os.path.abspath(path)
    for sign, meaning in _READ_OTHERWISE.items():
        if sign in whole:
            held = "" if sign in str(path) else f", which lies in {os.path.dirname(whole)!r},"
            taken = f"{sign!r}, which `datasets` takes for {meaning} when it reads the folder"
            raise ValueError(f"{str(path)!r}{held} holds {taken}: give an --out without it")


def each_part(text: str) -> str:
    """Return a comma list, such as gsm8k:9,~/my_task.py:9, with the `~` of each part expanded. Raises ValueError."""
    return ",".join(local(part.strip()) if part.strip() else part for part in text.split(","))
