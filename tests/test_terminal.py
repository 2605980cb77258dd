"""What a person sees at 80 columns, and what a file or another program gets instead."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from cluster.jobs.progress import wrapped

ROOT = Path(__file__).parent.parent
COLUMNS = 80
_PROGRESS = """
import time
from unittest.mock import patch
from cluster.jobs.progress import progress, say

say("engines", "4 with 8 GPUs each, " + "which are many words " * 6)
say("made", "runs/" + 90 * "x")
with patch("cluster.jobs.progress.EVERY_S", 0.01), progress("rollout", 400_000, "questions") as bar:
    say("engines", "engine 0 ready: vllm 0.32.0")
    for _ in range(8):
        time.sleep(0.4)
        bar.set_postfix_str("1,234,567 tokens/s", refresh=False)
        bar.update(50_000)
"""
_FOLLOW = """
import time
from unittest.mock import patch
from cluster.jobs.progress import follow

def slowly():
    for number in range(8):
        time.sleep(0.4)
        yield number

with patch("cluster.jobs.progress.EVERY_S", 0.01):
    list(follow(slowly(), 8, "assembling", "parts"))
"""


def on_a_terminal(command: list[str], columns: int = COLUMNS) -> str:
    """What the terminal of this width is sent by the command."""
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    environment["PYTHONPATH"] = str(ROOT)
    process = subprocess.Popen(command, stdin=end, stdout=end, stderr=end, env=environment, start_new_session=True)
    os.close(end)
    sent = b""
    while True:
        try:
            sent += os.read(terminal, 1 << 16)
        except OSError:  # the other end is closed
            break
    os.close(terminal)
    assert process.wait() == 0, sent.decode()
    return sent.decode()


def drawn(sent: str) -> list[str]:
    """Every state of every line."""
    return [re.sub(r"\x1b\[\w+", "", line) for line in re.split(r"[\r\n]+", sent) if line.strip()]


def python(code: str) -> list[str]:
    return [sys.executable, "-W", "ignore", "-c", code]


def test_a_bar_is_as_wide_as_the_terminal_and_nothing_of_it_is_cut() -> None:
    sent = on_a_terminal(python(_PROGRESS))
    bars = [line for line in drawn(sent) if "|" in line]
    assert bars
    assert max(map(len, bars)) < COLUMNS
    for line in bars[1:]:
        assert re.fullmatch(r"rollout +\d+% \|.*\| \d+/400000 questions, [\d:?]+ left(, [\d,]+ tokens/s)? *", line)
    assert "tokens/s" in bars[-1]


def test_words_are_not_cut_and_paths_stay_whole() -> None:
    lines = drawn(on_a_terminal(python(_PROGRESS)))
    folded = [line for line in lines if "many words" in line]
    assert folded[0].startswith("engines     4 with 8 GPUs")
    assert all(line.startswith(" " * 12) for line in folded[1:])
    assert max(map(len, folded)) <= COLUMNS
    assert f"made        runs/{90 * 'x'}" in lines


@pytest.mark.parametrize(
    "end", ["| cat", "2>&1 | cat", "2>errors"], ids=["the output piped", "both piped", "errors in a file"]
)
def test_where_something_is_piped_there_are_lines(end: str, tmp_path: Path) -> None:
    """On a terminal, with one of the two streams led elsewhere, as by `| tee run.log`."""
    (tmp_path / "progress.py").write_text(_PROGRESS, encoding="utf-8")
    sent = on_a_terminal(["bash", "-c", f"cd {tmp_path} && {sys.executable} progress.py {end}"])
    lines = sent.replace("\r\n", "\n")
    assert "\r" not in lines
    assert "|" not in lines
    assert len(re.findall(r"^rollout     \d+/400000 questions, [\d:?]+ left, [\d,]+ tokens/s$", lines, re.M)) >= 5
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


def test_the_assembly_does_the_same() -> None:
    assert max(map(len, drawn(on_a_terminal(python(_FOLLOW))))) < COLUMNS
    piped = on_a_terminal(["bash", "-c", f'{sys.executable} -c "$1" | cat', "bash", _FOLLOW])
    assert "|" not in piped
    assert len(re.findall(r"^assembling  \d/8 parts, [\d:?]+ left\r$", piped, re.M)) >= 5


@pytest.mark.parametrize(
    "command", ["generation.run --dry_run --variants=all --out=runs/x", "generation.run --list_tasks"]
)
def test_a_page_fits(command: str) -> None:
    """The prompts below a plan are the model's, and as they are."""
    head = on_a_terminal([sys.executable, "-m", *command.split()]).partition("--- first prompt")[0]
    assert max(map(len, drawn(head))) <= COLUMNS


def test_a_file_gets_each_message_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert wrapped("stage       " + "word " * 60) == "stage       " + "word " * 60
