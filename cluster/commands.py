"""The names of our commands, and what is said to whoever gives another."""

from __future__ import annotations

import difflib
import importlib.util
import sys
from typing import NoReturn

COMMANDS = ("generation.run", "reflection.run", "assembly.run", "cluster.slurm")


def nearest(module: str) -> str | None:
    """Return the command whose name is nearest to `module`, or None if none is near."""
    return next(iter(difflib.get_close_matches(module, COMMANDS, n=1, cutoff=0.85)), None)


def need_environment() -> None:
    """Exit with 2 if `python -m` runs in a Python that has none of our dependencies: a shell without .venv.

    A trainer's environment has not all of them and needs none: it imports, and starts nothing by -m.
    """
    if sys.argv[:1] == ["-m"] and importlib.util.find_spec("fire") is None:
        told = "source .venv/bin/activate, which make setup makes"
        _end(f"{sys.executable} has none of the packages that this needs: {told}")


def no_command(package: str) -> NoReturn:
    """End `python -m PACKAGE`: one line on stderr that names the commands, exit code 2."""
    named = ", ".join(f"python -m {name}" for name in COMMANDS)
    _end(f"python -m {package} is no command: there are {named}; each has --help")


def _end(message: str) -> NoReturn:
    """End as `cluster.flags.fail` does, without fire, which may be missing here."""
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(2)
