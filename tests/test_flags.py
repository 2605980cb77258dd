"""The strict command line: every way plain python-fire goes wrong, and what must go through untouched."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.flag_help import HELP_WIDTH
from cluster.flags import LONGEST_MESSAGE, fail, parse

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Config:
    """Make things from other things.

    With no flag at all it makes the smallest thing there is, and says so in a line that is long.
    """

    model: str = field(default="built-in", metadata={"help": "hub id, local folder, or a bare name " * 4})
    label: str | None = None
    samples: int = field(default=16, metadata={"help": "per (question, variant): 16, or 2"})
    seed: int = 0
    questions: int | str = 32
    temperature: float | None = None
    names: tuple[str, ...] = ("one", "two")
    sizes: tuple[int, ...] = ()
    out: Path | None = None
    mode: Literal["fast", "slow"] = "fast"
    options: dict[str, Any] | None = None
    dry_run: bool = False

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ValueError(f"--samples must be 1 or more, not {self.samples}")
        if self.model.startswith("bad"):
            raise ValueError(f"no model {self.model}; give another")


@dataclass(frozen=True)
class Needy:
    """A command with a flag that must be given."""

    raw: Path
    seed: int = 0


RIGHT: list[tuple[list[str], str, Any, str]] = [
    ([], "samples", 16, "the default"),
    (["--model=2024"], "model", "2024", "fire: int"),
    (["--model", "1e5"], "model", "1e5", "fire: float"),
    (["--model=123e4567"], "model", "123e4567", "fire: inf, for a commit hash"),
    (["--model=007"], "model", "007", "a text keeps its zeros"),
    (["--model=a-b,c"], "model", "a-b,c", "fire: sometimes a tuple"),
    (["--model=x#1"], "model", "x#1", "fire: a comment"),
    (["--model=None"], "model", "None", "fire: None"),
    (["--model=none"], "model", "none", "a text is never None"),
    (["--label=none"], "label", "none", "an optional text neither"),
    (["--model={a:1}"], "model", "{a:1}", "fire: dict"),
    (["--model=1_000"], "model", "1_000", "fire: 1000"),
    (["--model='q'"], "model", "'q'", "quotes belong to the text"),
    (["--model=a=b"], "model", "a=b", "only the first = divides"),
    (["--model=--help"], "model", "--help", "after = it is a value"),
    (["--model=-x"], "model", "-x", "after = a dash is no flag"),
    (["--model", "-"], "model", "-", "fire's separator"),
    (["--seed", "-1"], "seed", -1, "a negative number is a value"),
    (["--seed=-1"], "seed", -1, "with = too"),
    (["--samples=007"], "samples", 7, "decimal, whatever the zeros"),
    (["--questions=12"], "questions", 12, "digits are a count"),
    (["--questions=12.jsonl"], "questions", "12.jsonl", "anything else is a name"),
    (["--questions=1e5"], "questions", "1e5", "not decimal, so a name"),
    (["--temperature=1e-3"], "temperature", 1e-3, "a float may have an exponent"),
    (["--temperature=-.5"], "temperature", -0.5, "and begin with a point"),
    (["--temperature=1"], "temperature", 1.0, "and be whole"),
    (["--temperature=none"], "temperature", None, "none for what is no text"),
    (["--out=None"], "out", None, "or a folder None would be made"),
    (["--out=a/b"], "out", Path("a/b"), "a path"),
    (["--names=a,b"], "names", ("a", "b"), "a tuple by comma"),
    (["--names=a-b,c"], "names", ("a-b", "c"), "fire: a string"),
    (["--names=one"], "names", ("one",), "fire: a string"),
    (["--names", "a, b"], "names", ("a", "b"), "blanks round an item are no part of it"),
    (["--sizes=1,-2"], "sizes", (1, -2), "items have a type"),
    (["--mode=slow"], "mode", "slow", "a choice"),
    (['--options={"a": {"b": [1, 1.5, null]}}'], "options", {"a": {"b": [1, 1.5, None]}}, "JSON's own types"),
    (["--options", '{"off": false, "t": "é,"}'], "options", {"off": False, "t": "é,"}, "as a second word"),
    (["--options={}"], "options", {}, "an empty object"),
    (["--options=none"], "options", None, "none for what is no text"),
    (["--dry_run"], "dry_run", True, "bare"),
    (["--dry-run"], "dry_run", True, "- is _"),
    (["--nodry_run"], "dry_run", False, "switched off"),
    (["--nodry-run"], "dry_run", False, "- is _ here too"),
    (["--dry_run=false"], "dry_run", False, "fire: the text 'false', which is true"),
    (["--dry_run", "True"], "dry_run", True, "as a second word"),
    (["--dry_run", "--seed", "3"], "seed", 3, "a switch takes no flag for its value"),
]

WRONG: list[tuple[list[str], list[str], str]] = [
    (["--sampels=3"], ["'--sampels'", "--samples"], "fire: runs the whole job first"),
    (["--nodry_runs"], ["'--nodry_runs'", "--nodry_run"], "also near a switch"),
    (["--zzzz=3"], ["'--zzzz'", "--help"], "near nothing"),
    (["--samples=four"], ["--samples", "a whole number", "'four'"], "fire: the string"),
    (["--samples=1e5"], ["a whole number", "'1e5'"], "strict decimal"),
    (["--samples=1_000"], ["'1_000'"], "strict decimal"),
    (["--samples=4.0"], ["'4.0'"], "strict decimal"),
    (["--samples=+4"], ["'+4'"], "strict decimal"),
    (["--samples=٤"], ["'٤'"], "Python's int takes any script's digits"),
    (["--samples= 4"], ["' 4'"], "and blanks"),
    (["--samples=" + "9" * 5000], ["a whole number"], "more digits than Python converts"),
    (["--samples="], ["a whole number", "''"], "empty"),
    (["--samples=none"], ["'none'"], "not optional"),
    (["--temperature=nan"], ["a finite number", "'nan'"], "floats are finite"),
    (["--temperature=-inf"], ["'-inf'"], "floats are finite"),
    (["--temperature=1e999"], ["'1e999'"], "floats are finite when read"),
    (["--temperature=1_0"], ["'1_0'"], "Python's float takes underscores"),
    (["--mode=f"], ["--mode", "fast, slow", "'f'"], "the choices are told"),
    (
        ["--options={off: false}"],
        ["--options", "a JSON object", "'{off: false}'", "double quotes"],
        "the shell's quotes",
    ),
    (["--options={'a': 1}"], ["a JSON object", "double quotes"], "Python is not JSON"),
    (["--options=[1]"], ["a JSON object", "'[1]'", '{"name": value}'], "JSON, but no object"),
    (["--options=false"], ["a JSON object", "'false'"], "JSON, but no object"),
    (["--options="], ["a JSON object", "''"], "empty"),
    (['--options={"a": 1, "a": 2}'], ["'a' is given twice in it"], "json: the last, silently"),
    (['--options={"a": {"b": 1, "b": 1}}'], ["'b' is given twice in it"], "within another too"),
    (['--options={"a": NaN}'], ["a JSON object", "not JSON compliant"], "json: takes it"),
    (['--options={"a": [-Infinity]}'], ["not JSON compliant"], "json: takes it"),
    (['--options={"a": 1e999}'], ["not JSON compliant"], "json: infinite"),
    (['--options={"a": "\\ud800"}'], ["surrogates not allowed"], "half a character cannot be written to a file"),
    (["--options={} x"], ["Extra data"], "more than one value"),
    (['--options={"a": ' + "[" * 99999], ["too many brackets"], "deeper than Python goes"),
    (["--dry_run=no"], ["true or false", "'no'"], "fire: true"),
    (["--dry_run", "word"], ["true or false", "'word'"], "fire: a stray word"),
    (["--nodry_run=true"], ["--nodry_run takes no value"], "which of the two is meant?"),
    (["--names=a,,b"], ["--names", "'a,,b'"], "an empty item"),
    (["--names="], ["--names", "''"], "an empty list"),
    (["--sizes=1,x"], ["a whole number each", "'1,x'"], "items have a type"),
    (["--names", "a", "b", "c"], ["stray word 'b' after --names 'a'", "--names='...'"], "fire: fills other flags"),
    (["word"], ["stray word 'word'"], "a word of its own"),
    (["-"], ["stray word '-'"], "fire's separator"),
    (["help", "me"], ["stray word 'help'"], "only alone it asks for help"),
    (["\u2014samples", "3"], ["no hyphen"], "a dash that a word processor made"),
    (["--versoin"], ["--version"], "near one that every command has"),
    ([""], ["stray word ''"], "nothing, quoted"),
    (["-5"], ["stray word '-5'"], "a number of its own"),
    (["--model", "--samples", "3"], ["--model needs a value", "a text"], "fire: model=True"),
    (["--samples"], ["--samples needs a value", "a whole number"], "fire: samples=True"),
    (["--model="], ["--model", "a text", "''"], "empty"),
    (["--label="], ["--label", "''"], "empty, though optional"),
    (["--out="], ["--out", "a path", "''"], "Path('') is the working directory"),
    (["--seed=1", "--seed=2"], ["--seed is given twice"], "fire: the last, silently"),
    (["--dry_run", "--no-dry-run"], ["'--no-dry-run'"], "one spelling of off"),
    (["--dry-run", "--nodry_run"], ["--dry_run is given twice"], "on and off"),
    (["-s", "3"], ["unknown flag '-s'"], "fire: guesses a letter"),
    (["-samples=3"], ["'-samples'", "--samples"], "fire: takes one dash"),
    (["---samples=3"], ["'---samples'", "--samples"], "fire: takes three"),
    (["--", "--interactive"], ["bare --"], "fire: a REPL"),
    (["--model", "--"], ["--model needs a value"], "-- is no value"),
    (["--=3"], ["unknown flag '--'"], "no name"),
    (["--model=bad\nthing"], ["no model bad\\nthing"], "the dataclass's own check, on one line"),
    (["--samples=0"], ["--samples must be 1 or more, not 0"], "the dataclass's own check"),
    (["--samples=\x1b[2J\u2028\r\udc80"], ["\\x1b[2J\\u2028\\r\\udc80"], "a terminal is not to be driven"),
    (["--" + "x" * 9999], ["unknown flag"], "cut to length"),
    (["--model=bad" + "/folder" * 600], ["no model bad/folder", "give another"], "what to do is not cut off"),
    (["--model=bad" + " folder" * 600], ["no model bad folder", "give another"], "nor behind many words"),
]


def run_job(argv: list[str], done: list[Config]) -> None:
    """What a command is: the flags first, then work."""
    done.append(parse(Config, argv))


def test_right_input() -> None:
    read = [(argv, name, getattr(parse(Config, argv), name)) for argv, name, _, _ in RIGHT]
    wanted = [(argv, name, value) for argv, name, value, _ in RIGHT]
    wrong = [(got, row) for got, want, row in zip(read, wanted, RIGHT, strict=True) if repr(got) != repr(want)]
    assert wrong == []


def test_wrong_input_is_one_line_and_no_work(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = []
    for argv, told, why in WRONG:
        done: list[Config] = []
        code: object = None
        try:
            run_job(argv, done)
        except SystemExit as ended:
            code = ended.code
        out, err = capsys.readouterr()
        one_line = err.startswith("error: ") and err.endswith("\n") and len(err.splitlines()) == 1
        short = len(err) <= LONGEST_MESSAGE + len("error: \n")
        if (code, out, done) != (2, "", []) or not one_line or not short or [part for part in told if part not in err]:
            wrong.append((argv, why, code, out, err, done))
    assert wrong == []


def test_a_flag_without_default_must_be_given(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse(Needy, ["--raw", "here"]) == Needy(Path("here"))
    with pytest.raises(SystemExit, match="2"):
        parse(Needy, ["--seed=1"])
    assert capsys.readouterr().err == "error: --raw is missing; it needs a path: --raw=VALUE\n"


@given(st.text(min_size=1))
def test_any_text_arrives_as_it_was_typed(text: str) -> None:
    assert parse(Config, [f"--label={text}"]).label == text


@given(st.integers(-(10**30), 10**30), st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_arrive_as_they_were_typed(number: int, share: float) -> None:
    config = parse(Config, ["--seed", str(number), "--temperature", repr(share)])
    assert (config.seed, config.temperature) == (number, share)


@given(st.lists(st.sampled_from(["--model", "--dry_run", "--seed=1", "--no", "-1", "x", "--", "-", "", "=", "-h="])))
def test_any_line_is_taken_or_refused_with_2(argv: list[str]) -> None:
    code: object = None
    try:
        parse(Config, argv)
    except SystemExit as ended:
        code = ended.code
    assert code in (None, 2)


@given(st.text(max_size=2000))
def test_fail_prints_one_line_for_any_message(message: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        lines: list[str] = []
        patch.setattr(sys, "stderr", _Lines(lines))
        with pytest.raises(SystemExit, match="2"):
            fail(message)
    printed = "".join(lines)
    assert len(printed.splitlines()) == 1
    assert printed[:-1].isprintable()


class _Lines:
    """A stream that keeps what is written, without a file's newline rules."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines

    def write(self, text: str) -> None:
        self._lines.append(text)


