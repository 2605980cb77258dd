"""Paths as people type them, in every flag that takes one; and that `datasets` finds what is made there again."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from assembly.check import Config as Check
from assembly.run import Config
from cluster.flags import parse
from cluster.jobs.run_directory import check_run
from cluster.paths import check_dataset_folder, dataset_folder, each_part, expanded, local, local_or_name
from cluster.slurm import Options
from generation.settings import Settings
from reflection.added.plan import AdditionSettings
from tests.assembly_rows import published_row, write_parquet

READ: list[tuple[Callable[[str], str], str, str, str]] = [
    (local, "~/x", "/home/me/x", "a shell leaves it alone behind ="),
    (local, "~", "/home/me", "alone"),
    (local, "./~/x", "./~/x", "a folder of that name"),
    (local, "x/~", "x/~", "no beginning"),
    (local, "runs/a b", "runs/a b", "a space"),
    (local, "größe/中", "größe/中", "any script"),
    (local, "a:b", "a:b", "a colon alone"),
    (local, "a/b:/c", "a/b:/c", "in a later name"),
    (local_or_name, "Qwen/Qwen2.5-7B", "Qwen/Qwen2.5-7B", "a hub id"),
    (local_or_name, "owner/name:configuration@revision", "owner/name:configuration@revision", "a hub dataset"),
    (each_part, "~/a.py:5,gsm8k:2", "/home/me/a.py:5,gsm8k:2", "one of a mixture"),
    (each_part, "gsm8k,~/a.py", "gsm8k,/home/me/a.py", "a later one"),
    (each_part, "a.py,,b", "a.py,,b", "an empty part is the mixture's to refuse"),
    (dataset_folder, "~/runs/x", "/home/me/runs/x", "a run directory"),
    (dataset_folder, "runs/{a}!#@%^&=+,;'~-_.(1)", "runs/{a}!#@%^&=+,;'~-_.(1)", "datasets reads these as they stand"),
    (dataset_folder, "-x", "-x", "no flag behind ="),
    (dataset_folder, "a:b", "a:b", "one colon"),
    (expanded, "docker://nvcr.io#org/image:24", "docker://nvcr.io#org/image:24", "an image may lie elsewhere"),
    (expanded, "~/image.sqsh", "/home/me/image.sqsh", "or here"),
    (expanded, "~/data:/data", "/home/me/data:/data", "FROM is here"),
]
REFUSED: list[tuple[Callable[[str], str], str, str]] = [
    (local, "s3://bucket/x", "no place on this machine"),
    (local, "s3:/bucket/x", "no place on this machine"),
    (local, "file:///x", "no place on this machine"),
    (local, "host:/x", "no place on this machine"),
    (local, "me@host:/x", "no place on this machine"),
    (local, "C:/x", "no place on this machine"),
    (local, "~nobody-at-all/x", "nobody's home"),
    (local, "a\nb", "control character"),
    (local, "a\x00b", "control character"),
    (local, "a\x1b[2Jb", "control character"),
    (local, "a\u2028b", "control character"),
    (local, "caf\udce9", "no UTF-8"),
    (local, "  ", "blank"),
    (local_or_name, "hf://datasets/a/b", "owner/name"),
    (each_part, "gsm8k,https://host/a.py:5", "no place on this machine"),
    (expanded, "~nobody-at-all/x", "nobody's home"),
    (expanded, "~nobody-at-all/x:/x", "nobody's home"),
    (dataset_folder, "s3://bucket/x", "copy it there afterwards"),
    *((dataset_folder, f"runs/a{sign}1", repr(sign)) for sign in ("*", "?", "[", "]", "$", "::")),
]


@pytest.fixture(autouse=True)
def at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")


def test_a_path_is_read_as_it_is_meant() -> None:
    assert [row for row in READ if row[0](row[1]) != row[2]] == []


def test_what_names_another_place_is_refused() -> None:
    wrong = []
    for read, text, told in REFUSED:
        try:
            wrong.append((text, "taken as", read(text)))
        except ValueError as error:
            if told not in str(error):
                wrong.append((text, told, str(error)))
    assert wrong == []


COMMANDS: tuple[Any, ...] = (Settings, AdditionSettings, Config, Check, Options)
NEEDED = {AdditionSettings: ["--raw=x"], Config: ["--raw=x"], Options: ["--nodes=1", "--time=10"]}
NEEDED[Check] = ["--sft=x", "--model=x"]
PATHS = {"model", "task", "grader", "questions", "raw", "out", "env_setup", "container", "container_mounts"}
PATHS |= {"adapter", "like", "chat_template", "examples", "sft", "config", "python", "json", "html"}
PATHS |= {"prompts", "exclude", "write_prompts"}
FLAGS = [(command, one.name) for command in COMMANDS for one in dataclasses.fields(command) if one.name in PATHS]


def given(command: Any, name: str, text: str) -> Any:
    needed = [word for word in NEEDED.get(command, []) if not word.startswith(f"--{name}=")]
    if name in ("config", "python"):
        needed.append("--trainer=trl")
    if name == "container_mounts":
        needed.append("--container=x")
    return parse(command, [*needed, f"--{name}={text}"])


def test_every_flag_that_takes_a_path_says_so() -> None:
    told = {one.name for command in COMMANDS for one in dataclasses.fields(command) if one.metadata.get("path")}
    assert told == PATHS


@pytest.mark.parametrize(("command", "name"), FLAGS)
def test_each_flag_refuses_what_is_elsewhere(command: Any, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    bad = "~nobody-at-all/x" if name.startswith("container") else "s3://bucket/x.py"
    with pytest.raises(SystemExit, match="2"):
        given(command, name, bad)
    told = capsys.readouterr().err
    assert told.startswith(f"error: --{name} '{bad[:8]}")
    assert told.count("\n") == 1


@pytest.mark.parametrize(("command", "name"), [flag for flag in FLAGS if flag[1] in ("out", "raw", "env_setup")])
def test_each_flag_knows_the_home(command: Any, name: str) -> None:
    value = getattr(given(command, name, "~/x"), name)
    assert str(value[0] if isinstance(value, tuple) else value) == "/home/me/x"


@pytest.mark.parametrize("folder", ["a[1]", "a*", "a?", "a::b", "$HOME"])
def test_a_run_is_not_made_below_such_a_folder(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor by a default that is made from a model's or a file's name."""
    below = tmp_path / folder
    below.mkdir()
    monkeypatch.chdir(below)
    with pytest.raises(ValueError, match="give an --out without it") as refused:
        check_run(Path("runs/x"), {})
    assert str(tmp_path) in str(refused.value), "it is the working folder that is wrong"


