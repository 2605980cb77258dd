"""The names of our commands, how a command line asks for one, and what is said to whoever gives another.

Standard library only, for it is read where nothing may be installed.
"""

import importlib.util
import os
import re
import sys
from collections.abc import Sequence
from typing import NamedTuple

COMMANDS = ("generation.run", "reflection.run", "assembly.run", "cluster.slurm")
PACKAGES = {name.partition(".")[0] for name in COMMANDS}
_PYTHON = re.compile(r"python[0-9.]*")
_WITH_A_VALUE = {"-W", "-X", "--check-hash-based-pycs"}


class Asked(NamedTuple):
    """A module that a command line runs."""

    module: str
    flags: Sequence[str]


def is_python(word: str) -> bool:
    """Return True for the word that starts Python: python, python3.12, .venv/bin/python."""
    return _PYTHON.fullmatch(os.path.basename(word)) is not None


def asked_module(command: Sequence[str]) -> Asked | None:
    """Return what follows the first `python -m` in the command, wherever it stands, or None if there is none."""
    for place, word in enumerate(command):
        if is_python(word):
            rest = list(command[place + 1 :])
            while rest and rest[0].startswith("-") and not rest[0].startswith("-m"):
                del rest[: 2 if rest[0] in _WITH_A_VALUE else 1]
            if rest and rest[0].startswith("-m"):
                rest[:1] = [rest[0][2:]] if len(rest[0]) > 2 else []
                return Asked(rest[0] if rest else "", rest[1:])
    return None


def check_start() -> None:
    """Exit with 2 if `python -m` names a package that is no command, or runs in a Python without our dependencies.

    That is a shell without .venv. A trainer's environment lacks some too and needs none: it starts nothing by -m.
    """
    asked = asked_module(sys.orig_argv)
    if sys.argv[:1] != ["-m"] or asked is None:
        return
    if importlib.util.find_spec("fire") is None:
        remedy = "source .venv/bin/activate, which make setup makes"
        told = f"{sys.executable} has none of the packages that this needs: {remedy}"
    elif asked.module in PACKAGES:
        named = ", ".join(f"python -m {name}" for name in COMMANDS)
        told = f"python -m {asked.module} is no command: there are {named}; each has --help"
    else:
        return
    print(f"error: {told}", file=sys.stderr)
    raise SystemExit(2)
