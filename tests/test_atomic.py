"""Files and folders appear whole or not at all, whenever the writer dies."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.jobs.atomic import MADE_HERE, TEMPORARY, atomic_write_text, check_replaceable, replace_folder
from cluster.jobs.run_directory import hold_run
from tests.killed import run_killed_at_rename

WRITE_TEXT = """
from pathlib import Path
from cluster.jobs.atomic import atomic_write_text
atomic_write_text(Path(sys.argv[1]), "new")
"""
REPLACE = """
from pathlib import Path
from cluster.jobs.atomic import replace_folder
def build(folder):
    (folder / "sub").mkdir()
    (folder / "sub" / "a").write_text("new")
    (folder / "b").write_text("new")
replace_folder(build, Path(sys.argv[1]))
"""


def make(destination: Path, text: str) -> None:
    def build(folder: Path) -> None:
        (folder / "sub").mkdir()
        (folder / "sub" / "a").write_text(text)
        (folder / "b").write_text(text)

    replace_folder(build, destination)


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != MADE_HERE)
    return {str(path.relative_to(folder)): path.read_text() for path in files}


def whole(text: str) -> dict[str, str]:
    return {"sub/a": text, "b": text}


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"))))
def test_a_text_is_what_was_written_last(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    file = tmp_path_factory.mktemp("texts") / "file"
    for text in texts:
        atomic_write_text(file, text)
        assert file.read_text(encoding="utf-8") == text
    assert [path.name for path in file.parent.iterdir()] == (["file"] if texts else [])


def test_a_writer_killed_at_its_rename_leaves_the_old_text(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("old")
    assert run_killed_at_rename(1, WRITE_TEXT, file)
    assert file.read_text() == "old"
    atomic_write_text(file, "newer")
    assert [path.name for path in tmp_path.iterdir()] == ["file"], "the stale temporary file is used again"


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    destination = tmp_path / "deep" / "made"
    make(destination, "one")
    (destination / "left over").write_text("of the first")
    with (destination / MADE_HERE).open("a") as mark:
        mark.write("left over\n")
    make(destination, "two")
    assert contents(destination) == whole("two")
    assert [path.name for path in destination.parent.iterdir()] == ["made"]


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "link"
    link.symlink_to("real")
    make(link, "one")
    assert link.is_symlink()
    assert contents(tmp_path / "real") == whole("one")


def test_a_build_that_fails_changes_nothing(tmp_path: Path) -> None:
    make(tmp_path / "made", "one")

    def build(folder: Path) -> None:
        (folder / "b").write_text("half")
        raise RuntimeError("no more disk")

    with pytest.raises(RuntimeError, match="no more disk"):
        replace_folder(build, tmp_path / "made")
    assert contents(tmp_path / "made") == whole("one")
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    (tmp_path / "there").mkdir()
    for place in ("new/deep/made", "there/deep/made"):
        with pytest.raises(RuntimeError, match="no more disk"):
            replace_folder(build, tmp_path / place)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made", "there"], "nor are folders above it left"
    assert not list((tmp_path / "there").iterdir())


@pytest.mark.parametrize(("nth", "found"), [(1, "old"), (2, None), (3, "new")])
def test_a_replacer_killed_at_any_rename_leaves_a_whole_folder(tmp_path: Path, nth: int, found: str | None) -> None:
    destination = tmp_path / "made"
    make(destination, "old")
    assert run_killed_at_rename(nth, REPLACE, destination) == (nth < 3), "two renames replace a folder"
    assert contents(destination) == (whole(found) if found else {})

    def fail(folder: Path) -> None:
        raise RuntimeError(folder.name)

    with pytest.raises(RuntimeError):
        replace_folder(fail, destination)
    assert contents(destination) == whole(found or "old"), "the next call brings the earlier folder back"
    make(destination, "newer")
    assert contents(destination) == whole("newer")
    assert [path.name for path in tmp_path.iterdir()] == ["made"], "nothing stale stays"


def test_what_was_not_made_here_is_never_replaced(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    make(home, "an empty folder may be used")
    (home / MADE_HERE).unlink()
    file = tmp_path / "file"
    file.write_text("precious")
    for destination, told in ((home, "not made here"), (file, "not a folder"), (file / "x", "not a folder")):
        with pytest.raises(ValueError, match=told):
            check_replaceable(destination)
        with pytest.raises(ValueError, match=told):
            make(destination, "two")
    assert contents(home) == whole("an empty folder may be used")
    assert file.read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "home"]


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Such as Lustre mounted without flock; none is to be had here."""

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(ValueError, match=r"made is on a file system without locks .*; give a folder on another one"):
        make(tmp_path / "made", "one")
    with pytest.raises(ValueError, match="run is on a file system without locks"), hold_run(tmp_path / "run", {}):
        pass


def test_two_processes_cannot_make_one_folder_at_once(tmp_path: Path) -> None:
    destination = tmp_path / "made"

    def build(folder: Path) -> None:
        (folder / "b").write_text("mine")
        command = [sys.executable, "-c", "import sys" + REPLACE, str(destination)]
        root = Path(__file__).parent.parent
        other = subprocess.run(command, check=False, cwd=root, capture_output=True, text=True)
        assert "is being written by another process" in other.stderr
        command[-1] = str(tmp_path / "beside")
        subprocess.run(command, check=True, cwd=root)

    replace_folder(build, destination)
    assert contents(destination) == {"b": "mine"}
    assert contents(tmp_path / "beside") == whole("new"), "another folder beside it is free"
    assert not list(tmp_path.glob(f"{TEMPORARY}*"))


def test_what_somebody_put_into_a_folder_is_not_lost(tmp_path: Path) -> None:
    """Such as a checkpoint that was trained into the set's own folder."""
    made = tmp_path / "made"

    def build(folder: Path) -> None:
        (folder / "data").mkdir()
        (folder / "data" / "rows").write_text("rows")

    replace_folder(build, made)
    (made / "__pycache__").mkdir()
    (made / "__pycache__" / "reward.pyc").write_text("left by an import")
    replace_folder(build, made)
    (made / "checkpoint-100").mkdir()
    (made / "checkpoint-100" / "model.safetensors").write_text("weights")
    with pytest.raises(ValueError, match=r"holds checkpoint-100/model\.safetensors, which was put there; move it"):
        replace_folder(build, made)
    assert (made / "checkpoint-100" / "model.safetensors").read_text() == "weights"
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_a_folder_whose_mark_names_no_files_is_replaced_as_before(tmp_path: Path) -> None:
    made = tmp_path / "made"
    made.mkdir()
    (made / MADE_HERE).write_text("Made by a program, which replaces this folder as a whole.\n")
    (made / "old").touch()
    replace_folder(lambda folder: (folder / "new").touch(), made)
    assert sorted(path.name for path in made.iterdir()) == [MADE_HERE, "new"]