@pytest.mark.parametrize("argv", [["--help"], ["-h"], ["--samples=four", "--help"], ["--model", "-h"], ["help"]])
def test_help(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(Config, argv)
    out, err = capsys.readouterr()
    assert (ended.value.code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= HELP_WIDTH
    assert "Make things from other things." in out
    for flag in ("samples", "dry_run", "questions"):
        assert f"    --{flag}=" in out
    told = ["per (question, variant): 16, or 2", "Type: a whole number or a text", "Default: one,two"]
    told += ["Type: one of fast, slow", "Default: fast"]
    assert [part for part in told if part not in out] == []
    assert "-s," not in out, "one-letter forms are refused, so they are not shown"


def test_the_command_of_a_process_is_read(tmp_path: Path) -> None:
    """sys.argv, real streams, exit code; the work after parse does not happen."""
    script = (
        "from tests.test_flags import Config; from cluster.flags import parse; from pathlib import Path; "
        "config = parse(Config); Path(config.model).touch()"
    )
    made = tmp_path / "made"
    for extra, code, exists in (("--sampels=3", 2, False), ("--samples=3", 0, True)):
        command = [sys.executable, "-c", script, f"--model={made}", extra]
        ended = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
        assert (ended.returncode, made.exists(), ended.stdout) == (code, exists, "")
        assert len(ended.stderr.splitlines()) == (1 if code else 0)
