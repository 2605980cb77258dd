"""What README.md and docs/ tell a reader to type, and a new shell in a working copy to type it in."""

from __future__ import annotations

import configparser
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
NO_COMMANDS = ("model", "expected", "<think>", "scrape_configs:", "[variants.short]", "[plainly]", "variants")
"""How the fenced blocks begin that show what is printed, not what is typed."""
_FENCE = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`((?:[A-Z]+=\S+ )*(?:make|source|python|pip|hf|ray|bash|llamafactory-cli|swift|sbatch) [^`]+)`")
_NOT_COPIED = {".git", "runs", "build"}


def commands(text: str) -> list[str]:
    """Every command of the text, once, in order: the lines of its fenced blocks, and those in its prose."""
    found = []
    for block in _FENCE.findall(text):
        if not block.split()[0].startswith(NO_COMMANDS):
            found += [line.partition("  #")[0].strip() for line in block.replace("\\\n", "").splitlines()]
            found = [re.sub(r"  +", " ", line) for line in found if line]
    found += [" ".join(one.split()) for one in _INLINE.findall(_FENCE.sub("", text))]
    return list(dict.fromkeys(found))


_OF_MAKE = frozenset({"MAKEFLAGS", "MAKELEVEL", "MFLAGS"})


def working_copy(folder: Path) -> Path:
    """A checkout after `make run`: this one's files, its environment in .venv, and nothing that a run left."""
    folder.mkdir()
    for path in ROOT.iterdir():
        if path.name not in _NOT_COPIED and not path.name.startswith(".venv"):
            (folder / path.name).symlink_to(path)
    environment = folder / ".venv"
    environment.mkdir()
    for path in Path(sys.prefix).iterdir():
        (environment / path.name).symlink_to(path)
    for stamp in ("ready-cpu", "dev-cpu"):  # newer than what they were made from
        (environment / stamp).unlink(missing_ok=True)
        (environment / stamp).touch()
    return folder


def typed(command: str, folder: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """The command in a new shell, after the line that the README gives for it.

    The shell knows nothing of a make that runs these tests.
    """
    environment = {name: value for name, value in environment.items() if name not in _OF_MAKE}
    return subprocess.run(
        ["bash", "-c", f"source .venv/bin/activate && {command}"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


class Reader(NamedTuple):
    """Somebody who reads the README, has a working copy, and reaches a hub."""

    folder: Path
    environment: dict[str, str]

    def types(self, command: str) -> str:
        """What the command prints when it ends well."""
        ended = typed(command, self.folder, self.environment)
        assert ended.returncode == 0, f"{command}\n{ended.stdout}{ended.stderr}"
        return ended.stdout


def can_be_installed(reader: Reader, command: str) -> None:
    """The project from its own folder, with extras that it has; or the name of somebody else's package."""
    declared = configparser.ConfigParser()
    declared.read(ROOT / "setup.cfg", encoding="utf-8")
    for word in shlex.split(command)[2:]:
        if word.startswith("."):
            assert set(re.findall(r"[\w-]+", word[1:])) <= set(declared["options.extras_require"])
        elif not word.startswith("-"):
            assert Requirement(word).name == "ray", "a package that is on no index"
