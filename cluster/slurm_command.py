"""The command that a job is to run: where it is one of ours, wrong flags are found before anything is queued.

Other commands pass as they are.
"""

from __future__ import annotations

import importlib.util
import os
import pkgutil
import re
from collections.abc import Sequence
from typing import NamedTuple

from cluster.commands import COMMANDS, nearest

_ON_A_CLUSTER = {
    "generation.run": "assembly.launched:check_generation",
    "reflection.run": "assembly.launched:check_reflection",
}
"""Commands that take the cluster of the job, and what judges their flags; by name, as the ranks lead the other way."""
_PACKAGES = {name.partition(".")[0] for name in COMMANDS}
_PYTHON = re.compile(r"python[0-9.]*")
_WITH_A_VALUE = {"-W", "-X", "--check-hash-based-pycs"}


class _Asked(NamedTuple):
    module: str
    flags: Sequence[str]


def check_command(command: Sequence[str]) -> None:
    """Raise ValueError for a command that is nearly one of ours, SystemExit 2 for flags that it does not take."""
    for place, word in enumerate(command):
        if word in COMMANDS and (place == 0 or _is_python(command[place - 1])):
            raise ValueError(f"the command {word} is a module: write python -m {word}")
    asked = _module(command)
    if asked is None:
        return
    module, flags = asked
    if module in _ON_A_CLUSTER:
        pkgutil.resolve_name(_ON_A_CLUSTER[module])(flags)
    elif module in COMMANDS:
        raise ValueError(f"{module} needs no Ray cluster: run it as it is, or by sbatch --wrap")
    elif module.partition(".")[0] in _PACKAGES or _mistyped(module):
        near = nearest(module)
        hint = f"did you mean {near}?" if near else f"it can run {' and '.join(_ON_A_CLUSTER)}"
        raise ValueError(f"the command's module {module!r} is none that a job can run; {hint}")


def _module(command: Sequence[str]) -> _Asked | None:
    """What follows the first `python -m`, wherever it stands; None where there is none."""
    words = list(command)
    for place, word in enumerate(words):
        if _is_python(word):
            rest = words[place + 1 :]
            while rest and rest[0].startswith("-") and not rest[0].startswith("-m"):
                del rest[: 2 if rest[0] in _WITH_A_VALUE else 1]
            if rest and rest[0].startswith("-m"):
                rest[:1] = [rest[0][2:]] if len(rest[0]) > 2 else []
                return _Asked(rest[0] if rest else "", rest[1:])
    return None


def _is_python(word: str) -> bool:
    return _PYTHON.fullmatch(os.path.basename(word)) is not None


def _mistyped(module: str) -> bool:
    """Whether it is near a command of ours and not there."""
    top = module.partition(".")[0]
    return nearest(module) is not None and top.isidentifier() and importlib.util.find_spec(top) is None
