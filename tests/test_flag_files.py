"""Flags in files: --config FILE.toml, and the run.toml that each run leaves, with which it is asked for again."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assembly.run import Config as Assembly
from cluster.flag_files import written
from cluster.flags import flag, parse
from cluster.inference.engine import ScriptedSettings
from cluster.inference.replicas import Fleet
from cluster.jobs.run_directory import RUN_FLAGS
from cluster.paths import each_part, local_or_name
from generation.evaluation.settings import EvaluateSettings
from generation.run import main
from generation.settings import Settings
from tests.crash_report import files
from tests.scripted import reply


@dataclass(frozen=True)
class Config:
    """Make things."""

    model: str = flag("built-in", "", local_or_name, group="model")
    task: str = flag("", "", each_part)
    samples: int = flag(16, "")
    questions: int | str | None = flag(None, "", local_or_name)
    temperature: float | None = flag(None, "")
    attempts: str = flag("5", "")
    names: tuple[str, ...] = flag(("one", "two"), "", group="words")
    sizes: tuple[int, ...] = flag((), "")
    mode: Literal["fast", "slow"] = flag("fast", "")
    options: dict[str, Any] | None = flag(None, "")
    out: str | None = flag(None, "", local_or_name, group="output")
    dry_run: bool = flag(False, "", once=True)
    quick: bool = flag(False, "")


RIGHT: list[tuple[str, dict[str, Any], str]] = [
    ("", {}, "an empty file gives nothing"),
    ("# a comment\n\n", {}, "nor does a comment"),
    ("samples = 3", {"samples": 3}, "a number"),
    ("\ufeffsamples = 3", {"samples": 3}, "a mark that some editors begin with"),
    ("temperature = 1", {"temperature": 1.0}, "a whole number for any number"),
    ("temperature = 1e-3", {"temperature": 1e-3}, "an exponent"),
    ('questions = "q.jsonl"\nsamples = 1', {"questions": "q.jsonl", "samples": 1}, "a name that is no file here"),
    ("questions = 12", {"questions": 12}, "or a count"),
    ("attempts = 3", {"attempts": "3"}, "a number for a text"),
    ('attempts = "2-5"', {"attempts": "2-5"}, "a text"),
    ('names = ["a", "b-c"]', {"names": ("a", "b-c")}, "a comma list as an array"),
    ('names = "a,b"', {"names": ("a", "b")}, "or as on the command line"),
    ("sizes = [1, -2]", {"sizes": (1, -2)}, "of numbers"),
    ('mode = "slow"', {"mode": "slow"}, "a choice"),
    ("quick = true", {"quick": True}, "a switch"),
    ("dry-run = true", {"dry_run": True}, "- is _"),
    ("[options]\na = 1\nb = {c = [1.5, true]}", {"options": {"a": 1, "b": {"c": [1.5, True]}}}, "a table"),
    ("options.a = 1\noptions.b = 2", {"options": {"a": 1, "b": 2}}, "by dots"),
    ("options = '{\"a\": null}'", {"options": {"a": None}}, "JSON, for the null that TOML has not"),
    ('task = ["a:1", "b:2"]', {"task": "a:1,b:2"}, "parts of a mixture"),
]
WRONG: list[tuple[str, list[str], str]] = [
    ("samples = ", ["f.toml line 1", "Invalid value"], "a syntax error"),
    ("samples = 3\nsamples = 4", ["f.toml line 2", "Cannot overwrite"], "twice"),
    ("\nsampels = 3", ["f.toml line 2", "unknown flag 'sampels'", "samples"], "a typo"),
    ("\n\n[sampling]\nmin_p = 1", ["f.toml line 3", "unknown flag 'sampling'"], "a table of no flag"),
    ("quick = true\nsamples = 'four'", ["line 2", "--samples wants a whole number", "four"], "a text for a number"),
    ("samples = '4'", ["line 1", "--samples wants a whole number"], "a number in quotes"),
    ("samples = 4.0", ["line 1", "--samples wants a whole number, not '4.0'"], "a fraction"),
    ("samples = true", ["--samples wants a whole number, not 'true'"], "a switch for a number"),
    ("samples = [4]", ["--samples wants a whole number"], "an array for one"),
    ("samples = 1979-05-27", ["--samples wants a whole number", "1979-05-27"], "a date"),
    ("temperature = nan", ["--temperature wants a finite number"], "no number"),
    ("quick = 1", ["--quick wants true or false, not '1'"], "a number for a switch"),
    ("quick = 'true'", ["--quick wants true or false"], "a text for a switch"),
    ("mode = 'medium'", ["--mode wants one of fast, slow"], "no choice"),
    ('names = ["a,b"]', ["--names wants a comma list"], "a comma inside of an item"),
    ("names = [[1]]", ["--names wants a comma list"], "arrays in an array"),
    ("options = [1]", ["--options wants a JSON object"], "an array for a table"),
    ("options = {a = 1979-05-27}", ["line 1", "--options"], "a date in JSON"),
    ("model = {a = 1}", ["--model wants a text"], "a table for a text"),
    ("model = 's3://bucket/x'", ["line 1", "--model 's3://bucket/x' is no place"], "the flag's own check"),
    ("config = 'other.toml'", ["line 1", "unknown flag 'config'"], "a file in a file"),
    ("dry-run = true\ndry_run = false", ["line 2", "dry_run is given twice"], "both spellings"),
    ("options = " + "[" * 5000, ["f.toml"], "too deep"),
]


def _parse(tmp_path: Path, text: str, *more: str) -> Config:
    (tmp_path / "f.toml").write_text(text, encoding="utf-8")
    return parse(Config, [f"--config={tmp_path / 'f.toml'}", *more])


def test_what_stands_in_a_file_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text, values, why in RIGHT:
        assert _parse(tmp_path, text) == Config(**values), why
    assert capsys.readouterr().err == ""


def test_what_is_wrong_in_a_file_is_told_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text, told, why in WRONG:
        with pytest.raises(SystemExit, match="2"):
            _parse(tmp_path, text)
        err = capsys.readouterr().err
        assert err.count("\n") == 1, why
        assert [words for words in told if words not in err] == [], (why, err)


def test_the_command_line_outweighs_the_file(tmp_path: Path) -> None:
    text = 'samples = 3\nquick = true\nmode = "slow"\n[options]\na = 1'
    assert _parse(tmp_path, text, "--samples", "4", "--noquick") == Config(samples=4, mode="slow", options={"a": 1})
    assert _parse(tmp_path, text, '--options={"b": 2}').options == {"b": 2}, "a table is one value"


def test_a_required_flag_may_stand_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "f.toml").write_text('raw = "RAW"\nattempts = 3', encoding="utf-8")
    assert (parse(Assembly, ["--config", str(tmp_path / "f.toml")])).raw == ("RAW",)


def test_a_path_is_taken_from_the_folder_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it says so, or lies there; any other is taken from the working folder, as on the command line."""
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "mine.jsonl").touch()
    monkeypatch.chdir(tmp_path)
    rows = [
        ("questions", "mine.jsonl:5", "project/mine.jsonl:5"),
        ("questions", "other.jsonl", "other.jsonl"),
        ("questions", "./other.jsonl", "project/other.jsonl"),
        ("questions", "../other.jsonl", "other.jsonl"),
        ("model", "Qwen/Qwen2.5-1.5B", "Qwen/Qwen2.5-1.5B"),
        ("task", "a:1,mine.jsonl:2", "a:1,project/mine.jsonl:2"),
        ("out", ".", "project"),
        ("out", str(tmp_path), str(tmp_path)),
    ]
    for name, text, meant in rows:
        (tmp_path / "project" / "f.toml").write_text(f'{name} = "{text}"', encoding="utf-8")
        for config in ("project/f.toml", str(tmp_path / "project/f.toml")):
            assert getattr(parse(Config, ["--config", config]), name) == meant


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner),
    max_leaves=8,
)
PLAIN = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp", "Cn"]), min_size=1).filter(
    lambda text: text.strip() == text and not set(text) & set("~,:/.")
)


