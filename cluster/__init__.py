"""Inference, clusters, run directories, command lines. Standard library only: every command imports this first."""

import importlib.util
import os
import re
import sys
from collections.abc import Sequence

COMMANDS = (
    "generation.run",
    "generation.evaluate",
    "generation.regrade",
    "reflection.run",
    "assembly.run",
    "assembly.check",
    "cluster.slurm",
    "cluster.status",
)
PACKAGES = {name.partition(".")[0] for name in COMMANDS}
PYTHON = re.compile(r"(.*/)?python[0-9.]*", re.DOTALL)  # such as python, python3.12 or .venv/bin/python
_OPTIONS_WITH_VALUE = {"-W", "-X", "--check-hash-based-pycs"}
QUIET = {  # environment that turns off the telemetry of Ray, vLLM and the hub client
    # An immediate stop abandons actor calls, and Ray would print a traceback for each.
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


def python_module(command: Sequence[str]) -> list[str]:
    """Return the module and arguments after the first `python -m` of the command, an empty list if there is none."""
    for place, word in enumerate(command):
        if PYTHON.fullmatch(word):
            rest = list(command[place + 1 :])
            while rest and rest[0].startswith("-") and not rest[0].startswith("-m"):
                del rest[: 2 if rest[0] in _OPTIONS_WITH_VALUE else 1]
            if rest and rest[0].startswith("-m"):
                return rest[1:] if rest[0] == "-m" else [rest[0][2:], *rest[1:]]
    return []


def check_start() -> None:
    """Exit with 2 if `python -m` names a package, not a command, or our dependencies are not installed."""
    if sys.argv[:1] != ["-m"] or not (asked := python_module(sys.orig_argv)):
        return
    if importlib.util.find_spec("fire") is None:
        remedy = "source .venv/bin/activate, which make setup makes"
        problem = f"{sys.executable} has none of the packages that this needs: {remedy}"
    elif asked[0] in PACKAGES:
        named = ", ".join(f"python -m {name}" for name in COMMANDS)
        problem = f"python -m {asked[0]} is no command: there are {named}; each has --help"
    else:
        return
    print(f"error: {problem}", file=sys.stderr)
    raise SystemExit(2)


# On import, because the libraries read it on theirs.
os.environ.update(QUIET)

check_start()
