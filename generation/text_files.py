"""The user's own prompts and phrases: a folder of TOML files, each in place of ours of the same name."""

from importlib import resources
from pathlib import Path
from typing import Protocol

from cluster.flags import fail
from cluster.jobs.atomic import make_folder
from cluster.texts import nearest
from generation.records import stable_hash
from generation.tasks.registry import listing


class Asking(Protocol):
    """Settings that may ask for something else than work."""

    @property
    def list_tasks(self) -> bool: ...
    @property
    def write_prompts(self) -> str | None: ...


FILES = {
    "variants.toml": "generation",
    "reflections.toml": "reflection",
    "phrases.toml": "assembly",
    "formats.toml": "assembly",
}
"""By name the package that ours lies in."""
PROMPTS_HELP = f"a folder with your own {', '.join(FILES)}, each in place of ours: docs/prompts.md"
WRITE_HELP = "write our prompts, phrases and formats to this folder, to begin your own with, and stop"


def check_prompts(folder: str | Path | None) -> Path | None:
    """Return the folder of --prompts. Raises ValueError unless it has one of FILES, and no other TOML file."""
    if folder is None:
        return None
    path = Path(folder)
    try:
        names = sorted(one.name for one in path.iterdir())
    except OSError as error:
        raise ValueError(f"--prompts {path} is no folder that can be read: {error.strerror}") from error
    for name in names:
        if name.endswith(".toml") and name not in FILES:
            meant = "".join(f"; did you mean {one}?" for one in nearest(name, FILES))
            raise ValueError(f"--prompts {path}: {name} is none of {', '.join(FILES)}{meant}")
    if not any(name in FILES for name in names):
        told = f"--prompts {path} holds none of {', '.join(FILES)}"
        raise ValueError(f"{told}; --write_prompts writes ours to begin with")
    return path


def write_prompts(folder: str | Path) -> str:
    """Write all of ours into a folder, and say so. Raises ValueError if one of them is there, or cannot be written."""
    path = Path(folder)
    try:
        if there := [name for name in FILES if (path / name).exists()]:
            raise ValueError(f"--write_prompts {path}: {there[0]} is there already; give another folder")
        make_folder(path)
        for name, package in FILES.items():
            (path / name).write_bytes(resources.files(package).joinpath(name).read_bytes())
    except OSError as error:
        raise ValueError(f"--write_prompts {path} cannot be written: {error.strerror}") from error
    return f"{', '.join(FILES)} are in {path}: edit them, delete those that you leave as they are, and give --prompts"


def at_once(settings: Asking) -> str:
    """Return what a command prints in place of any work: --list_tasks or --write_prompts; "" for none of them.

    Raises SystemExit(2), after one line, if the prompts cannot be written.
    """
    if settings.list_tasks:
        return listing()
    try:
        return write_prompts(settings.write_prompts) if settings.write_prompts else ""
    except ValueError as error:
        fail(str(error))


def files_hash(folder: str | Path) -> str:
    """Return the first 16 hex digits of a hash of the folder's files, by their bytes."""
    there = [(name, (Path(folder) / name)) for name in FILES if (Path(folder) / name).exists()]
    return stable_hash(*(part for name, path in there for part in (name, path.read_bytes())))[:16]