@given(
    st.builds(
        Config,
        model=PLAIN,
        samples=st.integers(-(2**63), 2**63 - 1),
        temperature=st.none() | st.floats(allow_nan=False, allow_infinity=False),
        attempts=PLAIN,
        names=st.lists(PLAIN, min_size=1).map(tuple),
        sizes=st.lists(st.integers(-9, 9), min_size=1).map(tuple),
        options=st.none() | st.dictionaries(TEXTS, VALUES, max_size=3),
        quick=st.booleans(),
    )
)
def test_what_is_written_is_read_again(config: Config) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir("/tmp")
        folder = Path("/tmp/no such run")
        text = written(config, folder)
        tomllib.loads(text)
        file = Path(f"/tmp/skillfactory-flags-{hash(text)}.toml")
        file.write_text(text, encoding="utf-8")
        try:
            again = parse(Config, [f"--config={file}"])
        finally:
            file.unlink()
    assert {**vars(again), "out": None} == vars(config)


def test_a_run_is_asked_for_again_in_one_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It asks for nothing more; a copy of the file elsewhere makes the same rows there."""
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(Path(__file__).parent.parent.joinpath("examples/my_task.py").read_text())
    argv = ["--questions=6", "--rl_questions=2", "--formats=*C,star", "--attempts", "2", "--out=runs/one", "--log_to="]
    argv = [*argv[:-1], "--variants", "plain", "--samples", "2", "--license=mit"]
    assert main(argv, fleet=Fleet(ScriptedSettings(reply))) == 0
    told = (tmp_path / "runs" / "one" / RUN_FLAGS).read_text(encoding="utf-8")
    assert tomllib.loads(told) == {
        "questions": 6,
        "rl_questions": 2,
        "samples": 2,
        "formats": ["*C", "star"],
        "attempts": "2",
        "license": "mit",
        "out": ".",
    }
    before = files(tmp_path / "runs" / "one" / "RAW_DATA")

    def never(_: Any) -> str:
        raise AssertionError("everything is done")

    monkeypatch.chdir(tmp_path / "runs")
    assert main(["--config", "one/run.toml"], fleet=Fleet(ScriptedSettings(never))) == 0
    assert files(tmp_path / "runs" / "one" / "RAW_DATA") == before
    assert (tmp_path / "runs" / "one" / RUN_FLAGS).read_text(encoding="utf-8") == told
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / RUN_FLAGS).write_text(told, encoding="utf-8")
    assert main(["--config", "../elsewhere/run.toml"], fleet=Fleet(ScriptedSettings(reply))) == 0
    assert files(tmp_path / "elsewhere" / "RAW_DATA") == before
    capsys.readouterr()


@pytest.mark.parametrize("command", [Settings, EvaluateSettings])
def test_what_is_said_once_is_not_kept(command: Any, tmp_path: Path) -> None:
    once = {one.name for one in fields(command) if one.metadata["once"]}
    assert once >= {"dry_run", "retry_failed", "accept_version", "list_tasks"}
    made = command(dry_run=True, retry_failed=True)
    assert tomllib.loads(written(made, tmp_path)) == {"out": "."}