_LOAD = """
import sys
from datasets import load_dataset
for place, cache in zip(sys.argv[1::2], sys.argv[2::2]):
    try:
        read = load_dataset(place, split="train", cache_dir=cache)["question"][:]
    except Exception as error:
        read = type(error).__name__
    print(ascii(read))
"""
CARD = "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/train-*\n---\n"
AS_THEY_STAND = [
    "plain",
    "{a}",
    "{a,b}",
    "!x",
    "#x",
    "@x",
    "50%20",
    "-x",
    " a ",
    "größe中",
    ".x.",
    "a:b",
    "a'b",
    "a&b=c+d",
]
OTHERWISE = ["run?1", "run*1", "run[1]", "a::b", "$HOME"]


def test_what_is_refused_is_what_datasets_reads_otherwise(tmp_path: Path) -> None:
    """The real library, beside folders that a pattern would take."""
    for name in [*AS_THEY_STAND, *OTHERWISE, "run1", "runX1", "a", "b", "ab"]:
        folder = tmp_path / name / "RAW_DATA"
        write_parquet(folder / "data" / "train-00000-of-00001.parquet", [published_row(name, "1", True)])
        (folder / "README.md").write_text(CARD, encoding="utf-8")
    tried = AS_THEY_STAND + OTHERWISE
    words = [
        w for n, name in enumerate(tried) for w in (str(tmp_path / name / "RAW_DATA"), str(tmp_path / f"cache-{n}"))
    ]
    loaded = subprocess.run(
        [sys.executable, "-c", _LOAD, *words],
        env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home"), "HOME": "/root"},
        capture_output=True,
        text=True,
        check=True,
    )
    found = dict(zip(tried, loaded.stdout.splitlines(), strict=True))
    assert {name for name, read in found.items() if read != ascii([name])} == set(OTHERWISE)
    for name in AS_THEY_STAND:
        check_dataset_folder(tmp_path / name)
    for name in OTHERWISE:
        with pytest.raises(ValueError, match="`datasets` takes for"):
            check_dataset_folder(tmp_path / name)
