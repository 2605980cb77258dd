"""Files and folders that appear whole or not at all, by being renamed into place; and the lock of one process."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

Fill = Callable[[Path], None]
TEMPORARY = ".tmp-"  # prefix of whatever is still being written
MADE_HERE = ".made-here"  # marks a folder made by replace_folder; from its second line on it lists the files made
_BYPRODUCTS = frozenset({"__pycache__", ".DS_Store"})  # left behind by programs that only read the folder


def atomic_write_text(path: Path, text: str, *, durable: bool = True) -> None:
    """Write the file so that a reader finds either the old text or the whole new one; if `durable`, a crash too."""
    with written_beside(path, durable=durable) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def written_beside(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path in the same folder, then rename it to `path`. If that fails, remove it."""
    temporary = path.with_name(f"{TEMPORARY}{path.name}")
    try:
        yield temporary
        if durable:
            sync(temporary)
        os.replace(temporary, path)
        if durable:
            sync(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def sync(path: Path) -> None:
    """Make the bytes of a file, or the names in a folder, survive a power failure."""
    with _opened(path) as descriptor:
        os.fsync(descriptor)


def make_folder(path: Path) -> list[Path]:
    """Make a folder and its parents; return the ones made, innermost first. On an OSError none of them stays."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError:
        _remove_empty(missing)
        raise
    return missing


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


def check_parent(path: Path) -> None:
    """Raise ValueError if no folder could be made at this path."""
    if not (parent := next(parent for parent in path.absolute().parents if parent.exists())).is_dir():
        raise ValueError(f"{path} cannot be made: {parent} is not a folder; give another folder")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise ValueError(f"{path} cannot be made: no permission in {parent}; give another folder")


def check_replaceable(destination: Path) -> None:
    """Raise ValueError if replace_folder would lose something that it did not make. Changes nothing."""
    if not destination.exists():
        check_parent(destination)
        return
    if not destination.is_dir():
        raise ValueError(f"{destination} is not a folder; give a new one")
    mark = destination / MADE_HERE
    if not mark.exists() and any(destination.iterdir()):
        raise ValueError(f"{destination} holds files that were not made here; give an empty folder or a new one")
    # The marks of earlier versions name no files.
    made = mark.read_text().splitlines()[1:] if mark.exists() else []
    foreign = sorted(_files(destination) - {MADE_HERE, *made}) if made else []
    if added := next((name for name in foreign if not _BYPRODUCTS & {*Path(name).parts}), None):
        raise ValueError(f"{destination} would be replaced, and holds {added}, which was put there; move it elsewhere")
    if not os.access(destination.parent, os.W_OK | os.X_OK):
        raise ValueError(f"{destination.parent} cannot be written: no permission; give another folder")


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def replace_folder(build: Fill, destination: Path) -> None:
    """Let `build` fill a folder beside the destination, then put it in the destination's place.

    The destination is always the earlier folder or the whole new one, except that a crash between the two renames
    leaves neither, and the next call first restores the earlier one. Raises ValueError as check_replaceable does, and
    while another process makes the same folder.
    """
    # A rename would replace a symbolic link, not the folder that it points to.
    destination = Path(os.path.realpath(destination))
    check_replaceable(destination)
    new, old = (destination.with_name(f"{prefix}{destination.name}") for prefix in (TEMPORARY, ".old-"))
    made = make_folder(new)
    with _opened(new) as descriptor:
        take_lock(descriptor, destination)
        # It may have been renamed into place between opening and locking.
        if not new.exists() or not os.path.samestat(new.stat(), os.fstat(descriptor)):
            raise ValueError(_busy(destination))
        if old.exists() and not destination.exists():
            old.rename(destination)
        _remove(old, *new.iterdir())
        try:
            build(new)
            names = ["Made by a program, which replaces this folder as a whole.", *sorted(_files(new))]
            (new / MADE_HERE).write_text("\n".join(names) + "\n")
            for path in (new, *new.rglob("*")):
                sync(path)
        except BaseException:
            _remove(new)
            _remove_empty(made)
            raise
        if destination.exists():
            destination.rename(old)
        new.rename(destination)
        sync(destination.parent)
        _remove(old)


def _remove(*paths: Path) -> None:
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def take_lock(descriptor: int, path: Path) -> None:
    """Lock an open file or folder until it is closed or we die. Raises ValueError, naming `path`, if it cannot be."""
    # filelock opens its file itself, so it cannot lock a folder that is renamed, as replace_folder must.
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ValueError(_busy(path)) from error
    except OSError as error:
        # Such as Lustre mounted without flock. POSIX locks would not help: NFS turns flock into those.
        problem = f"{path} is on a file system without locks ({error.strerror})"
        raise ValueError(f"{problem}; give a folder on another one") from error


def _busy(path: Path) -> str:
    return f"{path} is being written by another process; wait for its end"
