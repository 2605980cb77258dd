"""What a person sees on a terminal, and what a file or another program gets instead."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.jobs.progress import wrapped
from cluster.jobs.status import read_status
from tests.terminals import ROOT, Terminal

COLUMNS = 80
FLAGS = ("--questions=400", "--rl_questions=0", "--samples=2", "--attempts=4")
_SAY = """
from cluster.jobs.progress import say
say("engines", "4 with 8 GPUs each, " + "which are many words " * 6)
say("made", "runs/" + 90 * "x")
"""
_FOLLOW = """
import time
from unittest.mock import patch
from cluster.jobs.progress import follow, say

def slowly():
    for number in range(8):
        time.sleep(0.4)
        if number == 6:
            say("note", "above it")
        yield number

with patch("cluster.jobs.progress.EVERY_S", 0.01), patch("cluster.jobs.progress._DELAY_S", 0.5):
    list(follow(slowly(), 8, "assembling", "parts"))
print("the end")
"""


def drawn(command: list[str], columns: int = COLUMNS) -> list[str]:
    """What stands on a terminal of this width when the command has ended."""
    terminal = Terminal(command, columns, 400)
    assert terminal.wait() == 0, "\n".join(terminal.lines)
    return terminal.lines


def python(code: str) -> list[str]:
    return [sys.executable, "-W", "ignore", "-c", code]


def test_words_are_not_cut_and_paths_stay_whole() -> None:
    lines = drawn(python(_SAY))
    folded = [line for line in lines if "many words" in line]
    assert folded[0].startswith("engines     4 with 8 GPUs")
    assert all(line.startswith(" " * 12) for line in folded[1:])
    assert max(map(len, folded)) <= COLUMNS
    assert f"made        runs/{90 * 'x'}" in drawn(python(_SAY), 200)


def driven(reply: str, folder: Path, *flags: str) -> list[str]:
    """The whole job on an engine of `drive_shown`."""
    return [sys.executable, "-m", "tests.drive_shown", reply, *flags, f"--out={folder / 'run'}"]


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[Terminal]:
    """The whole job on a terminal, on an engine that takes half a second for each request."""
    terminal = Terminal(driven("lasting", tmp_path, *FLAGS), COLUMNS, 40)
    yield terminal
    terminal.close()


def test_a_rollout_is_shown_below_what_is_said_and_ctrl_c_drains_it(shown: Terminal, tmp_path: Path) -> None:
    shown.wait_for(lambda: shown.find("samples by variant"))
    lines = shown.lines
    assert lines[0].startswith("model       skillfactory-tiny")
    (place,) = [place for place, line in enumerate(lines) if line.startswith("rolling out ")]
    assert [line.split()[0] for line in lines[:place]][-1] == "engines"
    assert max(map(len, lines[place:])) < COLUMNS
    assert any(re.match(r"tokens/s +[\d,]+ now · [\d,]+ on average", line) for line in lines)
    assert any(re.match(r"engines +1 of 1 ready", line) for line in lines[place:])
    shown.type("\x03")
    shown.wait_for(lambda: shown.find("stopping: up to "))
    assert shown.find("draining  ")
    assert shown.wait() == 75
    assert not shown.find("draining  "), "the panel is gone"
    assert shown.find("of 400 questions are safe")
    assert "^C" not in "".join(shown.lines)
    status = read_status(tmp_path / "run")
    assert status is not None
    assert status.stage == "stopped"


def test_an_encoding_without_our_characters_ends_no_run(tmp_path: Path) -> None:
    terminal = Terminal(driven("lasting", tmp_path, *FLAGS), COLUMNS, 40, {"PYTHONIOENCODING": "ascii"})
    terminal.wait_for(lambda: terminal.find("now ? "))
    terminal.type("\x03")
    assert terminal.wait() == 75
    assert terminal.find("of 400 questions are safe")


def test_a_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "tests.drive_shown",
        "endless",
        "--grace_s=300",
        *FLAGS,
        f"--out={tmp_path / 'run'}",
    ]
    terminal = Terminal(command, COLUMNS)
    terminal.wait_for(lambda: terminal.find("rolling out "))
    terminal.type("\x03")
    terminal.wait_for(lambda: terminal.find("stopping: up to 5 min") or terminal.find("stopping: up to 299 s"))
    terminal.type("\x03")
    assert terminal.wait(20) == 75
    assert terminal.find("stopped     ")


@pytest.mark.parametrize("columns", [50, 120, 200])
def test_a_terminal_that_changes_its_size_is_filled_anew(shown: Terminal, columns: int) -> None:
    shown.wait_for(lambda: shown.find("samples by variant"))
    shown.resize(columns, 40)
    before = len(shown.sent)
    shown.wait_for(lambda: len(shown.sent) > before + 2_000)
    lines = shown.lines
    (place,) = [place for place, line in enumerate(lines) if line.startswith("rolling out ")]
    assert len(shown.find("tokens/s  ")) == 1
    assert max(map(len, lines[place:])) < columns


@pytest.mark.parametrize(("name", "value"), [("TERM", "dumb"), ("NO_COLOR", "1")])
def test_who_wants_less_gets_less(name: str, value: str, tmp_path: Path) -> None:
    """No color; and where the cursor cannot be moved, lines."""
    command = [
        sys.executable,
        "-m",
        "tests.drive_shown",
        "slow",
        *FLAGS[1:],
        "--questions=60",
        f"--out={tmp_path / 'run'}",
    ]
    terminal = Terminal(command, COLUMNS, environment={name: value})
    assert terminal.wait() == 0
    assert not re.search(rb"\x1b\[[\d;]*3\d", terminal.sent)
    assert (b"\x1b" in terminal.sent) == (name == "NO_COLOR")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_an_encoding_without_our_letters_ends_no_run(encoding: str, tmp_path: Path) -> None:
    flags = ("--questions=8", *FLAGS[1:], "--variants=original,rephrase")
    terminal = Terminal(driven("slow", tmp_path, *flags), COLUMNS, 400, {"PYTHONIOENCODING": encoding})
    assert terminal.wait() == 0, "\n".join(terminal.lines)
    assert b"tokens/s" in terminal.sent


def test_a_terminal_that_nobody_told_its_size_is_taken_for_80_columns(tmp_path: Path) -> None:
    terminal = Terminal(driven("slow", tmp_path, "--questions=8", *FLAGS[1:]), COLUMNS, 40)
    terminal.resize_untold()
    assert terminal.wait() == 0, "\n".join(terminal.lines)
    assert b"on average" in terminal.sent


@pytest.mark.parametrize("end", ["| cat", "2>&1 | cat", "2>errors"])
def test_where_something_is_piped_there_are_lines(end: str, tmp_path: Path) -> None:
    """On a terminal, with one of the two streams led elsewhere, as by `| tee run.log`."""
    flags = f"slow {' '.join(FLAGS[1:])} --questions=40 --out={tmp_path / 'run'}"
    command = f"{sys.executable} -m tests.drive_shown {flags} {end.replace('errors', str(tmp_path / 'errors'))}"
    terminal = Terminal(["bash", "-c", command], COLUMNS)
    assert terminal.wait() == 0
    assert b"\x1b" not in terminal.sent
    assert terminal.find("rollout     40 questions in ")
    assert not (tmp_path / "errors").exists() or (tmp_path / "errors").read_bytes() == b""


def test_lines_come_when_they_are_said() -> None:
    """Not when a buffer is full: who watches a log sees them."""
    code = "from cluster.jobs.progress import say; import time; say('model', 'x'); time.sleep(60)"
    process = subprocess.Popen(python(code), stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    assert process.stdout.readline() == "model       x\n"
    process.kill()
    process.wait()
    process.stdout.close()


def test_other_stages_have_a_bar_or_lines() -> None:
    terminal = Terminal(python(_FOLLOW), COLUMNS)
    assert terminal.wait() == 0
    assert terminal.lines == ["note        above it", "the end"]
    pictures = re.sub(r"\x1b\[[\d;?]*\w", "", terminal.sent.decode()).splitlines()
    bars = [one for one in pictures if one.startswith("assembling")]
    assert len(bars) >= 4
    for one in bars:
        assert re.fullmatch(r"assembling +━+[╸╺]?━* \d/8 parts, about \d s left", one)
        assert len(one) < COLUMNS
    piped = drawn(["bash", "-c", f'{sys.executable} -W ignore -c "$1" | cat', "bash", _FOLLOW])
    lines = [line for line in piped if line.startswith("assembling")]
    assert len(lines) >= 5
    assert all(re.fullmatch(r"assembling  \d/8 parts, about \d s left", line) for line in lines)


@pytest.mark.parametrize(
    "command", ["generation.run --dry_run --variants=all --out=runs/x", "generation.run --list_tasks"]
)
def test_a_page_fits(command: str) -> None:
    """The prompts below a plan are the model's, and as they are."""
    terminal = Terminal([sys.executable, "-m", *command.split()], COLUMNS, 400)
    assert terminal.wait() == 0
    head = terminal.sent.decode().partition("--- first prompt")[0]
    assert max(map(len, head.splitlines())) <= COLUMNS


def test_a_file_gets_each_message_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert wrapped("stage       " + "word " * 60) == "stage       " + "word " * 60
